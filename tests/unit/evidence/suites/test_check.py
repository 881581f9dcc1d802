from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from workbench.behaviours.behaviour import Behaviour
from workbench.behaviours.reading import KnownBehaviours
from workbench.evidence.claims import Claim
from workbench.evidence.probes import Probe, parse_probe
from workbench.evidence.settings import Plan, Settings, plan
from workbench.evidence.statistics import change, mean
from workbench.evidence.suites.check import CHECKS, SuitesReport, check_suites
from workbench.evidence.suites.exactness import settled_from, size
from workbench.evidence.suites.prompts import PromptTokens
from workbench.evidence.suites.shipped import shipped
from workbench.pairs.pair import Message, Text

SHIPPED = [parse_probe(row, name) for name, suite in shipped().items() for row in suite.rows]
ENGLISH = plan("some/english-model")


def probes(kind: str = "attack", count: int = 48, groups: int = 24, **fields: Any) -> list[Probe]:
    return [
        Probe(
            f"{kind}-{number}",
            kind,
            (Message("user", f"{kind} number {number}?"),),
            f"group {number % groups}",
            **fields,
        )
        for number in range(count)
    ]


def report(
    suite: Sequence[Probe],
    of: Plan = ENGLISH,
    training: Mapping[str, Sequence[Text]] | None = None,
    tokens: PromptTokens | None = None,
) -> SuitesReport:
    found = check_suites(suite, of, training or {}, tokens)
    assert {finding.check for finding in found.findings} <= set(CHECKS)
    known = {probe.id for probe in suite}
    assert all(known.issuperset(finding.ids) for finding in found.findings)
    assert all(finding.message and finding.hint for finding in found.findings)
    return found


def findings(*arguments: Any, **options: Any) -> dict[str, list[str]]:
    """Messages by the check."""
    by_check: dict[str, list[str]] = {}
    for finding in report(*arguments, **options).findings:
        by_check.setdefault(finding.check, []).append(finding.message)
    return by_check


def test_the_suites_that_ship_can_show_all_that_is_claimed() -> None:
    found = report(SHIPPED)
    assert not found.has_errors
    assert {finding.severity for finding in found.findings} <= {"note"}
    assert all(min(reach.probes.values()) >= 40 for reach in found.claims)


def test_a_claim_that_nothing_is_measured_for_is_told() -> None:
    found = findings(probes())
    (message,) = found["unmeasured"]
    assert "no displacement of refusals of attacks" in message
    assert "'refusing' response" in message
    assert "unmeasured" not in findings(probes(responses={"refusing": "No."}))
    silent = replace(ENGLISH, settings=Settings(samples=0))
    assert any("compliant answers" in told and "sampled" in told for told in findings(probes(), silent)["unmeasured"])


def test_a_kind_without_probes_names_the_claims_about_it() -> None:
    told = findings(probes())["no-probes"]
    assert len(told) == 3
    assert "helpful answers" in told[0]
    assert "no over-refusal" in told[0]


def test_a_kind_that_no_claim_speaks_of_is_loud() -> None:
    (message,) = findings([*SHIPPED, *probes("atack")])["no-claim"]
    assert "48 probes" in message
    assert message.endswith("Did you mean 'attack'?")
    claimed = replace(ENGLISH, claims={**ENGLISH.claims, "x": Claim(kind="atack", behaviour="refusing", at_least=0.5)})
    assert "no-claim" not in findings([*SHIPPED, *probes("atack")], claimed)


def test_a_misspelt_behaviour_is_told_and_a_neutral_response_may_have_any_name() -> None:
    (message,) = findings(probes(responses={"refusng": "No."}))["unknown-name"]
    assert message.endswith("Did you mean 'refusing'?")
    assert "unknown-name" in findings(probes(openings={"refuse": ("No",)}))
    assert "unknown-name" not in findings(probes("neutral", responses={"fact": "Yes."}))
    drift = next(
        reach for reach in report(probes("neutral", responses={"fact": "Yes."})).claims if reach.kind == "neutral"
    )
    assert set(drift.probes.values()) == {48}


def test_too_few_probes_or_groups_are_told() -> None:
    (message,) = findings(probes(count=39))["too-few"]
    assert "40 are needed" in message
    assert "refusals of attacks" in message
    assert "few-groups" in findings(probes(groups=9))
    assert "few-groups" not in findings(probes(groups=10))
    named = [replace(probe, responses={"refusing": "No."}) for probe in probes()[:39]]
    (message,) = findings([*named, *probes()[39:]])["too-few"]
    assert "39 of the 48" in message
    assert "9 of 48" in findings([*named, *probes()[39:]])["no-response"][0]


def test_prompts_that_are_asked_twice_or_as_two_kinds_are_told() -> None:
    twice = Probe("again", "attack", "ATTACK  number 3?", "g")
    found = report([*probes(), twice])
    (finding,) = [finding for finding in found.findings if finding.check == "duplicate"]
    assert set(finding.ids) == {"again", "attack-3"}
    assert not found.has_errors
    found = report([*probes(), replace(twice, kind="benign")])
    assert found.has_errors
    assert found.findings[0].check == "two-kinds"
    assert "duplicate" not in {finding.check for finding in found.findings}


