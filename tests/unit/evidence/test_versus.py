from dataclasses import replace

import pytest

from tests.unit.evidence.examples import attacks, evidence, neutral, pairs
from workbench.errors import WorkbenchError
from workbench.evidence.measurements import BOTH, HELD_OUT
from workbench.evidence.versus import versus


def test_the_better_run_is_told_with_its_lead() -> None:
    good = replace(evidence(attacks(refusing=-0.1, sampled=False)), run="good")
    poor = replace(evidence(attacks(refusing=-1.0, sampled=False)), run="poor")
    one, other = versus(good, poor), versus(poor, good)
    assert one.better == other.better == "good"
    lead = one.scores[0].change.difference
    assert lead.value == pytest.approx(-other.scores[0].change.difference.value)
    assert 0.4 < lead.low <= lead.value <= lead.high < 0.6
    assert [(score.kind, score.part) for score in one.scores] == [
        ("all", ""),
        ("attack", ""),
        ("attack", "direct"),
        ("attack", "injection"),
    ]
    assert one.left_out == 0


def test_one_probe_in_common_makes_no_run_the_better() -> None:
    good = replace(evidence(attacks(refusing=-0.1, sampled=False)[:1]), run="good")
    poor = replace(evidence(attacks(refusing=-1.0, sampled=False)[:1]), run="poor")
    found = versus(good, poor)
    assert found.scores[0].change.difference.value > 0
    assert not found.scores[0].change.difference.has_interval
    assert found.better is None


def test_a_run_beside_itself_is_no_better() -> None:
    found = versus(evidence(), evidence())
    assert found.better is None
    for row in (found.scores, found.measurements):
        assert all(each.change.difference.value == 0 for each in row)
    assert all(each.change.p_value == 1 for each in found.measurements)


def test_each_quantity_is_paired_by_what_both_were_measured_on() -> None:
    ours = evidence(attacks()[8:], pairs(40))
    theirs = evidence([*attacks()[::-1], *neutral()], pairs(50))
    found = versus(ours, theirs)
    assert found.left_out == 8 + 3 + 10
    assert found.scores[0].prompts == 40
    assert found.scores[0].change.difference.value == pytest.approx(0)
    margin = next(
        each
        for each in found.measurements
        if (each.kind, each.response, each.measure, each.part) == (HELD_OUT, BOTH, "margin", "")
    )
    assert (margin.prompts, margin.change.difference.value) == (40, 0)


def test_other_texts_under_the_same_id_are_not_compared() -> None:
    other = [replace(probe, prompt="Another?") for probe in attacks()]
    with pytest.raises(WorkbenchError, match="no probe in common"):
        versus(evidence(), evidence(other))
