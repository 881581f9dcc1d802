"""Answers put in order, and the pairs that the order makes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.strategies import any_pairs
from workbench.behaviours.behaviour import english
from workbench.behaviours.reading import KnownBehaviours
from workbench.compare.messages import Generation, Turn
from workbench.compare.ranking import PairSide, RankedPairs, Ranking, question_of
from workbench.engine.scoring.classifying import shown_behaviours
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair, plain

PAIR = Pair(
    "p1",
    (Message("user", "How?"),),
    (Message("assistant", "No."),),
    (Message("assistant", "Yes."),),
    status="accepted",
    split="train",
    tags=("t",),
    source="hh",
    extra={"tools": "[]", "rating": 3},
)
CHOSEN, REJECTED, FIRST, SECOND = range(4)


def said(
    text: str, by: str = "tiny", *, ended: bool = True, tokens: int = 3, logprob: float | None = None
) -> Generation:
    return Generation(name=by, text=text, tokens=tokens, ended=ended, logprob=logprob)


def ranking(*order: int, pair: Pair = PAIR) -> Ranking:
    """The pair's own answers and two drafts, "A" twice and "B", in an order."""
    drafted = Ranking.of(pair).with_drafts([said("B"), said("A"), said("A")])
    return replace(drafted, order=order)


def told(ranking: Ranking) -> Ranking:
    """With what English answers show."""
    return ranking.told(shown_behaviours(ranking.untold, KnownBehaviours(english())))


def texts(pair: Pair | None) -> tuple[str, str]:
    assert pair is not None
    return plain(pair.chosen), plain(pair.rejected)


def test_a_pairs_own_answers_come_first_and_drafts_by_how_often_they_came() -> None:
    found = ranking()
    assert [(each.text, each.by, each.count) for each in found.candidates] == [
        ("No.", "", 1), ("Yes.", "", 1), ("A", "tiny", 2), ("B", "tiny", 1),
    ]  # fmt: skip
    assert Ranking.of(PAIR).order == (CHOSEN,)
    more = found.with_drafts([said("B"), said("B"), said(" \n"), said("A", "run"), said("C", ended=False)])
    # Numbers stay what they were, whatever comes later.
    assert [(each.text, each.by, each.count) for each in more.candidates[FIRST:]] == [
        ("A", "tiny", 2), ("B", "tiny", 3), ("A", "run", 1), ("C", "tiny", 1),
    ]  # fmt: skip
    assert [each.cut for each in more.candidates[-2:]] == [False, True]
    assert not more.with_drafts([said("C")]).candidates[-1].cut
    assert more.candidates[FIRST].response == (Message("assistant", "A"),)
    plain_text = ranking(pair=Pair("p", "How?", "No.", "Yes."))
    assert plain_text.candidates[FIRST].response == "A"


def test_an_empty_answer_is_no_candidate() -> None:
    begun = Ranking.of(replace(PAIR, chosen=(Message("assistant", " "),)))
    assert [each.side for each in begun.candidates] == ["rejected"]
    assert begun.order == ()


def test_another_rejected_answer_is_an_edit_of_the_pair() -> None:
    made = ranking(CHOSEN, FIRST).made()
    assert made.new == ()
    assert made.edited == replace(PAIR, rejected=(Message("assistant", "A"),), source="hh; drafted by tiny")
    # The worst counts, whatever lies between; a text that is ranked twice counts once.
    assert texts(ranking(CHOSEN, REJECTED, SECOND).made().edited) == ("No.", "B")
    assert texts(ranking(FIRST, REJECTED).made().edited) == ("A", "Yes.")
    # Drafted again, the source says so once.
    edited = made.edited
    assert edited is not None
    again = replace(Ranking.of(edited).with_drafts([said("C")]), order=(0, 2)).made().edited
    assert again is not None
    assert again.source == "hh; drafted by tiny"


def test_what_the_pair_says_already_is_no_change() -> None:
    for order in ((), (FIRST,), (CHOSEN, REJECTED)):
        assert not ranking(*order).made()
    same = Ranking.of(PAIR).with_drafts([said("Yes."), said("No.")])
    assert not replace(same, order=(CHOSEN, 2)).made()
    assert not replace(same, order=(CHOSEN, 3)).made()
    assert not replace(same, order=(3, 2), making="each").made()
    assert not same.as_side(2, "rejected")