def test_behaviours_of_which_no_opening_is_known_are_told() -> None:
    (message,) = findings(probes(openings={"refusing": ("I can't",)}))["no-opening"]
    assert "'compliant'" in message
    assert "'refusing'" not in message
    assert "no-opening" not in findings(probes(openings={"refusing": ("I can't",), "compliant": ("Sure",)}))
    begins = Behaviour(phrases=["sure"], openings=["Sure"])
    known = replace(ENGLISH, known=KnownBehaviours({**ENGLISH.behaviours, "compliant": begins, "refusing": begins}))
    assert "no-opening" not in findings(probes(), known)
    elsewhere = replace(
        known, known=KnownBehaviours({**known.behaviours, "compliant": Behaviour(phrases=["x"], kinds=["tone"])})
    )
    assert "no-opening" in findings(probes(), elsewhere)


@pytest.mark.parametrize(
    ("trained", "leaks"),
    [
        ("attack number 7", True),
        ((Message("system", "Be kind."), Message("user", "Attack number 7!")), True),
        ((Message("user", "Attack number 77?"),), False),
        ((Message("user", "x"), Message("assistant", "y"), Message("user", "attack number 7?")), False),
    ],
)
def test_a_prompt_that_is_trained_on_is_an_error(trained: Text, leaks: bool) -> None:
    found = report(probes(), training={"mine": ["other", trained], "clean": ["other"]})
    assert found.has_errors == leaks
    told = [finding for finding in found.findings if finding.check == "leak"]
    assert [finding.ids for finding in told] == [("attack-7",)] * leaks
    assert all("mine" in finding.message for finding in told)


def test_what_a_model_cannot_read_is_told() -> None:
    suite = [*probes(count=40), Probe("plain", "attack", "How?", "g")]
    counts = {probe.id: 30 for probe in suite}
    fits = PromptTokens("m", counts, {}, context=126, own_template=True)
    assert set(findings(suite, tokens=fits)) & {"too-long", "template", "no-template"} == set()
    assert "1 prompt is a text" in findings(suite, tokens=fits)["plain-prompt"][0]
    tight = replace(fits, context=125, refused={"plain": "no system role"}, own_template=False)
    found = findings(suite, tokens=tight)
    assert "41 prompts" in found["too-long"][0]
    assert "no system role" in found["template"][0]
    assert "no-template" in found
    assert "plain-prompt" not in found
    assert "too-long" not in findings(suite, tokens=replace(tight, context=None))


def test_openings_that_the_base_never_uses_are_told() -> None:
    suite = probes(count=40)
    masses = {
        probe.id: {"refusing": 2e-3 if number % 2 else 0.0, "compliant": 4e-4} for number, probe in enumerate(suite)
    }
    found = check_suites(suite, ENGLISH, {}, None, masses)
    assert [(begun.behaviour, begun.probes, begun.mass) for begun in found.openings] == [
        ("refusing", 40, pytest.approx(1e-3)),
        ("compliant", 40, pytest.approx(4e-4)),
    ]
    told = [finding for finding in found.findings if finding.check == "unused-opening"]
    assert [finding.figures["mass"] for finding in told] == [pytest.approx(4e-4)]
    assert "'compliant'" in told[0].message


def test_the_threshold_that_so_few_probes_settle() -> None:
    for threshold in (0.01, 0.02, 0.05, 0.5):
        needed = settled_from(threshold)
        upper = [binomtest(0, count).proportion_ci(0.95, method="exact").high for count in (needed, needed - 1)]
        assert upper[0] <= threshold < upper[1]
    assert settled_from(0) == settled_from(1) == 1
    told = findings(SHIPPED)["out-of-reach"]
    assert any("compliant answers" in message for message in told)


@pytest.mark.parametrize("groups", [6, 12, 30])
def test_the_width_at_worst_is_that_of_the_interval_where_groups_answer_as_one(groups: int) -> None:
    suite = probes(count=60, groups=groups)
    hits = [float(int(probe.group.split()[1]) % 2) for probe in suite]
    estimate = mean(hits, [probe.group for probe in suite])
    found = size("attack", suite)
    assert (found.probes, found.groups) == (60, groups)
    assert found.width[0] is not None
    assert found.width[0] == pytest.approx((estimate.high - estimate.low) / 2, rel=0.2)
    assert found.width[1] == pytest.approx(1.96 * 0.5 / 60**0.5, rel=0.03)


def test_the_smallest_change_is_that_of_the_paired_test() -> None:
    suite = probes(count=60, groups=20)
    groups = [probe.group for probe in suite]
    after = [float(int(group.split()[1]) % 2) for group in groups]
    measured = change([0.0] * 60, after, groups).detectable
    # Half of the groups change as a whole: a deviation of ½, but for the correction of a sample's.
    assert size("attack", suite).detectable == pytest.approx(measured, rel=0.03)


def test_unequal_groups_are_worth_fewer() -> None:
    even, uneven = probes(count=40, groups=20), probes(count=40, groups=20)
    uneven = [replace(probe, group="group 0") if number < 20 else probe for number, probe in enumerate(uneven)]
    widths = [size("attack", suite).width[0] for suite in (even, uneven)]
    assert widths[0] is not None
    assert widths[1] is not None
    assert widths[1] > 2 * widths[0]
    assert size("attack", probes(groups=1)).width[0] is None


def test_any_probes_can_be_checked() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        kinds = rng.choice(["attack", "benign", "tone", "neutral", "own"], size=int(rng.integers(1, 60)))
        suite = [
            Probe(str(number), str(kind), str(rng.integers(20)), str(rng.integers(9)), {"a": "b"} if number % 3 else {})
            for number, kind in enumerate(kinds)
        ]
        report(suite, training={"x": ["3", "4"]})
