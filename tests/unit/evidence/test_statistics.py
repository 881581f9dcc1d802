import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.evidence.statistics import change, detectable, interval, mean, ratio, share


def test_the_mean_is_the_mean_and_lies_in_its_interval() -> None:
    values = [0.1, 0.2, 0.3, 0.8]
    estimate = mean(values, ["a", "b", "c", "d"])
    assert estimate.value == pytest.approx(0.35)
    assert 0.1 <= estimate.low < estimate.value < estimate.high <= 0.8
    assert (estimate.samples, estimate.groups) == (4, 4)


def test_the_same_seed_gives_the_same_interval_and_another_a_slightly_other() -> None:
    values = list(np.random.default_rng(1).random(60))
    groups = [str(number % 20) for number in range(60)]
    assert mean(values, groups, seed=3) == mean(values, groups, seed=3)
    assert mean(values, groups, seed=3).interval != mean(values, groups, seed=4).interval


def test_the_interval_has_the_textbook_width_for_independent_values() -> None:
    values = list(np.random.default_rng(2).normal(size=400))
    estimate = mean(values, [str(number) for number in range(400)])
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 / math.sqrt(400), rel=0.12)


def test_values_that_agree_within_groups_count_as_few() -> None:
    by_group = list(np.random.default_rng(3).normal(size=20))
    values = [value for value in by_group for _ in range(20)]
    clustered = mean(values, [str(number // 20) for number in range(400)])
    alone = mean(values, [str(number) for number in range(400)])
    assert clustered.high - clustered.low > 3 * (alone.high - alone.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for seed in range(200):
        values = rng.random(60)
        low, high = mean(list(values), [str(number) for number in range(60)], seed=seed, draws=400).interval
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_one_group_is_drawn_value_by_value() -> None:
    estimate = mean([0.0, 1.0] * 20, ["all"] * 40)
    assert estimate.groups == 1
    assert estimate.low < 0.5 < estimate.high


def test_an_interval_of_one_column_has_the_textbook_bounds_too() -> None:
    values = np.random.default_rng(6).normal(size=40)
    found = interval(lambda column, axis: column.mean(axis), [values])
    assert found == pytest.approx(stats.t.interval(0.95, 39, values.mean(), stats.sem(values)), abs=0.03)


def test_one_value_has_no_interval() -> None:
    assert not mean([0.4], ["a"]).has_interval
    assert not change([0.1], [0.4], ["a"]).difference.has_interval
    assert mean([0.4, 0.4], ["a", "b"]).has_interval
    assert mean([0.4, 0.5], ["a", "a"]).has_interval
    # A share of one trial has the exact interval.
    assert share([1.0], ["a"], 1).has_interval


def test_constant_values_have_an_interval_of_no_width() -> None:
    assert mean([0.25] * 10, list("abcdefghij")).interval == (0.25, 0.25)


def test_a_ratio_is_of_the_means_and_its_interval_knows_that_both_were_measured_together() -> None:
    base = list(np.random.default_rng(5).random(50))
    values = [0.9 * value for value in base]
    estimate = ratio(values, base, [str(number) for number in range(50)])
    assert estimate is not None
    assert estimate.value == pytest.approx(0.9)
    assert estimate.interval == (pytest.approx(0.9), pytest.approx(0.9))


def test_a_ratio_to_nothing_is_none_and_to_almost_nothing_may_be_infinite() -> None:
    assert ratio([0.5, 0.5], [0.0, 0.0], ["a", "b"]) is None
    estimate = ratio([0.5, 0.5], [0.0, 1.0], ["a", "b"])
    assert estimate is not None
    assert estimate.high == math.inf


@pytest.mark.parametrize(("values", "groups"), [([], []), ([1.0], []), ([1.0], ["a", "b"])])
def test_no_values_or_not_one_group_each_is_refused(values: list[float], groups: list[str]) -> None:
    with pytest.raises(ValueError, match="groups"):
        mean(values, groups)
    with pytest.raises(ValueError, match="groups"):
        ratio(values, values, groups)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcdef")), min_size=1, max_size=60))
def test_intervals_are_ordered_and_within_the_values(rows: list[tuple[float, str]]) -> None:
    values, groups = [value for value, _ in rows], [group for _, group in rows]
    estimate = mean(values, groups, draws=100)
    assert min(values) - 1e-9 <= estimate.low <= estimate.high <= max(values) + 1e-9


def clustered(rng: np.random.Generator, groups: int, *, skewed: bool = False) -> tuple[list[float], list[str]]:
    """Six values a group around the group's own mean; the truth is 0, or 1 where skewed."""
    values = rng.normal(size=(groups, 1)) + rng.normal(size=(groups, 6))
    if skewed:
        values = np.exp(0.5 * values - 0.25)
    return values.flatten().tolist(), [str(place // 6) for place in range(6 * groups)]


@pytest.mark.parametrize(("groups", "skewed", "least"), [(8, False, 0.92), (24, False, 0.92), (40, True, 0.89)])
def test_intervals_of_clustered_values_cover_the_truth_about_as_often_as_they_say(
    groups: int, skewed: bool, least: float
) -> None:
    rng = np.random.default_rng(11)
    covered = naive = 0
    for seed in range(300):
        values, names = clustered(rng, groups, skewed=skewed)
        low, high = mean(values, names, seed=seed, draws=600).interval
        covered += low <= float(skewed) <= high
        low, high = mean(values, [str(place) for place in range(len(values))], seed=seed, draws=200).interval
        naive += low <= float(skewed) <= high
    assert least <= covered / 300 <= 0.985
    assert naive < covered - 30  # values of one group taken for independent ones


def test_single_values_have_scipys_interval() -> None:
    values = np.random.default_rng(6).exponential(size=2000)
    found = mean(values.tolist(), [str(place) for place in range(2000)], draws=2000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(1))
    assert found.interval == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)


def test_a_share_of_none_or_all_has_the_exact_interval_of_as_many_trials() -> None:
    groups = [str(place % 12) for place in range(200)]
    none, every = share([0.0] * 200, groups, 48), share([1.0] * 200, groups, 48)
    assert (none.low, none.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 48)))
    assert (every.low, every.high) == (pytest.approx(0.025 ** (1 / 48)), 1.0)
    assert (none.samples, none.groups) == (200, 12)
    some = share([1.0, 0.0] * 100, groups, 48)
    assert 0 < some.low <= 0.5 <= some.high < 1


def test_a_change_by_hand() -> None:
    found = change([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0], list("abcd"))
    assert (found.before.value, found.after.value, found.difference.value) == (2.5, 5.0, 2.5)
    # Of the 16 ways to exchange before and after, two are as far out as this one.
    assert found.p_value == pytest.approx(2 / 16)
    assert found.effect == pytest.approx(2.5 / np.std([1, 2, 3, 4], ddof=1))
    assert found.detectable == pytest.approx(detectable(float(np.std([1, 2, 3, 4], ddof=1)), 4))


def test_a_change_per_token_is_weighted_by_tokens() -> None:
    found = change([-10.0, -1.0], [-5.0, -1.0], ["a", "b"], weights=[10, 2])
    assert found.before.value == pytest.approx(-11 / 12)
    assert found.difference.value == pytest.approx(5 / 12)


def test_groups_change_places_as_wholes_in_the_test() -> None:
    rng = np.random.default_rng(7)
    by_group = rng.normal(0.0, 1.0, size=6)
    before, after = [0.0] * 120, [value for value in by_group.tolist() for _ in range(20)]
    clusters = change(before, after, [str(place // 20) for place in range(120)]).p_value
    singles = change(before, after, [str(place) for place in range(120)]).p_value
    assert clusters is not None
    assert singles is not None
    assert clusters >= 2 / 2**6
    assert singles < clusters


def test_the_paired_test_agrees_with_the_t_test_where_that_is_right() -> None:
    rng = np.random.default_rng(8)
    before = rng.normal(size=60)
    after = before + rng.normal(0.3, 1.0, size=60)
    found = change(before.tolist(), after.tolist(), [str(place) for place in range(60)]).p_value
    assert found == pytest.approx(stats.ttest_rel(after, before).pvalue, abs=0.02)


def test_what_is_detectable_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(9)
    least = detectable(1.0, 20)
    found = sum(stats.ttest_1samp(rng.normal(least, 1.0, size=20), 0).pvalue < 0.05 for _ in range(2000))
    assert found / 2000 == pytest.approx(0.8, abs=0.03)


def test_where_nothing_varies_there_is_no_effect_to_tell() -> None:
    same = change([0.5] * 10, [1.0] * 10, list("abcdefghij"), trials=10)
    assert (same.effect, same.detectable) == (None, None)
    assert same.difference.low == pytest.approx(0.025 ** (1 / 10) - 0.5)
    assert same.difference.high == 0.5
    assert change([1.0, 2.0], [1.0, 2.0], ["a", "b"]).p_value == 1.0
    assert change([1.0], [2.0], ["a"]).p_value is None


def test_degenerate_draws_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ratio([0.5, 0.5], [0.0, 1.0], ["a", "b"]) is not None


def test_a_ratio_of_what_varies_by_itself_has_an_interval() -> None:
    rng = np.random.default_rng(6)
    estimate = ratio(list(1 + rng.random(40)), list(1 + rng.random(40)), [str(number) for number in range(40)])
    assert estimate is not None
    assert estimate.low < estimate.value - 0.02 < estimate.value + 0.02 < estimate.high


def test_few_clusters_have_the_width_of_a_t_interval() -> None:
    values = stats.norm.ppf((np.arange(12) + 0.5) / 12)
    estimate = mean(list(values), [str(number) for number in range(12)])
    width = 2 * stats.t.ppf(0.975, 11) * values.std(ddof=1) / math.sqrt(12)
    assert estimate.high - estimate.low == pytest.approx(width, rel=0.03)


def test_the_effect_of_two_groups_and_of_groups_of_unequal_size_by_hand() -> None:
    two = change([0.0, 0.0], [1.0, 3.0], ["a", "b"])
    assert two.effect == pytest.approx(2 / np.std([1, 3], ddof=1))
    assert two.detectable == pytest.approx(detectable(math.sqrt(2), 2))
    # Differences of 1, 1 and 4: 2 on average. a moves that by (2 - 2 * 2) * 2 / 3, b by (4 - 2) * 2 / 3.
    uneven = change([0.0] * 3, [1.0, 1.0, 4.0], ["a", "a", "b"])
    assert uneven.effect == pytest.approx(2 / np.std([2 - 4 / 3, 2 + 4 / 3], ddof=1))
    assert change([1.0, 2.0], [1.0, 2.0], ["a", "b"]).effect is None


@pytest.mark.parametrize(
    ("groups", "quantiles"), [(2, 12.7062 + 1.37638), (3, 4.30265 + 1.06066), (20, 2.09302 + 0.86095)]
)
def test_what_is_detectable_by_the_table_of_t(groups: int, quantiles: float) -> None:
    assert detectable(1.5, groups) == pytest.approx(1.5 * quantiles / math.sqrt(groups), rel=1e-5)


def test_where_some_draws_are_infinite_the_interval_is_that_of_the_percentiles() -> None:
    values, base = np.random.default_rng(12).random(12), np.array([1.0] + [0.0] * 11)
    estimate = ratio(values.tolist(), base.tolist(), [f"{number:02}" for number in range(12)])
    assert estimate is not None
    drawn = np.random.default_rng(0).integers(0, 12, (4000, 12))
    with np.errstate(divide="ignore"):
        ratios = values[drawn].sum(1) / base[drawn].sum(1)
    tail = stats.norm.cdf(-math.sqrt(12 / 11) * stats.t.ppf(0.975, 11))
    assert estimate.low == pytest.approx(np.quantile(ratios, tail, method="lower"))
    assert estimate.high == math.inf