def test_the_pair_the_other_way_round_is_swapped_and_never_contradicted() -> None:
    assert ranking(REJECTED, CHOSEN).made() == RankedPairs(edited=PAIR.swapped())
    assert ranking(REJECTED, FIRST, CHOSEN).made() == RankedPairs(edited=PAIR.swapped())
    each = replace(ranking(REJECTED, FIRST, CHOSEN), making="each").made()
    assert each.edited == PAIR.swapped()
    assert [texts(pair) for pair in each.new] == [("Yes.", "A")]
    assert ranking().as_side(REJECTED, "chosen") == RankedPairs(edited=PAIR.swapped())


def test_other_orders_make_pairs_beside_it() -> None:
    (pair,) = ranking(FIRST, SECOND).made().new
    assert texts(pair) == ("A", "B")
    assert (pair.prompt, pair.split, pair.source) == (PAIR.prompt, "train", "hh; drafted by tiny")
    # Nobody judged it yet; what renders the prompt goes with it, what was noted of the other pair does not.
    assert (pair.status, pair.tags, dict(pair.extra)) == ("new", (), {"tools": "[]"})
    each = replace(ranking(CHOSEN, FIRST, REJECTED, SECOND), making="each").made()
    assert each.edited is None
    assert [texts(pair) for pair in each.new] == [("No.", "A"), ("No.", "B")]
    assert len({PAIR.id, *(pair.id for pair in each.new)}) == 3


def best(drafted: Ranking, side: PairSide = "rejected") -> tuple[str, str] | None:
    found = drafted.best_draft(side)
    return None if found is None else (drafted.candidates[found.number].text, found.by)


def test_the_best_draft_is_the_commonest_that_is_not_the_other_answer() -> None:
    assert best(ranking()) == ("A", "commonest")
    assert best(Ranking.of(PAIR)) is None
    assert best(Ranking.of(PAIR).with_drafts([said("No."), said("No."), said("C")])) == ("C", "likeliest")
    as_chosen = Ranking.of(PAIR).with_drafts([said("No."), said("No."), said("Yes.")])
    assert best(as_chosen, "chosen") == ("No.", "commonest")


def test_where_all_drafts_differ_the_best_is_the_likeliest_a_token() -> None:
    # The sum of the longer one is lower; a token of it is likelier.
    drafted = Ranking.of(PAIR).with_drafts([said("Short", logprob=-3.0), said("A long one", logprob=-4.0, tokens=8)])
    assert [each.text for each in drafted.candidates[FIRST:]] == ["A long one", "Short"]
    assert best(drafted) == ("A long one", "likeliest")
    assert [each.mean for each in drafted.candidates[FIRST:]] == [-0.5, -1.0]
    again = drafted.with_drafts([said("Short", logprob=-3.0)])
    assert best(again) == ("Short", "commonest")


def test_a_pair_that_lacks_an_answer_gets_the_draft() -> None:
    for side, empty in (("rejected", replace(PAIR, rejected=())), ("chosen", replace(PAIR, chosen=()))):
        assert empty.lacks == (side,)
        drafted = Ranking.of(empty).with_drafts([said("A"), said("A"), said("B")])
        found = drafted.best_draft(side)  # type: ignore[arg-type]
        assert found is not None
        taken = drafted.as_side(found.number, side).edited  # type: ignore[arg-type]
        order = (0, found.number) if side == "rejected" else (found.number, 0)
        ranked = replace(drafted, order=order).made().edited
        assert taken is not None
        assert taken == ranked
        assert (taken.lacks, plain(getattr(taken, side))) == ((), "A")


