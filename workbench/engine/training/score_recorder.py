"""The log-probabilities of each pair in a batch, taken from the forwards that the loss makes anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.engine.training import distributed
from workbench.engine.training.data import Prepared
from workbench.runs.pair_scores import Score, ScoreWriter


@dataclass(frozen=True, slots=True)
class BatchLogps:
    """What a batch's loss saw. Rows of `logps` (2 or 4, B): chosen and rejected under the policy, then the reference.

    `indices` are those of the pairs in their data set, in the order of the columns. `margins` (B) are the differences
    of the method's own rewards; None for those of DPO.
    """

    training: bool
    indices: Sequence[int]
    logps: Sequence[Sequence[float]]
    margins: Sequence[float] | None = None


class ScoreRecorder:
    """Writes down what the loss saw of each pair. `beta` turns log-ratios into DPO's rewards.

    Of several processes the first writes, with a `writer`, what all saw, once all have come to `gather`.
    """

    def __init__(self, writer: ScoreWriter | None, prepared: Prepared, beta: float) -> None:
        self._writer, self._beta = writer, beta
        self._subjects = {True: prepared.train_subjects, False: prepared.holdout_subjects}
        self._unwritten: list[tuple[BatchLogps, int]] = []

    def __call__(self, batch: BatchLogps, step: int) -> None:
        """Takes a batch that was seen after `step` updates. Raises `OSError` where the disk refuses."""
        self._unwritten.append((batch, step))
        if distributed.count() == 1:
            self.gather()

    def gather(self) -> None:
        """Writes down what all processes saw. Raises `OSError` where the disk refuses."""
        of_processes, self._unwritten = distributed.all_of(self._unwritten), []
        if self._writer is not None:
            for batches in of_processes:
                for batch, step in batches:
                    self._writer.write(self._scores(batch, step))

    def _scores(self, batch: BatchLogps, step: int) -> list[Score]:
        subjects = self._subjects[batch.training]
        chosen, rejected, *reference = batch.logps
        scores = []
        for column, index in enumerate(batch.indices):
            subject, better, worse = subjects[index], chosen[column], rejected[column]
            ref_better, ref_worse = (row[column] for row in reference) if reference else (None, None)
            if batch.margins is not None:
                margin = batch.margins[column]
            else:
                margin = self._beta * ((better - (ref_better or 0.0)) - (worse - (ref_worse or 0.0)))
            scores.append(
                Score(subject.id, subject.text, subject.split, step, better, worse, margin, ref_better, ref_worse)
            )
        return scores
