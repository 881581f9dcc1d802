"""The figures of length bias, by hand; the bias that was planted, and its repair."""

from __future__ import annotations

import pytest

from tests.unit.pairs.checks.build import found, talk
from workbench.pairs.checks.length import ResponseLengths, figures
from workbench.pairs.checks.repairs import repair_for
from workbench.pairs.checks.run import run_checks
from workbench.pairs.pair import Pair


def _pairs(longer: int, shorter: int) -> list[Pair]:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    made = []
    for number in range(longer + shorter):
        tail = " ".join(words[(number * 3 + place) % 10] for place in range(2 + number % 5))
        sides = (f"{number} alpha {tail} and so much more of the same {tail}", f"{number * 7} omega")
        sides = sides if number < longer else sides[::-1]
        made.append(talk(f"p{number}", f"Topic {number * number}: what of {tail}?", *sides))
    return made


def test_figures_by_hand() -> None:
    got = figures(ResponseLengths("words", [10, 4, 6, 5], [5, 8, 6, 4]))
    assert (got["longer_chosen"], got["longer_rejected"], got["same_length"]) == (2, 1, 1)
    assert got["mean_difference"] == pytest.approx(0.5)
    assert got["longer_wins"] == pytest.approx(2.5 / 4)
    # Differences 5, -4, 0, 1: deviation sqrt(((4.5² + 4.5² + 0.5² + 0.5²) / 3)) = 3.697.
    assert got["effect"] == pytest.approx(0.5 / 3.6968, rel=1e-3)
    low, high = got["longer_wins_interval"]
    assert 0 < low < got["longer_wins"] < high < 1
    bars = {bar["bar"]: bar["pairs"] for bar in got["histogram"]}
    assert sum(bars.values()) == 4
    assert (bars["chosen 2× longer"], bars["rejected 2× longer"], bars["chosen 1.1× longer"]) == (1, 1, 1)


def test_bias_is_found_either_way_and_balance_is_not() -> None:
    longer = found(run_checks(_pairs(90, 30)))["length-bias"]
    assert longer.severity == "warning"
    assert longer.count == 90
    assert '"The longer wins" alone would be right in 75.0%' in longer.message
    assert longer.figures["longer_wins"] == pytest.approx(0.75)
    assert '"The shorter wins"' in found(run_checks(_pairs(30, 90)))["length-bias"].message
    assert "length-bias" not in found(run_checks(_pairs(60, 60)))
    assert "length-bias" not in found(run_checks(_pairs(6, 0)))


def test_balancing_drops_no_more_than_the_surplus() -> None:
    pairs = _pairs(90, 30)
    repair = repair_for(found(run_checks(pairs))["length-bias"])
    assert repair is not None
    after = {pair.id: pair for pair in pairs} | {pair.id: pair for pair in repair.edits(pairs)}
    report = run_checks(after.values())
    assert "length-bias" not in found(report)
    assert report.lengths["longer_wins"] == 0.5
    assert report.checked >= 40
    assert repair_for(found(run_checks(pairs))["length-bias"]).ids == repair.ids  # type: ignore[union-attr]
