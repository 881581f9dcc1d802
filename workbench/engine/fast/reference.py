"""Log-probabilities of the reference: each pair's are computed once, and kept for the next run on the same pair."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.compare.messages import ResponseScore
from workbench.config import RunConfig
from workbench.engine.model.token_ids import PairIds
from workbench.engine.scoring.result_cache import CacheKey, key
from workbench.engine.scoring.score_cache import ScoreCache
from workbench.runs.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS

_KEEP = 256
"""Pairs after which what was computed goes to the disk."""

Compute = Callable[[Sequence[PairIds]], Tensor]
"""(2, B), on the CPU: the reference's log-probabilities of chosen and of rejected."""


def reference_version(revision: str, config: RunConfig, model: Any, start: Path) -> str:
    """What the numbers of the reference depend on but the ids; "" where the model's version cannot be told.

    The reference is the base model, whose `revision` this is, as it is held in memory; or the adapter in `start` on it,
    where the config goes on from one.
    """
    if revision == "unknown":
        return ""
    adapter = ""
    if config.adapter:
        files = (start / name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS))
        adapter = " ".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return f"reference {revision} {config.quantization} {model.dtype} {model.device.type} {adapter}"


class References:
    """What the reference gives the `pairs` of a data set, by their indices; `cache` keeps it under keys of `version`.

    The version has to tell all that the numbers depend on but the token ids: weights, quantization, precision, device.
    An empty one keeps nothing. Ids are what the template, the tokenizer and the length limit made of a row, so any
    change of those, or of the row, is another key. Beta, learning rate and loss are no part of it.

    `known` (2, pairs) are the log-probabilities of chosen and rejected, not a number where they are not known yet. They
    belong into a checkpoint: computed again, beside other pairs, they would differ in the last digit.
    """

    def __init__(self, compute: Compute, count: int, cache: ScoreCache, version: str) -> None:
        self._compute, self._cache, self._version = compute, cache, version
        self.known = torch.full((2, count), torch.nan)
        self._fresh: dict[CacheKey, ResponseScore] = {}

    def __call__(self, indices: Sequence[int], pairs: Sequence[PairIds]) -> Tensor:
        """(2, B), float32, on the CPU, of `pairs`, which are cut already and have these `indices`."""
        new = [number for number, index in enumerate(indices) if self.known[0, index].isnan()]
        if new:
            self._learn([indices[number] for number in new], [pairs[number] for number in new])
        return self.known[:, list(indices)]

    def keep(self) -> None:
        """Writes down what was computed."""
        self._cache.put(self._fresh)
        self._fresh = {}

    def _learn(self, indices: Sequence[int], pairs: Sequence[PairIds]) -> None:
        keys = [(_key(self._version, pair, pair.chosen), _key(self._version, pair, pair.rejected)) for pair in pairs]
        known = self._cache.get([key for both in keys for key in both]) if self._version else {}
        left = []
        for number, (good, bad) in enumerate(keys):
            if good in known and bad in known:
                self.known[:, indices[number]] = torch.tensor([known[good].sum, known[bad].sum])
            else:
                left.append(number)
        if not left:
            return
        sums = self._compute([pairs[number] for number in left])
        self.known[:, [indices[number] for number in left]] = sums
        if self._version:
            for number, good, bad in zip(left, *sums.tolist(), strict=True):
                self._fresh[keys[number][0]] = ResponseScore(sum=good, tokens=len(pairs[number].chosen))
                self._fresh[keys[number][1]] = ResponseScore(sum=bad, tokens=len(pairs[number].rejected))
            if len(self._fresh) >= 2 * _KEEP:
                self.keep()


def _key(version: str, pair: PairIds, response: Sequence[int]) -> CacheKey:
    return key(version, array("q", pair.prompt).tobytes().hex(), array("q", response).tobytes().hex())
