"""Answers the scorer's requests a step at a time, so that what is urgent never waits long and all can be given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue

import torch
from pydantic import BaseModel

from workbench.compare.messages import (
    BehavioursTold,
    Cancel,
    Column,
    Distribution,
    DistributionAt,
    Generate,
    Generated,
    NextToken,
    OpeningsScored,
    PairBatch,
    PairsScored,
    Refused,
    RequestCancelled,
    Scored,
    ScoreOpenings,
    ScorePairs,
    ScoreResponse,
    TellBehaviours,
    TextChunk,
)
from workbench.console import show_traceback
from workbench.engine.scoring.classifying import shown_behaviours
from workbench.engine.scoring.data_set_scores import score_pairs
from workbench.engine.scoring.generation import generate_steps
from workbench.engine.scoring.scorer import Scorer
from workbench.errors import WorkbenchError

Incoming = NextToken | ScoreResponse | ScoreOpenings | DistributionAt | Generate | TellBehaviours | ScorePairs | Cancel
Inbox = SimpleQueue[Incoming | Refused | None]
"""What was asked, refusals of what was no request, and a None when nothing more will come."""
Steps = Iterator[
    Distribution | Scored | OpeningsScored | TextChunk | Generated | BehavioursTold | PairBatch | PairsScored | None
]
"""A request on its way: each step does a bit of it, and tells of it or not (None)."""


@dataclass(frozen=True, slots=True)
class _Job:
    id: int
    steps: Steps


class Server:
    """Takes requests from `inbox` and sends replies with `send`.

    Between two steps it looks for what has come in. A question about one prompt or response goes first and is not
    interrupted by others; generations take turns; tables of pairs get what time is left.
    """

    def __init__(self, scorer: Scorer, inbox: Inbox, send: Callable[[BaseModel], None]) -> None:
        self._scorer, self._inbox, self._send = scorer, inbox, send
        self._questions: deque[_Job] = deque()
        self._generations: deque[_Job] = deque()
        self._tables: deque[_Job] = deque()
        self._closed = False

    def warm_up(self) -> None:
        """Answers questions of no interest, so that the first real ones do not pay for first use."""
        columns = [Column(name="base")]
        for _ in generate_steps(self._scorer, Generate(prompt="Hello", columns=columns, max_new_tokens=2)):
            pass
        self._scorer.score(ScoreResponse(prompt="Hello", response=" you", columns=columns))
        self._scorer.forget_logits()

    def run(self) -> None:
        """Goes on until the inbox is closed and all that was asked is answered."""
        while True:
            self._take_all()
            queue = next((queue for queue in self._queues if queue), None)
            if queue is None:
                if self._closed:
                    return
                continue  # What had come in was given up before it began.
            job = queue.popleft()
            if self._step(job):
                # Questions are finished in their order, generations take turns.
                (queue.append if queue is self._generations else queue.appendleft)(job)

    @property
    def _queues(self) -> tuple[deque[_Job], ...]:
        return self._questions, self._generations, self._tables

    def _take_all(self) -> None:
        """Takes in everything that has arrived, so that a Cancel finds what came before it; waits if all is done."""
        idle = not (any(self._queues) or self._closed)
        while idle or not self._inbox.empty():
            self._take(self._inbox.get())
            idle = False

    def _take(self, incoming: Incoming | Refused | None) -> None:
        match incoming:
            case None:
                self._closed = True
            case Refused():
                self._send(incoming)
            case Cancel():
                self._cancel(incoming.id)
            case Generate():
                self._generations.append(_Job(incoming.id, generate_steps(self._scorer, incoming)))
            case TellBehaviours():
                self._generations.append(_Job(incoming.id, _told(incoming)))
            case ScorePairs():
                self._tables.append(_Job(incoming.id, score_pairs(self._scorer, incoming)))
            case _:
                self._questions.append(_Job(incoming.id, self._answer(incoming)))

    def _answer(self, request: NextToken | ScoreResponse | ScoreOpenings | DistributionAt) -> Steps:
        if isinstance(request, ScoreResponse):
            yield from self._scorer.score_steps(request)
        elif isinstance(request, ScoreOpenings):
            yield self._scorer.openings(request)
        elif isinstance(request, DistributionAt):
            yield self._scorer.distribution_at(request)
        else:
            yield self._scorer.next_token(request)

    def _cancel(self, identity: int) -> None:
        """Told also where it came too late: who asks knows by that that the scorer does not hang."""
        for queue in self._queues:
            for job in [job for job in queue if job.id == identity]:
                queue.remove(job)
        self._send(RequestCancelled(id=identity))

    def _step(self, job: _Job) -> bool:
        """Does a step of `job` and sends what it says, or why it cannot go on; whether there is more to do."""
        try:
            reply = next(job.steps)
        except StopIteration:
            return False
        except WorkbenchError as error:
            self._send(_refused(job.id, error))
            return False
        except Exception as error:
            show_traceback(error)
            self._send(_refused(job.id, _explained(error)))
            return False
        if reply is not None:
            self._send(reply)
        return True


def _told(request: TellBehaviours) -> Steps:
    shows = shown_behaviours(request.answers, request.known)
    yield BehavioursTold(id=request.id, shows=shows)


def _refused(identity: int, error: WorkbenchError) -> Refused:
    """The error as a reply to request `identity`."""
    return Refused(id=identity, title=error.title, message=error.message, hint=error.hint)


def _explained(error: Exception) -> WorkbenchError:
    if WorkbenchError.out_of_memory(error) is not None:
        torch.cuda.empty_cache()
        return WorkbenchError(
            "Out of memory",
            "The device has no room for a text of this length beside the model.",
            "Shorten the prompt or the response, compare fewer columns, or end what else uses the device.",
        )
    return WorkbenchError(
        "The scorer met an error of its own",
        f"{type(error).__name__}: {error}",
        "If it comes back, report it as a bug.",
    )
