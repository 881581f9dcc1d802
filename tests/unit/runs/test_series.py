from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.runs.events import Eval, Step
from workbench.runs.series import Curve, curve, downsample, horizon, limits, round_up, smooth, tick_labels, ticks

PACE = {"seconds": 1.0, "pairs": 16, "pairs_per_second": 1.0, "tokens_per_second": 9.0, "memory_bytes": 1}
numbers = st.floats(allow_nan=True, allow_infinity=True)


def steps(values: list[float]) -> list[Step]:
    return [
        Step(time=float(i), step=i, epoch=0.0, metrics={"loss": value}, **PACE) for i, value in enumerate(values, 1)
    ]


def test_a_curve_takes_only_the_events_that_have_the_metric() -> None:
    events = [
        Step(time=0, step=1, epoch=0, metrics={"loss": 0.7}, **PACE),
        Eval(time=0, step=1, epoch=0, metrics={"rewards/margins": 0.0}, seconds=0, pairs=0),
        Step(time=0, step=2, epoch=0, metrics={"loss": 0.5}, **PACE),
    ]
    assert curve(events, "loss") == Curve((1, 2), (0.7, 0.5), 0.5, None)
    assert not curve(events, "logps/chosen")


def test_a_curve_keeps_what_cannot_be_drawn_as_its_last_value_and_says_where_it_began() -> None:
    broken = curve(steps([0.7, math.inf, 0.6, math.nan]), "loss")
    assert (broken.xs, broken.ys, broken.broken) == ((1, 3), (0.7, 0.6), 2)
    assert broken.last is not None
    assert math.isnan(broken.last)


@given(st.lists(numbers, max_size=300), st.integers(1, 40))
def test_downsampling_keeps_the_extremes_and_the_order(values: list[float], columns: int) -> None:
    whole = curve(steps(values), "loss")
    few = downsample(whole, columns)
    assert len(few.xs) == len(few.ys) <= max(2 * columns, 0)
    assert list(few.xs) == sorted(few.xs)
    assert set(zip(few.xs, few.ys, strict=True)) <= set(zip(whole.xs, whole.ys, strict=True))
    if whole.ys:
        assert (min(few.ys), max(few.ys)) == (min(whole.ys), max(whole.ys))


def test_a_single_spike_among_thousands_survives() -> None:
    values = [0.5] * 20_000
    values[12_345] = 9.0
    few = downsample(curve(steps(values), "loss"), 60)
    assert 9.0 in few.ys
    assert len(few.xs) <= 120


@given(st.lists(numbers, max_size=30))
def test_limits_hold_every_value_and_have_a_height(values: list[float]) -> None:
    line = curve(steps(values), "loss")
    low, high = limits([line])
    assert low < high
    assert all(low <= y <= high for y in line.ys)


def test_rounding_looks_flat() -> None:
    low, high = limits([curve(steps([0.693147, 0.693148, 0.693147]), "loss")])
    assert high - low > 0.01


@given(st.floats(-1e30, 1e30), st.floats(1e-9, 1e30), st.integers(2, 12))
def test_ticks_lie_within_and_are_few(low: float, span: float, most: int) -> None:
    high = low + span
    marks = ticks(low, high, most)
    assert len(marks) <= most
    assert all(low - span * 1e-6 <= mark <= high + span * 1e-6 for mark in marks)
    assert len({len(label) for label in tick_labels(marks)}) <= 1


def test_ticks_are_round() -> None:
    assert tick_labels(ticks(0.19, 0.71, 4)) == ["0.2", "0.4", "0.6"]
    assert tick_labels(ticks(-152.0, -48.0, 3)) == ["−150", "−100", " −50"]
    assert tick_labels(ticks(-0.4, 2.6, 4)) == ["0", "1", "2"]
    assert ticks(1.0, 1.0, 4) == []


def test_the_axis_grows_by_doubling_and_ends_at_the_total() -> None:
    ends = [horizon(step, 600) for step in range(601)]
    assert ends == sorted(ends)
    assert len(set(ends)) <= 8
    assert all(end >= step for step, end in enumerate(ends))
    assert horizon(600, 600) == 600
    assert horizon(5, 8) == 8
    assert horizon(3, 0) == 3


def test_a_curve_can_be_drawn_over_other_axes() -> None:
    events = [
        Step(
            time=0, step=step, epoch=step / 10, metrics={"loss": 0.5}, seconds=step * 30.0, pairs=step * 16,
            pairs_per_second=1.0, tokens_per_second=9.0, memory_bytes=1,
        )
        for step in (1, 2)
    ]  # fmt: skip
    assert [curve(events, "loss", axis).xs for axis in ("steps", "epochs", "pairs", "minutes")] == [
        (1, 2), (0.1, 0.2), (16, 32), (0.5, 1.0)
    ]  # fmt: skip


def test_smoothing_begins_at_the_first_value_and_forgets_slowly() -> None:
    assert smooth(Curve((1, 2, 3), (1.0, 1.0, 1.0), 1.0), 0.9).ys == pytest.approx((1.0, 1.0, 1.0))
    # weights 0.5², 0.5 · 0.5, 0.5 over their sum
    assert smooth(Curve((1, 2), (0.0, 3.0), 3.0), 0.5).ys == pytest.approx((0.0, 2.0))
    assert smooth(Curve((1, 2), (0.0, 3.0), 7.0, 3), 0.0) == Curve((1, 2), (0.0, 3.0), 7.0, 3)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 0.99))
def test_smoothing_stays_within_what_was_seen(values: list[float], weight: float) -> None:
    line = curve(steps(values), "loss")
    smoothed = smooth(line, weight)
    assert all(min(values) - 1e-6 <= y <= max(values) + 1e-6 for y in smoothed.ys)
    assert (smoothed.xs, smoothed.last) == (line.xs, line.last)


@given(st.floats(1e-9, 1e9))
def test_a_growing_axis_ends_at_a_round_number_not_far_ahead(value: float) -> None:
    end = round_up(value)
    assert value <= end * (1 + 1e-9)
    assert end <= value * 1.51
    assert round_up(end) == pytest.approx(end)
