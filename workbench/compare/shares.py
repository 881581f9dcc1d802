"""How often a column answers in which way, counted over its samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from workbench.compare.messages import Generation


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `samples` answers of a column were of a family; None: of none that the matchers know."""

    family: str | None
    count: int
    samples: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.count / self.samples


def shares(generations: Iterable[Generation]) -> dict[str, list[Share]]:
    """By the column's name, the families that occurred in any column, the most frequent over all first.

    Every column has all of them, at 0 where it has none, so that they can be set side by side; unknown ones come last.
    """
    counts: dict[str, Counter[str | None]] = {}
    for each in generations:
        counts.setdefault(each.name, Counter())[each.family] += 1
    total = sum(counts.values(), Counter[str | None]())
    order = sorted(total, key=lambda family: (family is None, -total[family], family or ""))
    return {name: [Share(family, count[family], count.total()) for family in order] for name, count in counts.items()}
