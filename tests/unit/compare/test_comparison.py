from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.unit.compare.examples import CHOSEN, REJECTED, RUN, SYSTEM, column, pair_comparison
from workbench.compare.comparison import BASE, Comparison
from workbench.compare.messages import Generated, Generation, Piece, Turn
from workbench.compare.places import visible
from workbench.compare.prompt_parts import kept_turns, texts_of, with_texts
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair


def _generated(*texts: str) -> Generated:
    names = ["base", RUN.name, SYSTEM.name]
    columns = [Generation(name=name, text=text, tokens=3, ended=True) for name, text in zip(names, texts, strict=False)]
    return Generated(id=1, columns=columns)


def test_the_first_place_shows_the_next_token_exactly() -> None:
    rows = pair_comparison().rows
    assert [row.text for row in rows[:3]] == ["I", "Sure", "Easy"]
    assert [row.said for row in rows[:3]] == [False, True, False]
    assert rows[0].change == pytest.approx(math.log(0.93 / 0.07) - math.log(0.14 / 0.86))
    assert all(row.aligned is not None and row.aligned.exact for row in rows)


def test_a_later_place_joins_what_both_columns_would_say() -> None:
    comparison = pair_comparison().with_place(3)
    rows = comparison.rows
    assert rows[0].text == REJECTED[3]
    assert rows[0].said
    assert {row.text for row in rows} >= {" Sure", " nobody", " wait"}
    assert rows[0].change is not None
    assert rows[0].change < 0


def test_a_token_that_one_column_does_not_list_is_bounded() -> None:
    comparison = pair_comparison().with_place(1)
    base, aligned = comparison.scores()
    assert base is not None
    assert aligned is not None
    thin = [token.model_copy(update={"top": token.top[:1]}) for token in aligned.tokens]
    scores = comparison.answers[0].scored
    assert scores is not None
    scored = scores.model_copy(update={"columns": [base, aligned.model_copy(update={"tokens": thin})]})
    rows = {row.text: row for row in comparison.with_scores(comparison.answers[0].text, scored).rows}
    unlisted = rows[" Sure"].aligned
    assert unlisted is not None
    assert not unlisted.exact
    assert unlisted.logprob == thin[1].top[0][1]
    assert rows[" Sure"].change is None


def test_a_short_list_keeps_the_said_token_and_drops_the_hopeless() -> None:
    rows = pair_comparison().rows
    rare = [replace(row, said=row.text == "Not") for row in rows]
    assert [row.text for row in visible(rare, 3)] == ["I", "Sure", "Not"]
    assert len(visible(rows, 100)) == len(rows)
    slim = [replace(row, base=replace(row.base, logprob=-30.0), aligned=None) for row in rows]
    assert len(visible(slim, 100)) == 3


def test_walking_stops_at_both_ends() -> None:
    comparison = pair_comparison()
    assert comparison.with_place(-5).place == 0
    assert comparison.with_place(1000).place == len(REJECTED) - 1
    assert Comparison().with_place(4).place == 0


def test_preference_of_a_pair() -> None:
    preference = pair_comparison().preference
    assert preference is not None
    rejected, chosen = pair_comparison().answers
    assert rejected.scored is not None
    assert chosen.scored is not None
    before, after = (chosen.scored.columns[i].sum - rejected.scored.columns[i].sum for i in (0, 1))
    assert preference.base == pytest.approx(1 / (1 + math.exp(-before)))
    assert preference.aligned == pytest.approx(1 / (1 + math.exp(-after)))
    assert preference.implicit == pytest.approx(1 / (1 + math.exp(-0.1 * (after - before))))


def test_no_dpo_preference_for_a_prompt_or_for_the_base_alone() -> None:
    comparison = pair_comparison()
    prompted = RUN.model_copy(update={"adapter": None, "system": "Be kind."})
    preference = replace(comparison, columns=(BASE, prompted)).preference
    assert preference is not None
    assert preference.implicit is None
    alone = replace(comparison, columns=(BASE,), current=0).preference
    assert alone is not None
    assert alone.aligned is None


def test_a_new_column_leaves_the_answers_unscored_until_asked() -> None:
    comparison = pair_comparison()
    assert comparison.unscored() == []
    wider = comparison.with_columns((*comparison.columns, SYSTEM), 2)
    assert wider.unscored() == list(wider.answers)
    assert wider.rows == []
    assert replace(wider, current=1).rows == comparison.rows


def test_a_new_prompt_forgets_what_was_said_and_all_scores() -> None:
    comparison = pair_comparison().with_generated(_generated("Sure.", "No."))
    fresh = comparison.with_prompt([Turn(role="user", content="Hello")])
    assert [answer.label for answer in fresh.answers] == ["rejected", "chosen"]
    assert all(answer.scored is None for answer in fresh.answers)
    assert fresh.answer is None
    assert fresh.said == ()
    assert fresh.with_generated(_generated("Hi.", "Hello.")).shown[0].label == "base's answer"


