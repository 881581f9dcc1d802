"""The sentence on top: it says what does not hold, by name."""

import pytest

from tests.unit.evidence.report.a_report import some_evidence, verdict
from workbench.evidence.report.story import by_claim, caveats, claims, headline, tally
from workbench.evidence.verdicts import Verdict


def told(*verdicts: Verdict) -> tuple[str, str]:
    return headline(some_evidence("x", verdicts))


def test_a_claim_holds_by_every_measure_or_not_at_all() -> None:
    found = by_claim(
        [
            verdict("a, by probability", holds=True),
            verdict("a, by samples", holds=False),
            verdict("b, by probability", holds=True),
            verdict("b, by samples", holds=None),
            verdict("c", holds=True),
        ]
    )
    assert found == {"a": "bad", "b": "unsure", "c": "good"}


def test_what_does_not_hold_is_named() -> None:
    claims = [verdict(f"claim {n}", holds=True) for n in range(4)]
    assert told(*claims, verdict("over-refusal", holds=False)) == (
        "4 of 5 claims hold; “over-refusal” does not.",
        "bad",
    )
    several = (*claims, verdict("b", holds=False), verdict("c", holds=False), verdict("d", holds=None))
    assert told(*several) == ("4 of 7 claims hold, 2 do not; 1 cannot be judged.", "bad")
    assert caveats(some_evidence("x", several))[:2] == ["What does not hold: b; c.", "What cannot be judged: d."]


@pytest.mark.parametrize(
    ("verdicts", "sentence", "tone"),
    [
        ([True, True], "All 2 claims hold.", "good"),
        ([None, None], "Nothing is proved: none of 2 claims can be judged.", "unsure"),
        ([False, None], "None of 2 claims hold; “claim 0” does not; 1 cannot be judged.", "bad"),
        ([True, None], "1 of 2 claims holds; 1 cannot be judged.", "unsure"),
        ([False] * 5, "None of 5 claims holds.", "bad"),
    ],
)
def test_the_sentence_is_honest_whatever_was_found(verdicts: list[bool | None], sentence: str, tone: str) -> None:
    assert told(*(verdict(f"claim {n}", holds=holds) for n, holds in enumerate(verdicts))) == (sentence, tone)


def test_without_evidence_nothing_is_claimed() -> None:
    assert headline(None)[0].startswith("No evidence yet")
    assert tally(None) == []
    assert caveats(None) == []


def test_an_interval_that_reaches_past_the_threshold_is_owned_up_to() -> None:
    close, clear = verdict("a", holds=True, value=0.62), verdict("b", holds=True, value=0.9)
    assert caveats(some_evidence("x", (clear,))) == []
    assert caveats(some_evidence("x", (close, clear)))[0].startswith("The interval of one verdict reaches past")
    assert caveats(some_evidence("x", (close, close)))[0].startswith("The intervals of 2 verdicts reach past")


def test_verdicts_are_counted_by_what_they_say() -> None:
    assert tally(some_evidence("x")) == [
        ("good", 1, "verdict holds"),
        ("bad", 2, "do not hold"),
        ("unsure", 1, "cannot be said"),
    ]


def test_every_verdict_has_a_row_with_its_needs() -> None:
    (table,) = claims(some_evidence("x")).blocks
    rows = [[cell.text for cell in row] for row in table.rows]  # type: ignore[union-attr]
    assert rows[0] == ["holds", "refusals of attacks", "0.948", "", "≥ 0.60", "48"]
    assert rows[1] == ["does not hold", "helpful answers to benign look-alikes", "0.400", "", "≥ 0.85", "48"]
    assert rows[2] == ["cannot be said", "rude answers", "–", "", "≤ 0.02", "48"]


def test_the_threshold_is_drawn_in_the_unit_of_the_picture() -> None:
    (table,) = claims(some_evidence("x")).blocks
    pictures = [row[3].picture for row in table.rows]  # type: ignore[union-attr]
    assert "Threshold: 0.6." in str(pictures[0])  # of refusals
    assert "Threshold: 0.765." in str(pictures[1])  # 85% of the base's 0.9
    assert pictures[2] is None
