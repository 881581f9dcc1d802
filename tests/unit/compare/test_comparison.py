from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from tests.unit.compare.examples import (
    CHOSEN,
    REJECTED,
    RUN,
    SYSTEM,
    column,
    distribution,
    pair_comparison,
    sampled_comparison,
)
from workbench.compare.comparison import BASE, Comparison, ForcedPrefix, ProbeAsked, comparison_document
from workbench.compare.measures import visible_rows
from workbench.compare.messages import (
    Generated,
    Generation,
    OpeningColumn,
    OpeningsScored,
    TextChunk,
    Token,
    TokenCandidate,
    Turn,
)
from workbench.compare.new_pair import candidates
from workbench.compare.prompt_parts import kept_turns, texts_of, with_texts
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair


def _generated(*texts: str) -> Generated:
    names = ["base", RUN.name, SYSTEM.name]
    columns = [Generation(name=name, text=text, tokens=3, ended=True) for name, text in zip(names, texts, strict=False)]
    return Generated(id=1, columns=columns)


def test_a_place_shows_what_both_columns_might_say_exactly() -> None:
    rows = pair_comparison().rows
    assert [row.text for row in rows[:3]] == ["I", "Sure", "Easy"]
    assert [row.in_response for row in rows[:3]] == [False, True, False]
    assert rows[0].change == pytest.approx(math.log(0.93 / 0.07) - math.log(0.14 / 0.86))
    assert pair_comparison().spread == ([1.1, 0.3], 1.9)
    alone = replace(pair_comparison(), columns=(BASE,), current=0)
    assert alone.spread == ([1.1], None)
    assert [row.change for row in alone.rows[:2]] == [None, None]
    assert [row.text for row in alone.rows[:2]] == ["Sure", "Easy"]


def test_a_beginning_is_typed_then_taken_token_by_token() -> None:
    comparison = pair_comparison().with_forced_text("I'm")
    forced = [Token(id=7, text="I"), Token(id=8, text="'m")]
    seen = distribution().model_copy(update={"forced": forced})
    comparison = comparison.with_distribution(seen, "next token")
    row = next(row for row in comparison.rows if row.text == " To")
    assert comparison.prefix_text() == "I'm"
    assert comparison.prefix_text(row) == "I'm To"
    taken = comparison.with_taken(row)
    assert taken.forced_prefix == ForcedPrefix("I'm", (row.token,))
    assert taken.with_forced_text("I").forced_prefix == ForcedPrefix("I")
    assert taken.without_forced_prefix().forced_prefix is None


def test_half_a_character_is_whole_once_the_other_half_is_taken() -> None:
    halves = [Token(id=1, text="⟨C3⟩", data="c3")]
    other = TokenCandidate(token=2, text="⟨A9⟩", data="a9", logprobs=[-1.0, -1.0])
    seen = distribution().model_copy(update={"forced": halves, "candidates": [other]})
    comparison = pair_comparison().with_forced_text("").with_distribution(seen, "next token")
    assert comparison.prefix_text(comparison.rows[0]) == "é"


def test_what_a_system_message_costs() -> None:
    comparison = pair_comparison()
    seen = distribution().model_copy(update={"prompt_tokens": [14, 14, 55]})
    comparison = comparison.with_columns((BASE, RUN, SYSTEM), 1).with_distribution(seen, "next token")
    assert {name: cost.extra for name, cost in comparison.costs.items()} == {
        "base": 0, RUN.name: 0, SYSTEM.name: 41,
    }  # fmt: skip
    assert comparison.costs[SYSTEM.name].per_million == 41_000_000


def test_samples_of_a_column_go_with_it() -> None:
    comparison = sampled_comparison()
    assert len(comparison.samples) == 16
    assert {each.name for each in comparison.with_columns((BASE,), 0).samples} == {"base"}
    assert comparison.with_prompt("Hello").samples == ()


def test_a_role_that_no_template_takes_is_told() -> None:
    odd = Pair("p", (Message("user\x1b[31m", "Hi"),), (Message("assistant", "a"),), (Message("assistant", "b"),))
    with pytest.raises(WorkbenchError, match="roles") as told:
        Comparison().with_pair(odd)
    assert "\x1b" not in str(told.value)