def test_another_model_forgets_all_numbers_but_not_the_question() -> None:
    fresh = pair_comparison().with_next_answer().with_place(4).with_generated(_generated("Sure.", "No.")).forgotten()
    assert fresh.prompt == pair_comparison().prompt
    assert [answer.label for answer in fresh.unscored()] == ["rejected", "chosen"]
    assert (fresh.active, fresh.place, fresh.rows, fresh.said) == (1, 0, [], ())
    spoken = Comparison(columns=(BASE, RUN), current=1).with_generated(_generated("Sure.", "No."))
    assert spoken.forgotten().answer is None


def test_what_columns_say_leads_only_where_nothing_was_given() -> None:
    alone = Comparison(columns=(BASE, RUN), current=1).with_generated(_generated("Sure.", "No."))
    assert [answer.label for answer in alone.shown] == ["base's answer", "support-dpo-3's answer"]
    pair = pair_comparison().with_generated(_generated("Sure.", "No."))
    assert [answer.label for answer in pair.shown] == ["rejected", "chosen"]
    assert pair.with_next_answer().with_next_answer().shown == alone.shown
    again = pair.with_generated(_generated("Yes.", "Never."))
    assert [answer.text for answer in again.answers[2:]] == ["Yes.", "Never."]


def test_equal_answers_are_one() -> None:
    both = Comparison(columns=(BASE, RUN), current=1).with_generated(_generated("Sure.", "Sure."))
    assert [answer.label for answer in both.answers] == ["everyone's answer"]
    three = Comparison(columns=(BASE, RUN, SYSTEM), current=1).with_generated(_generated("Sure.", "No.", "Sure."))
    assert [answer.label for answer in three.answers] == ["base and base + system's answer", "support-dpo-3's answer"]


def test_pieces_add_up() -> None:
    comparison = Comparison(columns=(BASE, RUN), current=1).listening()
    pieces = [Piece(id=1, column=0, text="Su"), Piece(id=1, column=1, text="No"), Piece(id=1, column=0, text="re")]
    said = comparison.with_pieces(pieces).said
    assert [(each.text, each.done) for each in said] == [("Sure", False), ("No", False)]


def test_a_pair_brings_its_prompt_and_two_answers() -> None:
    pair = Pair(
        "p1",
        (Message("system", "Be kind."), Message("user", "Why?")),
        (Message("assistant", "Sorry."),),
        (Message("assistant", "So what."),),
    )
    comparison = Comparison().with_typed("x").with_pair(pair)
    assert comparison.prompt == [Turn(role="system", content="Be kind."), Turn(role="user", content="Why?")]
    assert [(answer.label, answer.text) for answer in comparison.answers] == [
        ("rejected", "So what."),
        ("chosen", "Sorry."),
    ]
    assert comparison.answer == comparison.answers[0]
    assert Comparison().with_pair(Pair("p2", "Why?", "Sorry.", "So what.")).prompt == "Why?"


def test_columns_over_different_tokens_are_refused() -> None:
    comparison = pair_comparison()
    text, scored = comparison.answers[0].text, comparison.answers[0].scored
    assert scored is not None
    other = column(RUN.name, CHOSEN, [-0.1] * len(CHOSEN), [1] * len(CHOSEN))
    with pytest.raises(WorkbenchError, match="differently"):
        comparison.with_scores(text, scored.model_copy(update={"columns": [scored.columns[0], other]}))


def test_the_editable_texts_of_a_prompt_go_back_where_they_came_from() -> None:
    turns = [Turn(role=role, content=role) for role in ("system", "user", "assistant", "user")]
    assert texts_of(turns) == [("system (optional)", "system"), ("user", "user")]
    assert kept_turns(turns) == 2
    assert with_texts(turns, ["system", "user"]) == turns
    assert with_texts(turns, [" ", "Why?"]) == [*turns[1:3], Turn(role="user", content="Why?")]
    assert with_texts(turns[1:2], ["Be kind.", "Why?"])[0] == Turn(role="system", content="Be kind.")
    assert texts_of("plain") == [("plain text", "plain")]
    assert with_texts("plain", ["other"]) == "other"
    only_system = turns[:1]
    assert with_texts(only_system, ["", "Be kind."]) == [Turn(role="system", content="Be kind.")]


def test_typed_answers_replace_one_another() -> None:
    comparison = pair_comparison().with_typed("one").with_typed("two")
    assert [answer.text for answer in comparison.answers[2:]] == ["two"]
    assert comparison.shown == (comparison.answers[2],)
    assert comparison.with_next_answer().answer == comparison.answers[0]
    assert comparison.answers[1].text == "".join(CHOSEN[:-1])
