"""The order in which pairs train: random by seed and epoch, but for the longest ones, which come first."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from workbench.engine.data import sizes
from workbench.engine.tokens import PairIds


class LongestFirst(Sampler[int]):
    """Indices of pairs, each once an epoch, in an order that `seed` and the epoch decide, and nothing else.

    The first epoch begins with the `first` longest pairs: as many as go through the model at once. What does not fit
    into memory fails there, in the first seconds, not after hours.
    """

    def __init__(self, lengths: Sequence[int], first: int, seed: int) -> None:
        self._lengths, self._first, self._seed = lengths, first, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self._lengths)))
        random.Random(f"{self._seed} {self._epoch}").shuffle(order)
        if self._epoch == 0:
            longest = sorted(order, key=lambda index: -self._lengths[index])[: self._first]
            taken = set(longest)
            order = longest + [index for index in order if index not in taken]
        return iter(order)


def lengths(pairs: Sequence[PairIds], max_length: int) -> list[int]:
    """Tokens of every pair's longer side, prompt included, as it is cut to fit."""
    found = sizes(pairs)
    longest: list[int] = np.minimum(found[:, 0] + found[:, 1:].max(1), max_length).tolist()
    return longest
