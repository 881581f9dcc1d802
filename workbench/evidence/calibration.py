"""Whether the preference probability means what it says: when it says 90%, is it right nine times in ten?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.evidence.statistics import Estimate, Floats, clusters, interval, mean, share

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs whose confidence lies from `low` to `high`: how sure the run was on average, and how often it was right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """The preference probability p = σ(beta · Δ) of held-out pairs, Δ the difference of the log-ratios to the base.

    Its confidence is max(p, 1 − p), from 0.5 to 1. `error` is the expected calibration error (Guo et al. 2017): the
    mean gap between confidence and accuracy over the bins, weighted by their counts. `brier` is the mean of (1 − p)²;
    always saying 0.5 scores 0.25. `bins` has those that are not empty.
    """

    pairs: int
    beta: float
    error: Estimate
    brier: Estimate
    bins: Sequence[Bin]


def calibrate(margins: Sequence[float], groups: Sequence[str], beta: float, *, seed: int = 0) -> Calibration | None:
    """The calibration over pairs whose differences of log-ratios, in nats, are `margins`; None where there are none."""
    if not margins:
        return None
    # exp of large numbers is infinite, and 1/inf is the 0 that is meant.
    with np.errstate(over="ignore"):
        p = 1 / (1 + np.exp(-beta * np.asarray(margins, dtype=np.float64)))
    confidence, right = np.maximum(p, 1 - p), np.where(p == 0.5, 0.5, p > 0.5)
    bin_of = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    names = np.asarray(groups)
    bins = []
    for number in np.unique(bin_of).tolist():
        inside = bin_of == number
        accuracy = share(right[inside].tolist(), names[inside].tolist(), int(inside.sum()), seed=seed)
        low = 0.5 + number / (2 * BINS)
        bins.append(Bin(low, low + 1 / (2 * BINS), int(inside.sum()), float(confidence[inside].mean()), accuracy))
    brier = mean(((1 - p) ** 2).tolist(), groups, seed=seed)
    return Calibration(len(margins), beta, _error(confidence - right, bin_of, groups, seed), brier, bins)


def _error(gaps: Floats, bin_of: NDArray[np.int64], groups: Sequence[str], seed: int) -> Estimate:
    """Σ over the bins of |Σ gaps| / n, drawn by group."""
    cluster, size = clusters(groups)
    columns: list[Floats] = [
        np.bincount(cluster, gaps * (bin_of == number), size).astype(np.float64) for number in range(BINS)
    ]
    counts = np.bincount(cluster, minlength=size).astype(np.float64)

    def statistic(*drawn: Floats, axis: int) -> Floats:
        *sums, count = (column.sum(axis) for column in drawn)
        total: Floats = np.sum([np.abs(column) for column in sums], axis=0) / count
        return total

    value = float(statistic(*columns, counts, axis=-1))
    low, high = interval(statistic, [*columns, counts], seed=seed)
    return Estimate(value, low, high, len(gaps), len(set(groups)))
