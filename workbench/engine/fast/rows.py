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

from workbench.engine.model.token_ids import PairIds


@dataclass(frozen=True, slots=True)
class Parts:
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

    `ids` and `positions` are (1, T), the rows one after the other, or (B, L), padded on the right. The N response
    tokens that are predicted have each a place in `places`, the flat index of the state that predicts it, its id in
    `targets`, its pair in `pairs`, and its sides: rows of `sides` (2, N) are 1.0 where it counts for chosen and for
    rejected; a token that both share counts for both.
    """

    ids: Tensor
    positions: Tensor
    parts: tuple[Parts, ...]
    places: Tensor
    targets: Tensor
    pairs: Tensor
    sides: Tensor

    def to(self, device: torch.device) -> PairRows:
        """The same on `device`."""
        moved = (each.to(device) for each in (self.places, self.targets, self.pairs, self.sides))
        return PairRows(self.ids.to(device), self.positions.to(device), self.parts, *moved)


def cut(pair: PairIds, max_length: int) -> PairIds:
    """The pair with its responses cut so that either, after the prompt, has `max_length` tokens at most."""
    room = max_length - len(pair.prompt)
    return PairIds(pair.prompt, pair.chosen[:room], pair.rejected[:room])


def parts(pair: PairIds) -> Parts:
    """The parts of the pair's row."""
    shared = _shared(pair)
    return Parts(len(pair.prompt) + shared, len(pair.chosen) - shared, len(pair.rejected) - shared)


def packed(pairs: Sequence[PairIds], multiple: int = 1) -> PairRows:
    """The rows of `pairs`, which are cut already, in one line; padded at its end to a multiple of so many tokens."""
    made = [_row(pair) for pair in pairs]
    starts = np.cumsum([0, *(len(row.ids) for row in made)])
    width = -(-int(starts[-1]) // multiple) * multiple
    ids, positions = np.zeros((2, 1, width), np.int64)
    for start, row in zip(starts[:-1].tolist(), made, strict=True):
        ids[0, start : start + len(row.ids)] = row.ids
        positions[0, start : start + len(row.ids)] = row.positions
    return _together(made, starts[:-1], ids, positions)


def padded(pairs: Sequence[PairIds]) -> PairRows:
    """The rows of `pairs`, which are cut already, a line each."""
    made = [_row(pair) for pair in pairs]
    width = max(len(row.ids) for row in made)
    ids, positions = np.zeros((2, len(made), width), np.int64)
    for line, row in enumerate(made):
        ids[line, : len(row.ids)] = row.ids
        positions[line, : len(row.ids)] = row.positions
    return _together(made, np.arange(len(made)) * width, ids, positions)


@dataclass(frozen=True, slots=True)
class _Row:
    ids: list[int]
    positions: np.ndarray
    parts: Parts
    places: np.ndarray
    targets: list[int]
    sides: np.ndarray


def _row(pair: PairIds) -> _Row:
    prompt, shared = len(pair.prompt), _shared(pair)
    found = parts(pair)
    trunk, branch = found.trunk, found.trunk + found.chosen
    first, second = pair.chosen[shared:], pair.rejected[shared:]
    # A branch's first token is predicted by the trunk's last, every other one by the one before it.
    places = np.concatenate(
        [np.arange(prompt - 1, trunk - 1), _before(trunk, trunk, len(first)), _before(trunk, branch, len(second))]
    )
    sides = np.zeros((2, len(places)), np.float32)
    sides[0, : shared + len(first)] = 1.0
    sides[1, :shared] = sides[1, shared + len(first) :] = 1.0
    seen = places >= 0  # With no prompt, nothing predicts the first token.
    targets = np.array([*pair.chosen, *second], np.int64)
    return _Row(
        ids=[*pair.prompt, *pair.chosen, *second],
        positions=np.concatenate([np.arange(branch), np.arange(trunk, trunk + len(second))]),
        parts=found,
        places=places[seen],
        targets=targets[seen].tolist(),
        sides=sides[:, seen],
    )


def _before(trunk: int, begin: int, length: int) -> np.ndarray:
    places = np.arange(begin - 1, begin - 1 + length)
    places[:1] = trunk - 1
    return places


def _together(made: Sequence[_Row], starts: np.ndarray, ids: np.ndarray, positions: np.ndarray) -> PairRows:
    counts = [len(row.places) for row in made]
    return PairRows(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        parts=tuple(row.parts for row in made),
        places=torch.from_numpy(np.concatenate([row.places + start for row, start in zip(made, starts, strict=True)])),
        targets=torch.tensor([token for row in made for token in row.targets]),
        pairs=torch.from_numpy(np.repeat(np.arange(len(made)), counts)),
        sides=torch.from_numpy(np.concatenate([row.sides for row in made], axis=1)),
    )


def _shared(pair: PairIds) -> int:
    equal = zip(pair.chosen, pair.rejected, strict=False)
    return next(
        (place for place, (one, other) in enumerate(equal) if one != other), min(len(pair.chosen), len(pair.rejected))
    )
