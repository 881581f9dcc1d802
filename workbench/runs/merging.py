"""Merges a run in a process of its own (`workbench.engine.merge_worker`), which a screen can follow and end."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from workbench import child
from workbench.errors import WorkbenchError
from workbench.figures import plural, signed
from workbench.runs.folder import RunFolder
from workbench.runs.merge_bounds import Bounds


@dataclass(frozen=True, slots=True)
class Side:
    """Merged minus live, over `count` responses, in nats (natural logarithms).

    `mean` is of the responses' log-probabilities with their signs, `mean_absolute` and `largest` without; `mean_token`
    is the mean with signs over all their tokens, `token` that without, `largest_token` the largest of these.
    """

    count: int
    mean: float
    mean_absolute: float
    largest: float
    mean_token: float
    token: float
    largest_token: float


@dataclass(frozen=True, slots=True)
class Drift:
    """Of the held-out pairs that were measured: both sides, and how many pairs have another preferred response now."""

    pairs: int
    chosen: Side
    rejected: Side
    turned: int

    def table(self) -> list[str]:
        """A header and a line a side, 66 cells wide: of answers and of their tokens the mean change, the mean of the
        changes without their signs, and the largest."""
        header = f"{'nats':<10}{'an answer':>10}{'|change|':>10}{'most':>8}{'a token':>10}{'|change|':>10}{'most':>8}"
        return [header] + [
            f"{name:<10}{signed(side.mean):>10}{side.mean_absolute:>10.2f}{side.largest:>8.2f}"
            f"{signed(side.mean_token, 3):>10}{side.token:>10.3f}{side.largest_token:>8.3f}"
            for name, side in (("chosen", self.chosen), ("rejected", self.rejected))
        ]

    def line(self) -> str:
        """In words, how many pairs changed sides."""
        return f"{self.turned} of {plural(self.pairs, 'held-out pair')} changed sides"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said to a held-out prompt, each taking the likeliest token always: by the base and the run as it was
    trained, and by the merged model; and the behaviours that the last two show (refusing, empty, repeating …)."""

    prompt: str
    base: str
    run: str
    merged: str
    run_shows: Sequence[str] = ()
    merged_shows: Sequence[str] = ()

    @property
    def behaves_otherwise(self) -> bool:
        """Whether run and merged model show other behaviours."""
        return set(self.run_shows) != set(self.merged_shows)


@dataclass(frozen=True, slots=True)
class Answers:
    """Of `asked` held-out prompts, those that run and merged model answer in other words."""

    asked: int
    other: Sequence[Answer]

    def line(self) -> str:
        """In words, how many."""
        return f"{len(self.other)} of {plural(self.asked, 'greedy answer')} in other words"


def differences(drift: Drift, answers: Answers | None, bounds: Bounds) -> list[str]:
    """In plain words, how the merged model behaves otherwise than the run: what is past `bounds`."""
    told = []
    otherwise = [answer for answer in answers.other if answer.behaves_otherwise] if answers is not None else []
    if answers is not None and len(otherwise) > bounds.behaviours * answers.asked:
        first = otherwise[0]
        run, merged = (" and ".join(sorted(shows)) or "plain" for shows in (first.run_shows, first.merged_shows))
        told.append(
            f"{len(otherwise)} of {plural(answers.asked, 'greedy answer')} behave otherwise once merged: the first is "
            f"{merged}, the run's is {run}."
        )
    if drift.turned > bounds.turned * drift.pairs:
        told.append(
            f"{drift.turned} of {plural(drift.pairs, 'held-out pair')} changed sides: merged, the other answer is the "
            f"likelier one there."
        )
    for name, side in (("Chosen", drift.chosen), ("Rejected", drift.rejected)):
        if abs(side.mean_token) > bounds.moved:
            way = "less" if side.mean_token < 0 else "more"
            told.append(
                f"{name} answers are {way} likely once merged: {signed(side.mean, 1)} nats an answer, "
                f"{signed(side.mean_token)} a token (bound: {bounds.moved:g})."
            )
    return told


