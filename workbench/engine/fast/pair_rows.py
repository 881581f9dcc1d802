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
    share counts for both. Of the R tokens that are no padding, `places` has the flat index, and `tokens` which one of
    `parts` it is, counted over all rows.

    Where chosen and rejected have a line each, `ids` are (2 B, L), and the trunk's tokens are there twice.
    """

    ids: Tensor
    positions: Tensor
    parts: tuple[RowParts, ...]
    predictors: Tensor
    targets: Tensor
    pairs: Tensor
    sides: Tensor
    places: Tensor
    tokens: Tensor

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with one of its responses."""
        return max(parts.trunk + max(parts.chosen, parts.rejected) for parts in self.parts)

    def to(self, device: torch.device) -> PairRows:
        """The same on `device`."""
        flat = (self.predictors, self.targets, self.pairs, self.sides, self.places, self.tokens)
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


def apart(pairs: Sequence[PairIds]) -> PairRows:
    """`pairs`, which are cut already, with a line for chosen and one for rejected, padded on the right."""
    parts = tuple(row_parts(pair) for pair in pairs)
    width = max(len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) for pair in pairs)
    ids = np.zeros((2 * len(pairs), width), np.int64)
    predictors, targets, owners, sides = list[np.ndarray](), list[list[int]](), list[int](), list[int]()
    places, tokens, begin = list[np.ndarray](), list[np.ndarray](), 0
    for number, (pair, row) in enumerate(zip(pairs, parts, strict=True)):
        prompt = len(pair.prompt)
        for side, response in enumerate((pair.chosen, pair.rejected)):
            line, unseen = 2 * number + side, int(not prompt)  # With no prompt, nothing predicts the first token.
            length, shift = prompt + len(response), row.chosen if side else 0
            ids[line, :length] = [*pair.prompt, *response]
            predictors.append(line * width + np.arange(prompt - 1 + unseen, length - 1))
            targets.append(response[unseen:])
            owners += [number] * len(targets[-1])
            sides += [side] * len(targets[-1])
            places.append(line * width + np.arange(length))
            tokens.append(begin + np.arange(length) + shift * (np.arange(length) >= row.trunk))
        begin += row.total
    of_side = torch.tensor(sides)
    return PairRows(
        ids=torch.from_numpy(ids),
        positions=torch.arange(width).expand(len(ids), -1),
        parts=parts,
        predictors=torch.from_numpy(np.concatenate(predictors)),
        targets=torch.from_numpy(np.concatenate([np.array(each, np.int64) for each in targets])),
        pairs=torch.tensor(owners, dtype=torch.int64),
        sides=torch.stack([of_side == 0, of_side == 1]).float(),
        places=torch.from_numpy(np.concatenate(places)),
        tokens=torch.from_numpy(np.concatenate(tokens)),
    )


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
        tokens=torch.arange(len(places)),
    )
