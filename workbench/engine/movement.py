"""How many of the adapter's weights have moved from where they began."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from workbench.engine.ranks import whole

SAMPLE = 2**20
"""Weights that are looked at, evenly spread; of a large adapter not all are."""


class Movement:
    """Remembers the weights that train as they are when it is made: before the first step, or a checkpoint's loading.

    Of LoRA's two matrices only A tells: B begins at zero, so whatever reaches it shows, while an update of A is lost
    where it is smaller than the last digit of a weight. Where weights are shared out over processes, all have to ask.
    """

    def __init__(self, model: torch.nn.Module, sample: int = SAMPLE) -> None:
        first, other = list[_Place](), list[_Place]()
        for path, module in model.named_modules():
            for name, each in module.named_parameters(path, recurse=False):
                if each.requires_grad:
                    place = _Place(module, name.rpartition(".")[2])
                    (first if "lora_A" in name or "embedding_A" in name else other).append(place)
        self._first, self._other = _Sampled(first, sample), _Sampled(other, sample)

    def of_first(self) -> float:
        """The share of the entries of A that are not what they began as, 0 to 1."""
        return self._first.moved()

    def of_all(self) -> float:
        """The share of all weights that train and are not what they began as, 0 to 1."""
        total = self._first.total + self._other.total
        return (self._first.moved() * self._first.total + self._other.moved() * self._other.total) / max(total, 1)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a parameter is; which one it is changes when it is shared out."""

    module: torch.nn.Module
    name: str

    @property
    def parameter(self) -> torch.Tensor:
        return whole(getattr(self.module, self.name))


class _Sampled:
    def __init__(self, places: Sequence[_Place], sample: int) -> None:
        self.total = sum(each.parameter.numel() for each in places)
        self._stride = max(1, math.ceil(self.total / sample))
        self._places = places
        self._before = [self._of(each).clone() for each in places]

    def moved(self) -> float:
        if not self._places:
            return 0.0
        pairs = zip(self._places, self._before, strict=True)
        different = torch.stack([(self._of(each) != before).sum() for each, before in pairs]).sum()
        return int(different) / sum(before.numel() for before in self._before)

    def _of(self, place: _Place) -> torch.Tensor:
        return place.parameter.reshape(-1)[:: self._stride]
