"""The log-probabilities of each pair in a batch, taken from the forwards that the loss makes anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.engine.training import distributed
from workbench.engine.training.data import PLACE
from workbench.runs.pair_scores import Score, ScoreWriter, Subject


@dataclass(frozen=True, slots=True)
class Seen:
    """What a batch's loss saw. Rows of `logps` (2 or 4, B): chosen and rejected under the policy, then the reference.

    `places` are those of the pairs in their data set, in the order of the columns. `margins` (B) are the differences of
    the method's own rewards; None for those of DPO.
    """

    training: bool
    places: Sequence[int]
    logps: Sequence[Sequence[float]]
    margins: Sequence[float] | None = None


class Places:
    """A collator that passes on the places of a batch's pairs beside what another one makes of them."""

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collator = collator

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch; `PLACE` has a number a pair."""
        return self._collator(examples) | {PLACE: torch.tensor([example[PLACE] for example in examples])}


class Forwards:
    """Notes the sums of the token log-probabilities that a model's forwards give back while it is `watched`."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._sums: list[Tensor] | None = None
        model.register_forward_hook(self._note)

    @contextmanager
    def watched(self) -> Iterator[list[Tensor]]:
        """The list gets a tensor (2B) a forward: chosen first, then rejected."""
        self._sums = []
        try:
            yield self._sums
        finally:
            self._sums = None

    def _note(self, _model: torch.nn.Module, _inputs: Any, output: Any) -> None:
        if self._sums is not None and getattr(output, "log_probs", None) is not None:
            self._sums.append(output.log_probs.detach().float().sum(1))


class ScoreRecorder:
    """Writes down what the loss saw of each pair. `beta` turns log-ratios into DPO's rewards."""

    def __init__(self, writer: ScoreWriter, train: Sequence[Subject], holdout: Sequence[Subject], beta: float) -> None:
        self._writer, self._beta = writer, beta
        self._subjects = {True: train, False: holdout}

    def __call__(self, seen: Seen, step: int) -> None:
        """Takes a batch that was seen after `step` updates. Raises `OSError` where the disk refuses."""
        subjects = self._subjects[seen.training]
        chosen, rejected, *reference = seen.logps
        scores = []
        for column, place in enumerate(seen.places):
            subject, better, worse = subjects[place], chosen[column], rejected[column]
            ref_better, ref_worse = (row[column] for row in reference) if reference else (None, None)
            if seen.margins is not None:
                margin = seen.margins[column]
            else:
                margin = self._beta * ((better - (ref_better or 0.0)) - (worse - (ref_worse or 0.0)))
            scores.append(
                Score(subject.id, subject.text, subject.split, step, better, worse, ref_better, ref_worse, margin)
            )
        self._writer.write(scores)

    def gather(self) -> None:
        """Does nothing: all is written down already."""


class GatheredScoreRecorder:
    """Keeps what this process's losses saw until all processes have come to `gather`; the first one writes it down."""

    def __init__(self, write: ScoreRecorder | None) -> None:
        self._write = write
        self._seen: list[tuple[Seen, int]] = []

    def __call__(self, seen: Seen, step: int) -> None:
        """Takes a batch that was seen after `step` updates."""
        self._seen.append((seen, step))

    def gather(self) -> None:
        """Writes down what all processes saw. Raises `OSError` where the disk refuses."""
        found, self._seen = distributed.all_of(self._seen), []
        if self._write is not None:
            for seen, step in (each for one in found for each in one):
                self._write(seen, step)
