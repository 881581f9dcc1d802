"""What a model without an adapter said and made of texts, kept from one evaluation to the next.

The base is the same for every run on it: its answers, their scores and those of the responses that suites and pairs
name need computing once. What is kept are whole lists, as they were computed: in part of a list, batches would be other
ones, and so would be the last digits, and the samples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.engine.model.inference import Ids
from workbench.engine.model.loading import device_name, revision
from workbench.engine.model.token_ids import tokenizer_digest
from workbench.engine.scoring.result_cache import ResultCache, key
from workbench.engine.scoring.scorer import Scorer
from workbench.models import resolve

_VERSION = 1
"""Of how `probing` samples and scores: another number forgets what was kept."""
_LIBRARIES = ("torch", "transformers", "bitsandbytes", "alignment-workbench")

Rows = Sequence[tuple[Ids, Ids]]


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """A cache, and what all that one model says depends on; with an empty `model` nothing is kept."""

    cache: ResultCache
    model: str = ""

    @classmethod
    def of(cls, scorer: Scorer, cache: ResultCache) -> KeptAnswers:
        """What is kept of the scorer's model: by its files, its tokenizer, its precision, the device, the libraries."""
        model: Any = scorer.adapters.model
        weights = revision(scorer.name, model)
        if weights == "unknown":
            return cls(cache)
        parts = (
            *(str(_VERSION), weights, _files(scorer.name), tokenizer_digest(scorer.tokenizer)),
            *(scorer.quantization, str(model.dtype), str(model.device), device_name(), str(scorer.context)),
            *(str(getattr(model.config, "_attn_implementation", "")), str(sorted(scorer.stops))),
            *(version(library) for library in _LIBRARIES),
        )
        return cls(cache, key(*parts).hex())

    def logprobs(self, rows: Rows, compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Log-probabilities, (response,) each in float32, of the response of every (prompt, response)."""
        asked = [[*map(list, row)] for row in rows]
        lengths = [len(response) for _, response in rows]
        return self._lists("logprobs", asked, compute, np.float32, lengths)

    def answers(self, asked: Any, count: int, compute: Callable[[], list[Ids]]) -> list[Ids]:
        """The ids of `count` sampled answers. `asked`: prompts and settings, as JSON has them."""

        def lists() -> list[Tensor]:
            return [torch.tensor(list(ids), dtype=torch.int32) for ids in compute()]

        found = self._lists("answers", asked, lists, np.int32, [None] * count)
        return [tuple(ids.tolist()) for ids in found]

    def masses(self, asked: Any, compute: Callable[[], list[list[float]]]) -> list[list[float]]:
        """A list of log-probabilities, in nats, for every probe whose openings are `asked`, as JSON has them."""

        def lists() -> list[Tensor]:
            return [torch.tensor(sums, dtype=torch.float64) for sums in compute()]

        found = self._lists("masses", asked, lists, np.float64, [None] * len(asked))
        return [sums.tolist() for sums in found]

    def _lists(
        self,
        what: str,
        asked: Any,
        compute: Callable[[], list[Tensor]],
        kind: type[np.generic],
        lengths: Sequence[int | None],
    ) -> list[Tensor]:
        """One list of numbers for each of `lengths` (None: of any), from the cache, else computed and kept."""
        if not self.model or not lengths:
            return compute()
        name = key(self.model, what, json.dumps(asked))
        known = self.cache.get([name]).get(name)
        lists = _unpacked(known, kind, lengths) if known is not None else None
        if lists is None:
            lists = compute()
            self.cache.put({name: _packed(lists, kind)})
        return lists


def nothing_kept() -> KeptAnswers:
    """For what is measured but once."""
    return KeptAnswers(ResultCache(None))


def _files(model: str) -> str:
    """Sizes and times of a local model's files: of large ones, `revision` reads samples."""
    folder = Path(resolve(model))
    if not folder.is_dir():
        return ""
    files = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in files])


def _packed(lists: Sequence[Tensor], kind: type[np.generic]) -> bytes:
    """How many lists there are, their lengths, their numbers."""
    head = np.array([len(lists), *map(len, lists)], np.int64).tobytes()
    return head + b"".join(one.numpy().astype(kind).tobytes() for one in lists)


def _unpacked(stored: bytes, kind: type[np.generic], lengths: Sequence[int | None]) -> list[Tensor] | None:
    """The lists again; None where they do not have the `lengths` that they should."""
    count = len(lengths)
    if len(stored) < 8 * (count + 1):
        return None
    found, *sizes = np.frombuffer(stored, np.int64, count + 1).tolist()
    if found != count or any(size != length for size, length in zip(sizes, lengths, strict=True) if length is not None):
        return None
    numbers = np.frombuffer(stored, kind, offset=8 * (count + 1))
    if len(numbers) != sum(sizes):
        return None
    return [torch.from_numpy(one.copy()) for one in np.split(numbers, np.cumsum(sizes)[:-1])]
