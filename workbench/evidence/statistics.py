"""Means and ratios with 95% intervals: a percentile bootstrap that draws whole groups. Pure, seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval. `samples` counts what it is the mean of, `groups` the clusters they fall into."""

    value: float
    low: float
    high: float
    samples: int
    groups: int

    @property
    def interval(self) -> tuple[float, float]:
        """The bounds, lower first."""
        return (self.low, self.high)


def mean(values: Sequence[float], groups: Sequence[str], *, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """The mean of `values`, values of one group drawn together (all by themselves where there is only one group).

    Raises `ValueError` for no values, or not one group each.
    """
    sums, counts = _by_group(values, groups)
    drawn = _drawn(len(sums), seed, draws)
    low, high = _percentiles(sums[drawn].sum(1) / counts[drawn].sum(1))
    return Estimate(float(sums.sum() / counts.sum()), low, high, len(values), len(set(groups)))


def ratio(
    values: Sequence[float], base: Sequence[float], groups: Sequence[str], *, seed: int = 0, draws: int = DRAWS
) -> Estimate | None:
    """The mean of `values` over that of `base`, both measured on the same things; None where the latter is 0.

    Draws in which the mean of `base` is 0 count as infinite. Raises `ValueError` as `mean` does.
    """
    above, _ = _by_group(values, groups)
    below, _ = _by_group(base, groups)
    if below.sum() == 0:
        return None
    drawn = _drawn(len(above), seed, draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above[drawn].sum(1) / below[drawn].sum(1)
    low, high = _percentiles(np.where(np.isnan(ratios), np.inf, ratios))
    return Estimate(float(above.sum() / below.sum()), low, high, len(values), len(set(groups)))


def _by_group(values: Sequence[float], groups: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and count of every group, each (groups,); with one group only, every value is one."""
    if not values or len(values) != len(groups):
        raise ValueError(f"{len(values)} values in {len(groups)} groups")
    array = np.asarray(values, dtype=np.float64)
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) == 1:
        return array, np.ones_like(array)
    sums, counts = (np.bincount(places, weights=each).astype(np.float64) for each in (array, np.ones_like(array)))
    return sums, counts


def _drawn(count: int, seed: int, draws: int) -> NDArray[np.int64]:
    """Indices of the groups in every draw, (draws, groups), with replacement."""
    return np.random.default_rng(seed).integers(0, count, (draws, count))


def _percentiles(draws: Floats) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    # "lower" and "higher" keep infinities what they are, where interpolation would make NaN of them.
    low = np.quantile(draws, tail, method="lower")
    high = np.quantile(draws, 1 - tail, method="higher")
    return float(low), float(high)
