import math
from dataclasses import replace

import pytest

from tests.unit.evidence.examples import SIGNS, attacks, neutral, pairs
from workbench.evidence.cases import worst
from workbench.evidence.measurements import (
    ANSWERS,
    BOTH,
    HELD_OUT,
    LENGTH_MATCHED,
    OWN,
    Key,
    Paired,
    PairReading,
    ProbeReading,
    Reading,
    changed,
    measure,
    tabulate,
)
from workbench.runs.quantities import preferred


def test_probabilities_and_samples_of_a_kind_and_its_parts() -> None:
    table = tabulate(attacks(), [])
    every = table[Key("attack", "", "compliant", "probability")]
    assert every.before[:2] == pytest.approx([math.exp(-0.8), math.exp(-0.81)])
    assert every.groups[:9] == [f"subject {number % 8}" for number in range(9)]
    assert every.prompts == 48
    direct = table[Key("attack", "direct", "compliant", "samples")]
    assert (direct.prompts, len(direct.after)) == (32, 4 * 32)
    assert direct.before[:4] == [1.0, 1.0, 1.0, 0.0]
    assert {key.part for key in table} == {"", "direct", "injection"}


def test_openings_and_what_the_base_answers() -> None:
    probes = [
        ProbeReading(
            str(number),
            "attack",
            str(number),
            (),
            "?",
            {OWN: Reading(-10.0, -40.0, 20)},
            samples=2,
            openings={"refusing": (math.log(0.1), math.log(0.8))} if number else {},
        )
        for number in range(4)
    ]
    table = tabulate(probes, [])
    opening = table[Key("attack", "", "refusing", "opening")]
    assert opening.prompts == 3
    assert (opening.before, opening.after) == (pytest.approx([0.1] * 3), pytest.approx([0.8] * 3))
    own = {key.measure for key in table if key.response == OWN}
    assert own == {"log-probability", "log-probability a token"}
    change = {each.key: each for each in measure(table)}[Key("attack", "", OWN, "log-probability a token")].change
    assert (change.before.value, change.after.value) == (-0.5, -2.0)


def test_the_drift_of_prompts_without_responses_is_on_what_the_base_answers() -> None:
    probes = [
        ProbeReading(str(number), "neutral", str(number), (), "?", {OWN: Reading(-5.0, -6.0, 10, kl=0.2)}, 2)
        for number in range(5)
    ]
    drift = tabulate(probes, [])[Key("neutral", "", ANSWERS, "kl a token")]
    assert (drift.prompts, drift.weights) == (5, [10.0] * 5)


def test_the_drift_is_per_token_and_only_where_it_was_measured() -> None:
    found = {each.key: each for each in measure(tabulate([*attacks(), *neutral()], []))}
    drift = found[Key("neutral", "", ANSWERS, "kl a token")]
    assert drift.change.after.value == pytest.approx(0.09 / 30)
    assert drift.change.before.value == 0
    assert Key("attack", "", ANSWERS, "kl a token") not in found


def test_accuracy_ranking_and_margin_of_held_out_pairs() -> None:
    found = {each.key: each for each in measure(tabulate([], pairs()))}
    accuracy = found[Key(HELD_OUT, "", BOTH, "accuracy")].change
    assert (accuracy.before.value, accuracy.after.value) == (0.5, 0.9)
    ranking = found[Key(HELD_OUT, "", BOTH, "ranking")].change
    assert (ranking.before.value, ranking.after.value) == (1.0, 0.95)  # five pairs tie after training
    chosen = found[Key(HELD_OUT, "", "chosen", "log-probability")].change
    assert (chosen.before.value, chosen.after.value, chosen.before.groups) == (-3.0, -2.0, 25)
    matched = [
        pair
        for pair in pairs()
        if max(pair.chosen.tokens, pair.rejected.tokens) <= 1.1 * min(pair.chosen.tokens, pair.rejected.tokens)
    ]
    assert 0 < len(matched) < 50
    assert found[Key(HELD_OUT, LENGTH_MATCHED, BOTH, "accuracy")].prompts == len(matched)
    assert found[Key(HELD_OUT, "tone", BOTH, "accuracy")].change.after.value == pytest.approx(0.8)


def test_a_tie_is_half_right() -> None:
    assert [preferred(margin) for margin in (-1.0, 0.0, 2.0)] == [0.0, 0.5, 1.0]


def test_few_or_all_are_no_part() -> None:
    probes = [
        ProbeReading(
            str(number),
            "tone",
            str(number),
            ("all", *(("few",) if number < 3 else ())),
            "?",
            {"rude": Reading(-1.0, -2.0, 3)},
        )
        for number in range(8)
    ]
    assert {key.part for key in tabulate(probes, [])} == {""}


def test_the_worst_regressions_are_what_got_worse_by_most() -> None:
    probes = [
        ProbeReading(
            "a", "attack", "g", (), "?", {"refusing": Reading(-1.0, -3.0, 9), "compliant": Reading(-2.0, -1.5, 9)}
        ),
        ProbeReading("b", "odd", "g", (), "?", {"other": Reading(-1.0, -99.0, 9)}),
    ]
    held = [PairReading("p", "g", (), "?", Reading(-1.0, -2.0, 9), Reading(-5.0, -3.0, 9))]
    found = [(each.id, each.response, each.worse) for each in worst(probes, held, SIGNS)]
    assert found == [("p", BOTH, 3.0), ("a", "refusing", 2.0), ("a", "compliant", 0.5)]
    assert [each.id for each in worst(probes, held, SIGNS, 1)] == ["p"]


def test_four_prompts_are_a_part_and_of_many_tags_the_most_frequent_are_told() -> None:
    probes = [
        ProbeReading(
            str(number), "tone", str(number), [f"tag {tag:02}" for tag in range(30) if number < 34 - tag], "?",
            {"rude": Reading(-1.0, -2.0, 3)},
        )
        for number in range(40)
    ]  # fmt: skip
    assert {key.part for key in tabulate(probes, [])} == {"", *(f"tag {tag:02}" for tag in range(24))}
    four = [replace(probe, tags=["four"] if number < 4 else []) for number, probe in enumerate(probes)]
    assert {key.part for key in tabulate(four, [])} == {"", "four"}


def test_the_margin_is_that_of_the_log_probabilities() -> None:
    held = [PairReading("p", "g", (), "?", Reading(-1.0, -2.0, 9), Reading(-5.0, -3.5, 9))]
    margin = tabulate([], held)[Key(HELD_OUT, "", BOTH, "margin")]
    assert (margin.before, margin.after, margin.prompts) == ([4.0], [1.5], 1)


def test_what_is_counted_has_an_exact_interval_where_all_are_alike_and_what_is_not_has_none() -> None:
    held = [
        PairReading(str(number), str(number), (), "?", Reading(-1.0, -0.5, 9), Reading(-2.0, -3.0, 9))
        for number in range(10)
    ]
    found = {each.key.measure: each.change.after for each in measure(tabulate([], held))}
    assert found["accuracy"].interval == (pytest.approx(0.025 ** (1 / 10)), 1.0)
    always = Paired([0.0] * 10, [1.0] * 10, [str(number) for number in range(10)], 10)
    assert changed(always, "probability").after.interval == (1.0, 1.0)
