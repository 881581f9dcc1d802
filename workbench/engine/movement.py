"""How many of the adapter's weights have moved from where they began."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

SAMPLE = 2**20
"""Weights that are looked at, evenly spread; of a large adapter not all are."""


class Movement:
    """Remembers the weights that train as they are when it is made: before the first step, or a checkpoint's loading.

    Of LoRA's two matrices only A tells: B begins at zero, so whatever reaches it shows, while an update of A is lost
    where it is smaller than the last digit of a weight.
    """

    def __init__(self, model: torch.nn.Module, sample: int = SAMPLE) -> None:
        named = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
        self._first = _Sampled([each for name, each in named if "lora_A" in name or "embedding_A" in name], sample)
        self._other = _Sampled(
            [each for name, each in named if "lora_A" not in name and "embedding_A" not in name], sample
        )

    def of_first(self) -> float:
        """The share of the entries of A that are not what they began as, 0 to 1."""
        return self._first.moved()

    def of_all(self) -> float:
        """The share of all weights that train and are not what they began as, 0 to 1."""
        total = self._first.total + self._other.total
        return (self._first.moved() * self._first.total + self._other.moved() * self._other.total) / max(total, 1)


class _Sampled:
    def __init__(self, parameters: Sequence[torch.nn.Parameter], sample: int) -> None:
        self.total = sum(each.numel() for each in parameters)
        self._stride = max(1, math.ceil(self.total / sample))
        self._parameters = parameters
        self._before = [self._of(each).clone() for each in parameters]

    def moved(self) -> float:
        if not self._parameters:
            return 0.0
        pairs = zip(self._parameters, self._before, strict=True)
        different = torch.stack([(self._of(each) != before).sum() for each, before in pairs]).sum()
        return int(different) / sum(before.numel() for before in self._before)

    def _of(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        return parameter.detach().reshape(-1)[:: self._stride]
