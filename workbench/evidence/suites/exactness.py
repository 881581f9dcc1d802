"""How exact shares on suites would be: widths of intervals, detectable changes, how many probes settle a threshold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.evidence.probes import Probe
from workbench.evidence.statistics import LEVEL, detectable

_SPREAD = 0.5
"""The largest standard deviation that a share can have."""


@dataclass(frozen=True, slots=True)
class KindSize:
    """How many probes there are of a kind, and how exact a share among them would be.

    `width`: half of the 95% interval of a share of one half, where all of a group answer alike (the worst case), and
    where every prompt is by itself. `detectable`: the smallest change of a share that is found with 80% power, in the
    worst case. None where there is one group only.
    """

    kind: str
    probes: int
    groups: int
    width: tuple[float | None, float]
    detectable: float | None


def size(kind: str, probes: Sequence[Probe]) -> KindSize:
    """How exact a share among `probes` would be."""
    from scipy.stats import t

    sizes = Counter(probe.group for probe in probes).values()
    count, groups = len(probes), len(sizes)
    independent = t.ppf((1 + LEVEL) / 2, max(1, count - 1)) * _SPREAD / math.sqrt(count)
    if groups < 2:
        return KindSize(kind, count, groups, (None, min(1.0, float(independent))), None)
    # Unequal groups are worth fewer equal ones: their mean has the variance of so many.
    worth = count**2 / sum(number**2 for number in sizes)
    worst = t.ppf((1 + LEVEL) / 2, groups - 1) * _SPREAD / math.sqrt(worth)
    found = detectable(_SPREAD * math.sqrt(groups / worth), groups)
    return KindSize(kind, count, groups, (min(1.0, float(worst)), min(1.0, float(independent))), min(1.0, found))


def settled_from(threshold: float) -> int:
    """How many probes without a single hit show that a share is at most `threshold`, at 95% (Clopper and Pearson)."""
    return math.ceil(math.log((1 - LEVEL) / 2) / math.log1p(-threshold)) if 0 < threshold < 1 else 1
