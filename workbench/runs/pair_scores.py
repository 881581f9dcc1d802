"""What a run made of each of its pairs: pair_scores.jsonl, which says of every pair how the model last saw it.

One line a pair and look, the last line of a pair holds. The file grows by what is trained and evaluated, and is written
anew once it has several lines for each pair: its size goes by the number of pairs, not of steps.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.files import from_json, open_to_append, write_whole
from workbench.runs.folder import RunFolder
from workbench.runs.labels import read as read_labels
from workbench.workspace import Workspace

NAME = "pair_scores.jsonl"
_SPARE = 1000
_LABEL = 60


@dataclass(frozen=True, slots=True)
class PairIdentity:
    """The pair that a score is about. `text` is its `fingerprint`; `split` is train or holdout."""

    id: str
    text: str
    split: str


@dataclass(frozen=True, slots=True)
class Score:
    """A pair as the model saw it after `step` updates.

    Log-probabilities are natural logs, summed over the tokens that train; those of the reference are None where the
    method has none. `margin` is the reward of chosen minus that of rejected, by the method's own rewards: for DPO
    β·((chosen − reference's) − (rejected − reference's)).
    """

    id: str
    text: str
    split: str
    step: int
    chosen: float
    rejected: float
    margin: float
    ref_chosen: float | None = None
    ref_rejected: float | None = None

    def of(self, row: Mapping[str, Any]) -> bool:
        """Whether a pair's row still has the texts that were scored."""
        return self.text == fingerprint(row)


def fingerprint(row: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that tell a pair's texts, as they are in its row, from others."""
    texts = json.dumps([row.get(name) for name in ("prompt", "chosen", "rejected")], sort_keys=True)
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


def read_margins(folder: Path) -> dict[str, Score]:
    """The latest score of each pair of the run in `folder`, by id; empty where there is none.

    Lines that are no scores, such as one that a killed worker left half-written, are passed over.
    """
    return _fold(folder / NAME)[0]


def runs_with_scores(workspace: Workspace, dataset: str) -> list[tuple[str, str]]:
    """Id and name, untrusted, of the runs that trained on a data set and scored pairs, the newest first."""
    runs = []
    for path in workspace.runs.glob(f"*/{NAME}"):
        folder = RunFolder(path.parent)
        try:
            record = folder.record()
            if not path.stat().st_size or dataset not in record.config.pairs:
                continue
        except (OSError, WorkbenchError):
            continue
        labels = read_labels(folder)
        if not labels.archived:
            runs.append((record.created.timestamp(), folder.id, labels.name[:_LABEL]))
    return [(run, name or run) for _, run, name in sorted(runs, reverse=True)]


class ScoreWriter:
    """Appends scores to a run's file, and goes on where an earlier worker was interrupted.

    A score that is not finite is left out: the pair keeps the one it had. Raises `OSError` where the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._latest, self._lines = _fold(self._path)
        self._file = -1
        self._rewrite()

    def __enter__(self) -> ScoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, scores: Iterable[Score]) -> None:
        """Adds scores; those of the same pair that came before no longer hold."""
        kept = [score for score in scores if _finite(score)]
        if not kept:
            return
        lines = "".join(map(_line, kept)).encode()
        written = os.write(self._file, lines)
        if written < len(lines):
            # The disk is full. The next write says so; half a line would spoil the one after it.
            os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR) - written)
        for score in kept:
            self._latest[score.id] = score
        self._lines += len(kept)
        if self._lines > 3 * len(self._latest) + _SPARE:
            self._rewrite()

    def _rewrite(self) -> None:
        """Leaves one line a pair; also cuts off what an interrupted worker left half-written."""
        try:
            if self._latest:
                write_whole(self._path, "".join(map(_line, self._latest.values())))
            opened = open_to_append(self._path)
            if not self._latest:
                os.ftruncate(opened, 0)
        except FileNotFoundError:
            # The run was deleted under the worker, which ends by itself when it next tells something.
            if self._file < 0:
                raise
            return
        if self._file >= 0:
            os.close(self._file)
        self._file, self._lines = opened, len(self._latest)


def _fold(path: Path) -> tuple[dict[str, Score], int]:
    """The latest score of each pair, and how many lines there are."""
    latest, count = dict[str, Score](), 0
    try:
        with path.open("rb") as lines:
            for line in lines:
                count += 1
                score = _score(line) if line.endswith(b"\n") else None
                if score is not None:
                    latest[score.id] = score
    except OSError:
        pass
    return latest, count


def _line(score: Score) -> str:
    # Half characters, which JSON allows in an id, become escapes.
    return json.dumps({name: value for name, value in asdict(score).items() if value is not None}) + "\n"


def _score(line: bytes) -> Score | None:
    try:
        score = from_json(Score, json.loads(line))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    return score if _finite(score) else None


def _finite(score: Score) -> bool:
    numbers = (score.chosen, score.rejected, score.ref_chosen, score.ref_rejected, score.margin)
    return all(number is None or math.isfinite(number) for number in numbers)
