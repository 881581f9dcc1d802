"""The scorer's process: `python -m workbench.engine.score --model M --quantization nf4`.

One request a line comes in, replies go out on the original stdout and nothing else does (see `compare.messages`).
While a generation runs, other requests are answered between its tokens. It ends when its stdin does, so that it does
not outlive its parent.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, TextIO, TypeVar

from workbench.engine.scorer_quiet import quiet_libraries

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from workbench.compare.messages import (
        Cancel,
        Distribution,
        Generate,
        Generated,
        NextToken,
        Piece,
        Refused,
        Score,
        Scored,
    )
    from workbench.engine.scorer import Scorer
    from workbench.errors import WorkbenchError

    Incoming = Score | NextToken | Generate | Cancel
    Inbox = SimpleQueue[Incoming | Refused | None]
    _Reply = TypeVar("_Reply", bound=Scored | Distribution | Piece | Generated)

_PARENT_CHECK = 0.2
"""Seconds between two looks at whether the parent still lives, once stdin has ended."""


def main() -> None:
    """Loads the model and answers requests until stdin ends. Exit status 1: the model could not be loaded."""
    replies = _claim_stdout()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--quantization", choices=["nf4", "int8", "none"], default="nf4")
    options = parser.parse_args()
    inbox: Inbox = SimpleQueue()
    threading.Thread(target=_read, args=(inbox, os.getppid()), daemon=True).start()

    started = time.monotonic()
    quiet_libraries()
    from workbench.compare.messages import Ready
    from workbench.engine.scorer import Scorer
    from workbench.errors import WorkbenchError

    try:
        scorer = Scorer(options.model, options.quantization)
    except WorkbenchError as error:
        _send(replies, _refused(0, error))
        sys.exit(1)
    with scorer.fitting_threads():
        scorer.warm_up()
        ready = Ready(
            model=options.model,
            quantization=options.quantization,
            device=scorer.device,
            parameters=scorer.parameters,
            seconds=time.monotonic() - started,
        )
        try:
            _send(replies, ready)
            _Server(scorer, inbox, replies).run()
        except BrokenPipeError:
            os._exit(0)  # nobody listens any more; a normal exit would try to flush the pipe


class _Server:
    """Answers requests in their order, and advances generations by a token whenever there is none."""

    def __init__(self, scorer: Scorer, inbox: Inbox, replies: TextIO) -> None:
        self._scorer = scorer
        self._inbox = inbox
        self._replies = replies
        self._waiting: deque[Score | NextToken] = deque()
        self._generations: deque[tuple[int, Iterator[Piece | Generated]]] = deque()
        self._closed = False

    def run(self) -> None:
        """Goes on until the inbox is closed and all that was asked is answered."""
        while True:
            self._take_all()
            if self._waiting:
                request = self._waiting.popleft()
                self._answer(request.id, partial(self._reply_to, request))
            elif self._generations:
                self._advance(*self._generations.popleft())
            elif self._closed:
                return

    def _take_all(self) -> None:
        """Takes in everything that has arrived, so that a Cancel finds what came before it; waits if all is done."""
        idle = not (self._waiting or self._generations or self._closed)
        while idle or not self._inbox.empty():
            self._take(self._inbox.get())
            idle = False

    def _take(self, incoming: Incoming | Refused | None) -> None:
        from workbench.compare.messages import Cancel, Generate, Refused

        if incoming is None:
            self._closed = True
        elif isinstance(incoming, Refused):
            _send(self._replies, incoming)
        elif isinstance(incoming, Cancel):
            self._cancel(incoming.id)
        elif isinstance(incoming, Generate):
            self._generations.append((incoming.id, self._scorer.generate(incoming)))
        else:
            self._waiting.append(incoming)

    def _cancel(self, identity: int) -> None:
        from workbench.compare.messages import Cancelled

        open_before = len(self._waiting) + len(self._generations)
        self._waiting = deque(each for each in self._waiting if each.id != identity)
        self._generations = deque(each for each in self._generations if each[0] != identity)
        if len(self._waiting) + len(self._generations) < open_before:
            _send(self._replies, Cancelled(id=identity))

    def _reply_to(self, request: Score | NextToken) -> Scored | Distribution:
        return self._scorer.score(request) if request.op == "score" else self._scorer.next_token(request)

    def _advance(self, identity: int, generation: Iterator[Piece | Generated]) -> None:
        reply = self._answer(identity, lambda: next(generation))
        if reply is not None and reply.kind == "piece":
            self._generations.append((identity, generation))

    def _answer(self, identity: int, ask: Callable[[], _Reply]) -> _Reply | None:
        """Sends what `ask` returns, or why it could not; None in that case."""
        from workbench.errors import WorkbenchError

        try:
            reply = ask()
        except WorkbenchError as error:
            _send(self._replies, _refused(identity, error))
        except Exception as error:
            traceback.print_exc()
            _send(self._replies, _refused(identity, _explained(error)))
        else:
            _send(self._replies, reply)
            return reply
        return None


def _explained(error: Exception) -> WorkbenchError:
    import torch

    from workbench.errors import WorkbenchError

    if isinstance(error, torch.OutOfMemoryError):
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


def _read(inbox: Inbox, parent: int) -> None:
    """Puts requests into the inbox as they come, then None; ends the process once the parent is gone."""
    from pydantic import ValidationError

    from workbench.compare.messages import REQUESTS

    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        try:
            inbox.put(REQUESTS.validate_json(line))
        except ValidationError as error:
            inbox.put(_refused(_id_in(line), _not_a_request(error)))
    inbox.put(None)
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK)
    os._exit(0)


def _not_a_request(error: ValidationError) -> WorkbenchError:
    from workbench.errors import WorkbenchError

    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "line"
    return WorkbenchError(
        "Not a request", f"{place}: {first['msg']}.", "workbench/compare/messages.py has the protocol."
    )


def _id_in(line: bytes) -> int:
    """The id of a line that is no request, so that who sent it hears of it; 0 where it has none."""
    try:
        identity = json.loads(line)["id"]
    except (ValueError, TypeError, KeyError):
        return 0
    return identity if isinstance(identity, int) else 0


def _refused(identity: int, error: WorkbenchError) -> Refused:
    from workbench.compare.messages import Refused

    return Refused(id=identity, title=error.title, message=error.message, hint=error.hint)


def _send(replies: TextIO, reply: BaseModel) -> None:
    replies.write(reply.model_dump_json() + "\n")
    replies.flush()


def _claim_stdout() -> TextIO:
    """The original stdout, which from now on nobody else has: what prints to file descriptor 1 goes to stderr."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


if __name__ == "__main__":
    main()
