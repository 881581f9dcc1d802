from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import figures


@pytest.mark.parametrize(
    ("chance", "told"),
    [
        (1.0, "1"),
        (0.99999, ">0.999"),
        (0.9961, "0.996"),
        (0.412, "0.41"),
        (0.0521, "0.052"),
        (0.0043, "0.004"),
        (0.0000213, "0.00002"),
        (0.00000213, "0.000002"),
        (4.2e-12, "4×10⁻¹²"),
    ],
)
def test_probability(chance: float, told: str) -> None:
    assert figures.probability(math.log(chance)) == told


def test_probabilities_at_the_ends() -> None:
    assert figures.probability(-math.inf) == "0"
    assert figures.probability(math.nan) == "NaN"
    assert figures.probability(-2500.0) == "2×10⁻¹⁰⁸⁶"
    assert figures.odds_on(1.0) == ">0.999"
    assert figures.odds_on(0.0) == "<0.001"
    assert figures.odds_on(0.223) == "0.22"


@given(st.floats(-3000, 0))
def test_a_probability_tells_the_right_size(logprob: float) -> None:
    told = figures.probability(logprob)
    if told in ("1", ">0.999"):
        assert logprob > -0.001
        return
    if "10" in told and not told.startswith("0."):
        leading, power = told.split("×") if "×" in told else ("1", told)
        digits = power.removeprefix("10").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        value = math.log(float(leading)) + int(digits) * math.log(10)
    else:
        value = math.log(float(told))
    assert value == pytest.approx(logprob, abs=math.log(1.5))


def test_what_is_only_rounding_is_no_difference() -> None:
    assert figures.difference(-1.2e-7) == "0"
    assert figures.difference(1.2e-5) == "1.2e−5"
    assert figures.difference(math.nan) == "NaN"


def test_changes() -> None:
    assert figures.nats_change(4.44) == "+4.4"
    assert figures.nats_change(-123.4) == "−123"
    assert figures.nats_change(0.01) == "0.0"
    assert (figures.direction(1.0), figures.direction(-1.0), figures.direction(0.01)) == ("▲", "▼", " ")
    assert figures.times(math.log(3.2)) == "3.2 times likelier"
    assert figures.times(-math.log(20_400)) == "20,000 times less likely"
    assert figures.times(-60.0) == "10²⁶ times less likely"
    assert figures.times(0.0) == "as likely as before"
    assert figures.nats(-0.651) == "−0.65"
    assert figures.nats(-0.001) == "0.00"
    assert figures.nats(-1204.2) == "−1,204"


@pytest.mark.parametrize(
    ("chance", "bar"),
    [(0.0, "▏   "), (0.5, "██  "), (1.0, "████"), (0.53125, "██▏ "), (0.71875, "██▉ "), (7.0, "████")],
)
def test_bars_are_exact_to_an_eighth_of_a_cell(chance: float, bar: str) -> None:
    assert figures.share_bar(chance, 4) == bar


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.0, "0"), (-0.5, "−0.5"), (1 / 3, "0.3333"), (58.0, "58"), (12345.0, "12,345"), (1e-7, "1e−07"),
     (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "not a number")],
)  # fmt: skip
def test_numbers_have_the_digits_that_matter(value: float, told: str) -> None:
    assert figures.number(value) == told


def test_a_small_probability_does_not_read_as_none() -> None:
    assert figures.decimal(0.0) == "0.000"
    assert figures.decimal(-0.0) == "0.000"
    assert figures.decimal(1e-9) == "< 0.001"
    assert figures.decimal(-1e-9) == "> −0.001"
    assert figures.decimal(0.0005) == "0.001"
    assert figures.decimal(-1.2345, 2) == "−1.23"


def test_a_change_has_its_sign() -> None:
    assert figures.signed(2.3026) == "+2.30"
    assert figures.signed(-0.5, 1) == "−0.5"
    assert figures.signed(0.001) == figures.signed(-0.001) == "±0"


def test_an_interval_may_have_no_bound() -> None:
    assert figures.interval(0.1, 0.2) == "[0.100, 0.200]"
    assert figures.interval(None, None) == "[−∞, ∞]"


def test_sizes_and_durations() -> None:
    assert [figures.size(count) for count in (812 * 2**20, int(21.4 * 2**30))] == ["812 MiB", "21.4 GiB"]
    assert [figures.duration(seconds) for seconds in (41.4, 200, 725, 7500)] == [
        "41 s",
        "3 min 20 s",
        "12 min",
        "2 h 05 min",
    ]


def test_one_and_many() -> None:
    assert [figures.plural(number, "pair") for number in (0, 1, 1234)] == ["0 pairs", "1 pair", "1,234 pairs"]
    assert [figures.plural(number, "pair has", "pairs have") for number in (1, 2)] == ["1 pair has", "2 pairs have"]
