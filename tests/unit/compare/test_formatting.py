from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.compare import formatting


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
    assert formatting.probability(math.log(chance)) == told


def test_probabilities_at_the_ends() -> None:
    assert formatting.probability(-math.inf) == "0"
    assert formatting.probability(math.nan) == "NaN"
    assert formatting.probability(-2500.0) == "2×10⁻¹⁰⁸⁶"
    assert formatting.odds_on(1.0) == ">0.999"
    assert formatting.odds_on(0.0) == "<0.001"
    assert formatting.odds_on(0.223) == "0.22"


@given(st.floats(-3000, 0))
def test_a_probability_tells_the_right_size(logprob: float) -> None:
    told = formatting.probability(logprob)
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


def test_changes() -> None:
    assert formatting.signed(4.44) == "+4.4"
    assert formatting.signed(-123.4) == "−123"
    assert formatting.signed(0.01) == "0.0"
    assert (formatting.direction(1.0), formatting.direction(-1.0), formatting.direction(0.01)) == ("▲", "▼", " ")
    assert formatting.times(math.log(3.2)) == "3.2 times likelier"
    assert formatting.times(-math.log(20_400)) == "20,000 times less likely"
    assert formatting.times(-60.0) == "10²⁶ times less likely"
    assert formatting.times(0.0) == "as likely as before"
    assert formatting.nats(-0.651) == "−0.65"
    assert formatting.nats(-0.001) == "0.00"
    assert formatting.nats(-1204.2) == "−1,204"


@pytest.mark.parametrize(
    ("chance", "bar"),
    [(0.0, "▏   "), (0.5, "██  "), (1.0, "████"), (0.53125, "██▏ "), (0.71875, "██▉ "), (7.0, "████")],
)
def test_bars_are_exact_to_an_eighth_of_a_cell(chance: float, bar: str) -> None:
    assert formatting.bar(chance, 4) == bar
