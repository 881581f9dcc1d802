"""The search line finds what it says, and says what it cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.strategies import any_pairs
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair
from workbench.pairs.query import matches, parse, select

PAIRS = [
    Pair("1", "Why was my card declined?", "I'm sorry.", "Not our problem.", status="accepted", tags=("Tone",)),
    Pair("2", "Turn on the alarm: how?", "Press the button.", "No.", split="holdout", source="ours/alarm.csv"),
    Pair("3", "Straße http://x.org 10:30", "ja", "nein", status="flagged", note="check the price"),
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [0, 1, 2]),
        ("  ", [0, 1, 2]),
        ("CARD sorry", [0]),
        ("card alarm", []),
        ('"the alarm"', [1]),
        ('"alarm the"', []),
        ('"alarm: how', [1]),
        ("strasse", [2]),
        ("price", [2]),
        ("http://x.org", [2]),
        ("10:30", [2]),
        ("status:accepted", [0]),
        ("status:acc", [0]),
        ("Status:New", [1]),
        ("status:", [0, 1, 2]),
        ("split:holdout", [1]),
        ("split:none", [0, 2]),
        ("tag:tone", [0]),
        ('tag:"tone"', [0]),
        ("source:alarm", [1]),
        ("split:none status:flagged nein", [2]),
    ],
)
def test_queries(query: str, found: list[int]) -> None:
    assert select(PAIRS, query) == found
    assert [number for number, pair in enumerate(PAIRS) if matches(pair, parse(query))] == found


@pytest.mark.parametrize(
    ("query", "meant"), [("stauts:new", "'status'"), ("status:acepted", "'accepted'"), ("x:y", "tag")]
)
def test_what_does_not_exist_is_told_with_the_nearest(query: str, meant: str) -> None:
    with pytest.raises(WorkbenchError, match=meant):
        parse(query)


def test_turns_are_searched_too() -> None:
    pair = Pair("1", (Message("user", "Hello there"),), (Message("assistant", "a"),), (Message("assistant", "b"),))
    assert matches(pair, "there b")


@given(any_pairs, st.text(max_size=20))
def test_any_text_is_a_query_or_is_refused(pair: Pair, query: str) -> None:
    try:
        parsed = parse(query)
    except WorkbenchError:
        return
    assert matches(pair, parsed) in (True, False)