def drift(live: Sequence[Sequence[float]], merged: Sequence[Sequence[float]]) -> Drift:
    """The drift of one model's token log-probabilities from another's; responses alternate: chosen, rejected, chosen …

    Raises `ValueError` where the two do not have the same responses, or there is none.
    """
    chosen, rejected = (_side(live[side::2], merged[side::2]) for side in (0, 1))
    before, after = ([math.fsum(response) for response in responses] for responses in (live, merged))
    firsts = range(0, len(live), 2)
    turned = sum((before[first] > before[first + 1]) != (after[first] > after[first + 1]) for first in firsts)
    return Drift(len(firsts), chosen, rejected, turned)


def _side(live: Sequence[Sequence[float]], merged: Sequence[Sequence[float]]) -> Side:
    tokens = [
        [after - before for before, after in zip(one, other, strict=True)]
        for one, other in zip(live, merged, strict=True)
    ]
    sums = [math.fsum(response) for response in tokens]
    single = [abs(token) for response in tokens for token in response]
    if not single:
        raise ValueError("no tokens to compare")
    return Side(
        count=len(sums),
        mean=math.fsum(sums) / len(sums),
        mean_absolute=math.fsum(map(abs, sums)) / len(sums),
        largest=max(map(abs, sums)),
        mean_token=math.fsum(sums) / len(single),
        token=math.fsum(single) / len(single),
        largest_token=max(single),
    )


Dtype = Literal["bf16", "fp16", "fp32"]
Form = Literal["safetensors", "gguf"]

_GRACE = 10.0
"""Seconds that the process has to clean up after it is asked to end: it deletes gigabytes."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written. `bytes` are those on disk.

    `drift` and `answers` are None where the run held no pairs out; `differences` say in plain words where the merged
    model behaves otherwise than the run.
    """

    path: str
    form: Form
    dtype: Dtype
    parameters: int
    bytes: int
    seconds: float
    drift: Drift | None
    answers: Answers | None
    differences: Sequence[str]
    serve: str

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Merged:
        """What the merging process sent."""
        merged: Merged = TypeAdapter(cls).validate_python(document)
        return merged


@dataclass(frozen=True, slots=True)
class Idle:
    """No merge was started."""


@dataclass(frozen=True, slots=True)
class Running:
    """A merge goes on. `share` of the stage is done, from 0 to 1, None where that is not known."""

    to: Path
    stage: str = "starting"
    share: float | None = None
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The model is written."""

    merged: Merged


@dataclass(frozen=True, slots=True)
class MergeFailed:
    """Nothing is written, for this reason."""

    error: WorkbenchError


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The merge was given up, and nothing was left behind."""


State = Idle | Running | Done | MergeFailed | Cancelled


class Merging:
    """One merge of a run. `state` is a snapshot that is replaced, never changed; read it from any thread."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.state: State = Idle()
        self._given_up = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the merge goes on."""
        return isinstance(self.state, Running)

    def start(self, to: Path, dtype: Dtype, form: Form, bounds: Bounds) -> None:
        """Starts the process, where none runs; returns at once. It goes on when the screens are closed."""
        if self.running:
            return
        request = {
            "run": str(self.folder.path.absolute()),
            "to": str(to),
            "dtype": dtype,
            "form": form,
            "bounds": bounds.model_dump(),
        }
        self.state, self._given_up = Running(to), threading.Event()
        name = f"merge-{self.folder.id}"
        threading.Thread(target=self._follow, args=(request, self.state), name=name, daemon=True).start()

    def cancel(self) -> None:
        """Asks the process to end and to leave nothing behind; returns at once."""
        if isinstance(self.state, Running):
            self._given_up.set()
            self.state = replace(self.state, stopping=True)

    def _follow(self, request: Mapping[str, Any], begun: Running) -> None:
        given_up = self._given_up

        def hear(message: child.Progress | child.Part) -> None:
            if isinstance(message, child.Progress):
                running = replace(begun, stage=message.text, share=message.share)
                self.state = replace(running, stopping=given_up.is_set())

        command = child.python("workbench.engine.merge_worker")
        try:
            document = child.run(command, request, hear, name="The merge", cancelled=given_up.is_set, grace=_GRACE)
            self.state = Done(Merged.from_json(document))
        except child.GivenUpError:
            self.state = Cancelled()
        except WorkbenchError as error:
            self.state = MergeFailed(error)
        except Exception as error:
            self.state = MergeFailed(WorkbenchError.unforeseen("The merge", error))
