"""Which answers a pair is made of, and the pair that they make."""

from __future__ import annotations

import pytest

from tests.unit.compare.examples import pair_comparison
from workbench.compare.comparison import Answer, Comparison
from workbench.compare.messages import Turn
from workbench.compare.new_pair import candidates, first_choice, new_pair
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message


def test_answers_of_one_text_are_one_and_empty_ones_are_none() -> None:
    answers = (Answer("generated", "a", "Sure."), Answer("generated", "b", "  "), Answer("typed", "c", "Sure."))
    assert [answer.label for answer in candidates(Comparison(answers=answers))] == ["a"]


def test_a_pairs_answers_keep_their_sides() -> None:
    comparison = pair_comparison()
    assert first_choice(comparison, candidates(comparison)) == (1, 0)


def test_chosen_is_what_alignment_made_likelier() -> None:
    comparison = pair_comparison()
    said = [Answer("generated", "x", each.text, each.scored) for each in comparison.answers]
    assert first_choice(comparison, said) == (1, 0)
    assert first_choice(comparison, said[::-1]) == (0, 1)
    unknown = [Answer("generated", "x", "a"), Answer("generated", "y", "b")]
    assert first_choice(comparison, unknown) == (1, 0)
    assert first_choice(comparison, unknown[:1]) == (None, 0)
    assert first_choice(comparison, []) == (None, None)


def test_the_pair_is_of_the_data_sets_kind() -> None:
    turns = [Turn(role="user", content="Why?")]
    pair = new_pair(turns, "a", "b", source="compare")
    assert (pair.prompt, pair.chosen) == ((Message("user", "Why?"),), (Message("assistant", "a"),))
    assert (pair.status, pair.source) == ("new", "compare")
    assert new_pair("Why?", "a", "b", source="").prompt == "Why?"
    assert new_pair("Why?", "a", "b", source="", conversational=True).prompt == (Message("user", "Why?"),)
    assert new_pair(turns, "a", "b", source="", conversational=False).rejected == "b"
    with pytest.raises(WorkbenchError, match="plain text"):
        new_pair([Turn(role="system", content="s"), *turns], "a", "b", source="", conversational=False)
    assert new_pair("q", "a", "b", source="").id != new_pair("q", "a", "b", source="").id
