"""How a long check tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")
Progress = Callable[[str, float], None]
"""Told the name of a check, and how much of it is done, from 0 to 1."""
_EVERY = 2000


@dataclass(frozen=True, slots=True)
class Watch:
    """The progress of one check."""

    check: str
    progress: Progress

    def tick(self, done: int, total: int) -> None:
        """`done` of `total` is done."""
        self.progress(self.check, done / total if total else 1.0)

    def each(self, items: Sequence[_T]) -> Iterator[tuple[int, _T]]:
        """The items with their places, ticking now and then."""
        for place, item in enumerate(items):
            if place % _EVERY == 0:
                self.tick(place, len(items))
            yield place, item