def test_a_probe_brings_the_answers_that_it_looks_for() -> None:
    comparison = pair_comparison().with_probe(
        ProbeAsked("a-1", "attack", "Why?", {"compliant": "Sure.", "refusing": "No."}, {})
    )
    assert [(each.group, each.label, each.text) for each in comparison.shown] == [
        ("probe", "compliant", "Sure."),
        ("probe", "refusing", "No."),
    ]
    assert comparison.preference is None
    assert (comparison.prompt, comparison.asked, comparison.kind) == ("Why?", "Why?", "attack")
    as_turn = comparison.asked_as_trained(plain=False)
    assert (as_turn.asked, as_turn.kind, as_turn.prompt == comparison.prompt) == ("Why?", "attack", False)
    assert comparison.with_prompt("What?").kind == ""


def test_openings_are_an_answer_without_tokens() -> None:
    probe = pair_comparison().with_probe(ProbeAsked("a", "attack", "Why?", {}, {"refusing": ["I can't", "Sorry, but"]}))
    (answer,) = probe.shown
    assert (answer.label, answer.text) == ("begins refusing", "I can't · Sorry, but")
    assert probe.unscored() == [answer]
    columns = [
        OpeningColumn(name=column.name, mass=mass, probability=math.exp(mass), sums=[mass, -9.0])
        for column, mass in zip(probe.columns, (-2.0, -0.1), strict=True)
    ]
    scored = probe.with_opening_scores(answer.openings, OpeningsScored(id=1, columns=columns))
    assert scored.unscored() == []
    base, aligned = scored.scores()
    assert (base.sum, aligned.sum, base.tokens) == (-2.0, -0.1, [])
    assert scored.with_position(3).position == 0
    assert candidates(scored) == []  # a beginning makes no pair
    typed = scored.with_openings(["Sure"]).with_openings(["Of course", "Sure"])
    assert [(other.group, other.openings) for other in typed.answers] == [
        ("probe", ("I can't", "Sorry, but")),
        ("opening", ("Of course", "Sure")),
    ]
    assert typed.answer.group == "opening"
    document = comparison_document(scored, "tiny", "nf4")
    assert document["answers"][0]["openings"] == ["I can't", "Sorry, but"]


def test_all_numbers_are_in_the_document() -> None:
    told = json.loads(json.dumps(comparison_document(sampled_comparison(), "tiny", "nf4")))
    assert told["beside_base"] == RUN.name
    assert told["answers"][0]["columns"][1]["sum"] == pytest.approx(
        sum(each["logprob"] for each in told["answers"][0]["columns"][1]["tokens"])
    )
    assert told["place"]["candidates"][0]["text"] == "Sure"
    assert told["samples"]["base"][0] == {"behaviour": "refusing", "count": 1, "samples": 8, "share": 0.125}
    assert told["costs"][RUN.name] == {"tokens": 14, "extra": 0, "per_million": 0}
    assert told["preference"]["implicit"] == pytest.approx(sampled_comparison().preference.implicit)


def test_a_short_list_keeps_the_said_token_and_drops_the_hopeless() -> None:
    rows = pair_comparison().rows
    rare = [replace(row, in_response=row.text == "Not") for row in rows]
    assert [row.text for row in visible_rows(rare, 3)] == ["I", "Sure", "Not"]
    assert len(visible_rows(rows, 100)) == len(rows)
    slim = [replace(row, base=-30.0, aligned=None) for row in rows]
    assert len(visible_rows(slim, 100)) == 3


def test_walking_stops_at_both_ends() -> None:
    comparison = pair_comparison()
    assert comparison.with_position(-5).position == 0
    assert comparison.with_position(1000).position == len(REJECTED) - 1
    assert Comparison().with_position(4).position == 0


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
    assert fresh.generations == ()
    assert fresh.with_generated(_generated("Hi.", "Hello.")).shown[0].label == "base's answer"


def test_another_model_forgets_all_numbers_but_not_the_question() -> None:
    fresh = (
        pair_comparison()
        .with_next_answer()
        .with_position(4)
        .with_generated(_generated("Sure.", "No."))
        .without_results()
    )
    assert fresh.prompt == pair_comparison().prompt
    assert [answer.label for answer in fresh.unscored()] == ["rejected", "chosen"]
    assert (fresh.active, fresh.position, fresh.rows, fresh.generations) == (1, 0, [], ())
    spoken = Comparison(columns=(BASE, RUN), current=1).with_generated(_generated("Sure.", "No."))
    assert spoken.without_results().answer is None


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
    comparison = Comparison(columns=(BASE, RUN), current=1).with_generation_started()
    pieces = [
        TextChunk(id=1, column=0, text="Su"),
        TextChunk(id=1, column=1, text="No"),
        TextChunk(id=1, column=0, text="re"),
    ]
    said = comparison.with_chunks(pieces).generations
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
