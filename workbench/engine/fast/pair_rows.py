"""Pairs as rows that share what both sides begin with: prompt, then chosen, then rejected, each seeing the prompt only.

A row's *trunk* is what both sides have in common: the prompt, and the tokens that both responses begin with. The
branches after it, chosen and rejected, each attend to the trunk and to themselves, at the positions that they would
have alone. So what the model gives for them is what it gives for two rows, at the cost of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.engine.model.token_ids import PairIds, common_length


@dataclass(frozen=True, slots=True)
class RowParts:
    """Tokens of a row: those of the trunk, then those of each branch."""

    trunk: int
    chosen: int
    rejected: int

    @property
    def total(self) -> int:
        """Tokens of the whole row."""
        return self.trunk + self.chosen + self.rejected


@dataclass(frozen=True, slots=True)
class PairRows:
    """B pairs for one forward, all on one device.

    `ids` and `positions` are (1, T), the rows one after the other, or (B, L), padded on the right. Of the N response
    tokens that are predicted, `predictors` has the flat index of the state that predicts each, `targets` its id and
    `pairs` its pair. Rows of `sides` (2, N) are 1.0 where it counts for chosen and for rejected; a token that both
    share counts for both. `places` has the flat index of each token of the rows, one row after the other.
    """

    ids: Tensor
    positions: Tensor
    parts: tuple[RowParts, ...]
    predictors: Tensor
    targets: Tensor
    pairs: Tensor
    sides: Tensor
    places: Tensor

    def to(self, device: torch.device) -> PairRows:
        """The same on `device`."""
        flat = (self.predictors, self.targets, self.pairs, self.sides, self.places)
        moved = (values.to(device) for values in flat)
        return PairRows(self.ids.to(device), self.positions.to(device), self.parts, *moved)


def row_parts(pair: PairIds) -> RowParts:
    """The parts of the pair's row."""
    shared = common_length(pair.chosen, pair.rejected)
    return RowParts(len(pair.prompt) + shared, len(pair.chosen) - shared, len(pair.rejected) - shared)


def packed(pairs: Sequence[PairIds], multiple: int = 1) -> PairRows:
    """The rows of `pairs`, which are cut already, in one line; padded at its end to a multiple of so many tokens."""
    rows = [_row(pair) for pair in pairs]
    starts = np.cumsum([0, *(len(row.ids) for row in rows)])
    return _together(rows, starts[:-1], (1, -(-int(starts[-1]) // multiple) * multiple))


def padded(pairs: Sequence[PairIds]) -> PairRows:
    """The rows of `pairs`, which are cut already, a line each."""
    rows = [_row(pair) for pair in pairs]
    width = max(len(row.ids) for row in rows)
    return _together(rows, np.arange(len(rows)) * width, (len(rows), width))


@dataclass(frozen=True, slots=True)
class _Row:
    """As `PairRows`, of one pair; `predictors` count from the row's first token."""

    ids: list[int]
    positions: np.ndarray
    parts: RowParts
    predictors: np.ndarray
    targets: np.ndarray
    sides: np.ndarray


def _row(pair: PairIds) -> _Row:
    parts = row_parts(pair)
    prompt, trunk, branch = len(pair.prompt), parts.trunk, parts.trunk + parts.chosen
    shared, rejected = trunk - prompt, pair.rejected[trunk - prompt :]
    # Each token is predicted by the one before it, but rejected's first by the trunk's last.
    predictors = np.arange(prompt - 1, branch + parts.rejected - 1)
    predictors[len(pair.chosen) : len(pair.chosen) + 1] = trunk - 1
    sides = np.zeros((2, len(predictors)), np.float32)
    sides[0, : len(pair.chosen)] = 1.0
    sides[1, :shared] = sides[1, len(pair.chosen) :] = 1.0
    seen = predictors >= 0  # With no prompt, nothing predicts the first token.
    return _Row(
        ids=[*pair.prompt, *pair.chosen, *rejected],
        positions=np.concatenate([np.arange(branch), np.arange(trunk, trunk + len(rejected))]),
        parts=parts,
        predictors=predictors[seen],
        targets=np.array([*pair.chosen, *rejected], np.int64)[seen],
        sides=sides[:, seen],
    )


def _together(rows: Sequence[_Row], starts: np.ndarray, shape: tuple[int, int]) -> PairRows:
    """The rows in lines of this `shape`; `starts` are the flat indices of their first tokens."""
    ids, positions = np.zeros((2, shape[0] * shape[1]), np.int64)
    for row, start in zip(rows, starts.tolist(), strict=True):
        ids[start : start + len(row.ids)] = row.ids
        positions[start : start + len(row.ids)] = row.positions
    predictors = np.concatenate([row.predictors + start for row, start in zip(rows, starts, strict=True)])
    places = np.concatenate([np.arange(len(row.ids)) + start for row, start in zip(rows, starts, strict=True)])
    return PairRows(
        ids=torch.from_numpy(ids.reshape(shape)),
        positions=torch.from_numpy(positions.reshape(shape)),
        parts=tuple(row.parts for row in rows),
        predictors=torch.from_numpy(predictors),
        targets=torch.from_numpy(np.concatenate([row.targets for row in rows])),
        pairs=torch.from_numpy(np.repeat(np.arange(len(rows)), [len(row.predictors) for row in rows])),
        sides=torch.from_numpy(np.concatenate([row.sides for row in rows], axis=1)),
        places=torch.from_numpy(places),
    )
