import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.evidence.statistics import mean, ratio


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
