"""The order in which pairs train, and the share of each batch that this process trains on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.data import sizes


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
    tokens = sizes(pairs)
    longest: list[int] = np.minimum(tokens[:, 0] + tokens[:, 1:].max(1), max_length).tolist()
    return longest


@dataclass(frozen=True, slots=True)
class Share:
    """The pairs that a process takes of a batch of `total` pairs, which so many `ranks` share.

    `own` of them count; the only one does not where others have them all.
    """

    indices: tuple[int, ...]
    own: int
    total: int
    ranks: int

    @property
    def weight(self) -> float:
        """By what to multiply the mean loss of the own pairs, so that the mean over processes is that over pairs."""
        return self.own * self.ranks / self.total


def share_out(order: Sequence[int], part: int, ranks: int, rank: int) -> Iterator[Share]:
    """Of each batch from an order that all processes have alike, `part` pairs a process or fewer at the end, the share
    of process `rank`.

    Where fewer pairs than processes are left, some get one that another has: it counts for nothing.
    """
    whole = part * ranks
    for begin in range(0, len(order), whole):
        batch = order[begin : begin + whole]
        own = _part(batch, ranks, rank)
        yield Share(tuple(own or batch[:1]), len(own), len(batch), ranks)


class Shares(Sampler[list[int]]):
    """The same as the batches of a data loader."""

    def __init__(self, order: Any, part: int, ranks: int, rank: int) -> None:
        self.sampler, self.batch_size, self.drop_last = order, part, False
        self._ranks, self._rank = ranks, rank
        self._shares: dict[tuple[int, ...], Share] = {}

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next iteration."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.sampler) // (self.batch_size * self._ranks))

    def __iter__(self) -> Iterator[list[int]]:
        for share in share_out(list(self.sampler), self.batch_size, self._ranks, self._rank):
            self._shares[share.indices] = share
            yield list(share.indices)

    def share(self, indices: Iterable[int]) -> Share:
        """What one of the batches is of the whole batch; to be asked once."""
        return self._shares.pop(tuple(indices))


def _part(batch: Sequence[int], ranks: int, rank: int) -> list[int]:
    small, more = divmod(len(batch), ranks)
    begin = rank * small + min(rank, more)
    return list(batch[begin : begin + small + (rank < more)])
