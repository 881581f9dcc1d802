import math

import pytest

from workbench.evidence.report.figures import decimal, duration, interval, number, signed, size


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.0, "0"), (-0.5, "−0.5"), (1 / 3, "0.3333"), (58.0, "58"), (12345.0, "12,345"), (1e-7, "1e−07"),
     (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "not a number")],
)  # fmt: skip
def test_numbers_have_the_digits_that_matter(value: float, told: str) -> None:
    assert number(value) == told


def test_a_small_probability_does_not_read_as_none() -> None:
    assert decimal(0.0) == "0.000"
    assert decimal(-0.0) == "0.000"
    assert decimal(1e-9) == "< 0.001"
    assert decimal(0.0005) == "0.001"
    assert decimal(-1.2345, 2) == "−1.23"


def test_a_change_has_its_sign() -> None:
    assert signed(2.3026) == "+2.30"
    assert signed(-0.5, 1) == "−0.5"
    assert signed(0.001) == signed(-0.001) == "±0"


def test_an_interval_may_have_no_bound() -> None:
    assert interval(0.1, 0.2) == "[0.100, 0.200]"
    assert interval(None, None) == "[−∞, ∞]"


def test_sizes_and_durations() -> None:
    assert [size(each) for each in (2_000, 961_100_000, 1.5e9)] == ["2 kB", "961.10 MB", "1.50 GB"]
    assert [duration(each) for each in (41.4, 200, 7500)] == ["41 s", "3 min 20 s", "2 h 5 min"]
