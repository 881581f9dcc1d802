"""Scores of responses kept on disk: what was scored once under a model and an adapter is not scored again."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from workbench.compare.messages import ResponseScore
from workbench.engine.scoring.result_cache import MOST, CacheKey, ResultCache

_SCORE = struct.Struct("<dq?")


class ScoreCache:
    """Scores by key in a `ResultCache`."""

    def __init__(self, path: Path | None, most: int = MOST) -> None:
        self._results = ResultCache(path, most)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._results.close()

    def get(self, keys: Sequence[CacheKey]) -> dict[CacheKey, ResponseScore]:
        """The scores that are known."""
        found = {name: _SCORE.unpack(value) for name, value in self._results.get(keys).items()}
        return {name: ResponseScore(sum=total, tokens=count, cut=cut) for name, (total, count, cut) in found.items()}

    def put(self, scores: Mapping[CacheKey, ResponseScore]) -> None:
        """Keeps scores."""
        self._results.put({name: _SCORE.pack(side.sum, side.tokens, side.cut) for name, side in scores.items()})