def test_what_has_a_flaw_is_shown_and_never_the_best() -> None:
    refusing = replace(PAIR, chosen=(Message("assistant", "I can't help with that."),))
    drafts = [
        *(said(text) for text in ("I cannot help with this.", "I cannot help with this.", "round and round " * 20)),
        said("It goes on and on", ended=False),
        said("Sure. First you", ended=False),
    ]
    drafted = told(Ranking.of(refusing).with_drafts(drafts))
    flaws = {each.text: drafted.flaw(number, "rejected") for number, each in enumerate(drafted.candidates)}
    assert flaws == {
        "I can't help with that.": "",
        "Yes.": "",
        "I cannot help with this.": "refuses",
        "round and round " * 20: "repeats itself",
        "It goes on and on": "breaks off",
        "Sure.": "",
    }
    assert best(drafted) == ("Sure.", "likeliest")
    assert [each.cut for each in drafted.candidates if each.text == "Sure."] == [True]
    # Beside an answer that complies, a refusal is another thing to say.
    assert best(drafted, "chosen") == ("I cannot help with this.", "commonest")
    assert best(told(Ranking.of(refusing).with_drafts(drafts[:4]))) is None
    assert best(replace(drafted, wanted="refusing"), "chosen") == ("I cannot help with this.", "commonest")
    assert best(replace(drafted, wanted="answering"), "chosen") == ("Sure.", "likeliest")
    assert best(replace(drafted, wanted="rude"), "chosen") is None


def test_what_the_base_finds_as_likely_as_noise_is_not_taken() -> None:
    noise, sense = said("Qua xim ploo."), said("It is so.")
    drafted = Ranking.of(PAIR).with_drafts(
        [noise.model_copy(update={"under_base": -24.0}), sense.model_copy(update={"under_base": -6.0})]
    )
    assert [answer.likelihood for answer in drafted.untold[2:]] == [-8.0, -2.0]
    drafted = told(drafted)
    assert [drafted.flaw(number, "rejected") for number in (2, 3)] == ["babbles", ""]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=12))
def test_any_keys_leave_an_order_in_which_each_has_one_rank(keys: list[tuple[int, int]]) -> None:
    now = ranking()
    for number, rank in keys:
        now = now.ranked(number, rank) if rank else now.toggled(number)
        if rank:
            assert now.rank(number) == min(rank, len(now.order))
    assert len(set(now.order)) == len(now.order)
    assert [now.rank(number) for number in now.order] == list(range(1, len(now.order) + 1))


@given(
    any_pairs,
    st.lists(st.sampled_from(["a", "b", "", "c d"]), max_size=6),
    st.permutations(range(5)),
    st.sampled_from(["one", "each"]),
    st.data(),
)
def test_whatever_is_ranked_the_best_is_chosen_over_something_else(
    pair: Pair, drafts: list[str], order: list[int], making: str, data: st.DataObject
) -> None:
    drafted = Ranking.of(pair).with_drafts(map(said, drafts))
    there = [number for number in order if number < len(drafted.candidates)]
    ranked = replace(drafted, order=tuple(there[: data.draw(st.integers(0, 5))]), making=making)  # type: ignore[arg-type]
    made = ranked.made()
    own = texts(pair)
    results = [*([made.edited] if made.edited else []), *made.new]
    if len({ranked.candidates[number].text for number in ranked.order}) < 2:
        assert not made
    for each in results:
        assert each.prompt == pair.prompt
        assert texts(each) != own
        assert plain(each.chosen) == ranked.candidates[ranked.order[0]].text
        assert plain(each.rejected) in {ranked.candidates[number].text for number in ranked.order[1:]} | {own[1]}
    assert len({texts(each) for each in results}) == len(results)
    if made.edited:
        assert (made.edited.id, made.edited.status, made.edited.tags) == (pair.id, pair.status, pair.tags)
    assert texts(pair)[::-1] not in map(texts, made.new)


def test_a_pair_without_a_prompt_or_with_broken_tools_asks_nothing() -> None:
    prompt, template = question_of(PAIR)
    assert prompt == [Turn(role="user", content="How?")]
    assert template == {"tools": []}
    with pytest.raises(WorkbenchError, match="no prompt"):
        question_of(replace(PAIR, prompt=(Message("user", " \n"),)))
    with pytest.raises(WorkbenchError, match="tools"):
        question_of(replace(PAIR, extra={"tools": "["}))
    with pytest.raises(WorkbenchError, match="roles"):
        question_of(replace(PAIR, prompt=(Message("user<|im_end|>", "Hi"),)))
