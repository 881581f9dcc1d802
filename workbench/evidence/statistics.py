"""Estimates with 95% intervals, paired tests and effect sizes, whole groups drawn together. Pure, seeded.

Probes about one subject, and pairs with one prompt, are alike: they count as one cluster. Intervals are bootstrap
intervals over clusters, bias-corrected and accelerated (BCa, Efron 1987), widened for few clusters as Hesterberg
(2015, "What Teachers Should Know about the Bootstrap") does: the tails are those that give a t interval its width.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 4000
PERMUTATIONS = 4999
LEVEL = 0.95
POWER = 0.8
_BATCH_CELLS = 4_000_000
"""Numbers that the draws of one batch hold."""

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

    @property
    def has_interval(self) -> bool:
        """Whether the bounds say anything: those of one value are that value, since it has no spread."""
        return self.samples > 1 or self.low < self.high


@dataclass(frozen=True, slots=True)
class Change:
    """Something measured twice on the same things: before and after training, or under one run and another.

    `p_value`: two-sided, of a permutation test that exchanges before and after within whole groups. `effect`: mean
    difference of the groups over its standard deviation (Cohen's d of paired differences). `detectable`: the smallest
    true difference that so many groups find with 80% power at 5%. All three are None where there is one value only,
    the last two also where all groups differ by the same.
    """

    before: Estimate
    after: Estimate
    difference: Estimate
    p_value: float | None
    effect: float | None
    detectable: float | None


def mean(values: Sequence[float], groups: Sequence[str], *, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """The mean of `values`, values of one group drawn together (all by themselves where there is only one group).

    Raises `ValueError` for no values, or not one group each.
    """
    sums, counts = _by_group(values, groups)
    return _estimate(sums, counts, _sizes(values, groups), seed, draws)


def ratio(values: Sequence[float], base: Sequence[float], groups: Sequence[str], *, seed: int = 0) -> Estimate | None:
    """The sum of `values` over that of `base`, both measured on the same things; None where the latter is 0.

    Draws in which the sum of `base` is 0 count as infinite. Raises `ValueError` as `mean` does.
    """
    above, _ = _by_group(values, groups)
    below, _ = _by_group(base, groups)
    if below.sum() == 0:
        return None
    return _estimate(above, below, _sizes(values, groups), seed, DRAWS)


def share(hits: Sequence[float], groups: Sequence[str], trials: int, *, seed: int = 0) -> Estimate:
    """The share of `hits` that are 1 and not 0.

    Where all are alike the bootstrap would give an interval of no width. It is the exact one of Clopper and Pearson
    then, with `trials` the number of independent ones among them: samples of one prompt are not.
    """
    return _exact(mean(hits, groups, seed=seed), trials)


def _exact(estimate: Estimate, trials: int) -> Estimate:
    """The same with the exact interval where the share is 0 or 1."""
    if estimate.value not in (0.0, 1.0):
        return estimate
    exact = exact_share(round(estimate.value * trials), trials)
    return replace(estimate, low=exact.low, high=exact.high)


def exact_share(hits: int, trials: int) -> Estimate:
    """The share of independent `trials`, one or more, that are `hits`, with the interval of Clopper and Pearson."""
    from scipy.stats import binomtest

    low, high = binomtest(hits, trials).proportion_ci(LEVEL, method="exact")
    return Estimate(hits / trials, float(low), float(high), trials, trials)


def change(
    before: Sequence[float],
    after: Sequence[float],
    groups: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    trials: int | None = None,
    seed: int = 0,
) -> Change:
    """Means before and after, and their difference, with a paired test.

    `weights`: what each value is the sum over (tokens), so that the means are per one of those. `trials`: the values
    are 0 or 1; see `share`. Raises `ValueError` for no values, or not one of everything each.
    """
    differences = [now - then for then, now in zip(before, after, strict=True)]
    values: list[Sequence[float]] = [before, after, differences]
    sums = [_by_group(column, groups)[0] for column in values]
    counts = _by_group(values[0], groups)[1] if weights is None else _by_group(weights, groups)[0]
    first, second, difference = (_estimate(column, counts, _sizes(before, groups), seed, DRAWS) for column in sums)
    if trials is not None:
        first, second = (_exact(column, trials) for column in (first, second))
        if difference.low == difference.high:
            difference = replace(difference, low=second.low - first.high, high=second.high - first.low)
    return Change(first, second, difference, paired_test(sums[0], sums[1], seed=seed), *_spread(sums[2], counts))


def paired_test(before: Floats, after: Floats, *, seed: int = 0) -> float | None:
    """The two-sided p-value of the sums of every group, (groups,) each, being exchangeable before and after.

    Exact where there are few groups. None for fewer than two.
    """
    if len(before) < 2:
        return None
    if np.array_equal(before, after):
        return 1.0
    from scipy.stats import permutation_test

    test = permutation_test(
        (before, after),
        lambda one, other, axis: (other - one).sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, _BATCH_CELLS // len(before)),
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def detectable(deviation: float, groups: int) -> float:
    """The smallest true mean difference that a two-sided paired t test over `groups` finds in 80% of cases at 5%.

    `deviation` is the standard deviation of the groups' differences. At least two groups.
    """
    from scipy.stats import t

    quantiles = t.ppf((1 + LEVEL) / 2, groups - 1) + t.ppf(POWER, groups - 1)
    return float(quantiles * deviation / math.sqrt(groups))


def _spread(sums: Floats, counts: Floats) -> tuple[float | None, float | None]:
    """Effect size and smallest detectable difference, of the sums of every group's differences."""
    groups = len(sums)
    if groups < 2:
        return None, None
    value = sums.sum() / counts.sum()
    # What a group moves the mean by, as a difference of its own: its mean where all groups are of one size.
    moved = value + (sums - value * counts) * groups / counts.sum()
    deviation = float(moved.std(ddof=1))
    if deviation <= 1e-12 * abs(float(value)):
        return None, None
    return float(value / deviation), detectable(deviation, groups)


def _by_group(values: Sequence[float], groups: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and count of every cluster, each (clusters,)."""
    if not len(values) or len(values) != len(groups):
        raise ValueError(f"{len(values)} values in {len(groups)} groups")
    array = np.asarray(values, dtype=np.float64)
    places, count = clusters(groups)
    sums, counts = (np.bincount(places, column, count).astype(np.float64) for column in (array, np.ones_like(array)))
    return sums, counts


def clusters(groups: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """The number of every value's cluster, from 0, and how many there are.

    Where all are of one group, each value is a cluster: its spread is all there is to go by.
    """
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) > 1:
        return places.astype(np.int64), len(names)
    return np.arange(len(groups)), len(groups)


def _sizes(values: Sequence[float], groups: Sequence[str]) -> tuple[int, int]:
    return len(values), len(set(groups))


def _estimate(above: Floats, below: Floats, sizes: tuple[int, int], seed: int, draws: int) -> Estimate:
    value = float(above.sum() / below.sum())
    low, high = interval(_ratio, (above, below), seed=seed, draws=draws)
    return Estimate(value, low, high, *sizes)


def _ratio(above: Floats, below: Floats, axis: int) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above.sum(axis) / below.sum(axis)
    return np.where(np.isnan(ratios), np.inf, ratios)


def interval(
    statistic: Callable[..., Any], columns: Sequence[Floats], *, seed: int = 0, draws: int = DRAWS
) -> tuple[float, float]:
    """The 95% interval of `statistic` of the columns, (groups,) each, whose groups are drawn together.

    `statistic` takes the columns and `axis`. BCa; the percentiles where BCa has none to give.
    """
    groups = len(columns[0])
    value = float(statistic(*columns, axis=-1))
    if groups < 2 or all(np.ptp(column) == 0 for column in columns):
        return (value, value)
    from scipy.stats import bootstrap

    level = _widened(groups)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # degenerate distributions and infinite draws are dealt with below
        bootstrapped = bootstrap(
            tuple(columns),
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=draws,
            batch=max(1, _BATCH_CELLS // groups),
            confidence_level=level,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    low, high = float(bootstrapped.confidence_interval.low), float(bootstrapped.confidence_interval.high)
    if not (math.isnan(low) or math.isnan(high)):
        return (min(low, value), max(high, value))
    # "lower" and "higher" keep infinities what they are, where interpolation would make NaN of them.
    drawn, tail = np.asarray(bootstrapped.bootstrap_distribution), (1 - level) / 2
    low = float(np.quantile(drawn, tail, method="lower"))
    return (low, float(np.quantile(drawn, 1 - tail, method="higher")))


def _widened(groups: int) -> float:
    """The level at which percentiles of so few groups cover 95% (Hesterberg's expanded percentiles)."""
    from scipy.stats import norm, t

    reach = math.sqrt(groups / (groups - 1)) * t.ppf((1 + LEVEL) / 2, groups - 1)
    return float(1 - 2 * norm.cdf(-reach))
