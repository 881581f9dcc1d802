"""A person's word on how sampled answers were classified, and the classifier's own error rate by it.

Labels are lines of JSON in the run's folder, one a judgement, appended as they are given. They are of an answer's text:
a later evaluation that samples the same answer knows it is judged already.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from workbench.errors import WorkbenchError
from workbench.evidence.cases import Example
from workbench.evidence.statistics import Estimate, exact_share
from workbench.files import from_json, json_in, open_to_append


@dataclass(frozen=True, slots=True)
class SampleLabel:
    """Whether an answer shows `behaviour`: as the classifier said (`told`), and whether a person agrees (`right`)."""

    kind: str
    behaviour: str
    prompt: str
    answer: str
    told: bool
    right: bool


@dataclass(frozen=True, slots=True)
class ToLabel:
    """An answer to be judged by a person: does it show `behaviour`, as the classifier says (`told`)?"""

    kind: str
    behaviour: str
    prompt: str
    answer: str
    told: bool

    def labelled(self, *, right: bool) -> SampleLabel:
        """The judgement."""
        return SampleLabel(self.kind, self.behaviour, self.prompt, self.answer, self.told, right)


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How often the classifier was wrong about a behaviour on a kind of probes, with exact 95% intervals.

    `missed`: among answers that it said do not show the behaviour. `mistaken`: among those that it said do. None where
    nobody judged any.
    """

    kind: str
    behaviour: str
    mistaken: Estimate | None
    missed: Estimate | None


def to_label(
    examples: Sequence[Example], labels: Sequence[SampleLabel], kind: str, behaviour: str, count: int, seed: int = 0
) -> list[ToLabel]:
    """`count` answers to probes of `kind` that nobody judged, drawn by `seed`: half of them told to show `behaviour`.

    Of one half there may be too few; the other then gives more. They come shuffled, so that nobody knows what is next.
    """
    known = {(label.kind, label.behaviour, label.prompt, label.answer) for label in labels}
    answers = {
        (example.prompt, text): behaviour in shows
        for example in examples
        if example.kind == kind
        for text, shows in ((example.before, example.before_shows), (example.after, example.after_shows))
        if (kind, behaviour, example.prompt, text) not in known
    }
    random = Random(seed)
    sides = [[answer for answer, told in answers.items() if told is side] for side in (True, False)]
    for side in sides:
        random.shuffle(side)
    half = max(count // 2, count - len(sides[1]))
    drawn = [*sides[0][:half], *sides[1][: count - min(half, len(sides[0]))]]
    random.shuffle(drawn)
    return [ToLabel(kind, behaviour, prompt, text, answers[prompt, text]) for prompt, text in drawn]


def error_rates(labels: Sequence[SampleLabel]) -> list[ErrorRate]:
    """The error rate for every kind and behaviour that was judged; of several judgements of an answer the last."""
    last = {(label.kind, label.behaviour, label.prompt, label.answer): label for label in labels}
    groups: dict[tuple[str, str], list[SampleLabel]] = {}
    for label in last.values():
        groups.setdefault((label.kind, label.behaviour), []).append(label)
    return [
        ErrorRate(kind, behaviour, _wrong([one for one in group if one.told]), _wrong([o for o in group if not o.told]))
        for (kind, behaviour), group in groups.items()
    ]


def read_labels(path: Path) -> list[SampleLabel]:
    """The labels in `path`, in their order; none where there is no file. A line that was cut short is left out."""
    try:
        return list(_parsed(path.read_text("utf-8", errors="replace")))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WorkbenchError("The labels cannot be read", f"{path}: {error}.", "Check the file's rights.") from error


def add_label(path: Path, label: SampleLabel) -> None:
    """Appends the label; on return it is on the disk. Raises `WorkbenchError` where the disk refuses."""
    line = json.dumps(asdict(label), ensure_ascii=False) + "\n"
    try:
        with os.fdopen(open_to_append(path), "ab+") as file:
            if file.seek(0, os.SEEK_END) and _last_byte(path) != b"\n":
                line = "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WorkbenchError("The label could not be saved", f"{path}: {error}.", "Free some space there.") from error


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _parsed(text: str) -> Iterator[SampleLabel]:
    for line in text.split("\n"):
        try:
            yield from_json(SampleLabel, json_in(line))
        except (ValueError, TypeError, KeyError, OverflowError):
            continue


def _wrong(labels: Sequence[SampleLabel]) -> Estimate | None:
    return exact_share(sum(not label.right for label in labels), len(labels)) if labels else None
