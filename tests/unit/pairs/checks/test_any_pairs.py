"""Whatever the pairs are: no check fails, and every id it names exists."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from workbench.pairs.checks.findings import CHECKS
from workbench.pairs.checks.keys import beginning, prompt_key, rough_key, same_words
from workbench.pairs.checks.repairs import REPAIRS, repair_for
from workbench.pairs.checks.run import run_checks
from workbench.pairs.pair import ROLES, Message, Pair, Text
from workbench.pairs.split import group_key

_odd = st.sampled_from(
    ["", " ", "’", "â€™", "Ã©", "\u202e", "\u200d", "\ud800", "\x00", "ß", "İ", "ﬁ", "???", "\n\nHuman: "]
)
_text = st.one_of(
    st.text(st.characters(), max_size=30), st.lists(_odd | st.sampled_from(["ab", "yes", "no"])).map("".join)
)
_turns = st.lists(st.builds(Message, st.sampled_from(ROLES), _text), max_size=4).map(tuple)


def _pair(texts: st.SearchStrategy[Text]) -> st.SearchStrategy[Pair]:
    return st.builds(
        Pair,
        id=st.just(""),
        prompt=texts,
        chosen=texts,
        rejected=texts,
        status=st.sampled_from(["new", "accepted", "dropped", "flagged"]),
        split=st.sampled_from([None, "train", "holdout"]),
        extra=st.sampled_from(
            [{}, {"score_chosen": 1, "score_rejected": None}, {"score_chosen": 1, "score_rejected": 2}]
        ),
    )


_pairs = st.one_of(st.lists(_pair(_text), max_size=8), st.lists(_pair(_turns), max_size=8))


@given(_pairs)
def test_no_pairs_break_the_checks(pairs: list[Pair]) -> None:
    named = [Pair(f"p{place}", *_fields(pair)) for place, pair in enumerate(pairs + pairs[:2])]
    report = run_checks(named)
    live = {pair.id for pair in named if pair.status != "dropped"}
    assert report.checked == sum(not pair.lacks for pair in named if pair.id in live)
    for finding in report.findings:
        assert finding.check in CHECKS
        assert finding.count == len(set(finding.ids)) == len(finding.ids)
        assert set(finding.ids) <= live
        assert {each for group in finding.groups for each in group} <= live
        json.dumps(finding.to_json(repair=True))
        repair = repair_for(finding)
        assert (repair is not None) == (finding.check in REPAIRS)
        if repair is not None:
            assert {pair.id for pair in repair.edits(named)} <= live
    json.dumps(dict(report.lengths))


def _fields(pair: Pair) -> tuple[object, ...]:
    return (pair.prompt, pair.chosen, pair.rejected, pair.status, pair.split, (), "", "", pair.extra)


@given(_text | _turns, _text | _turns)
def test_prompts_of_one_group_have_one_key(one: Text, other: Text) -> None:
    for variant in (other, one if isinstance(one, str) else tuple(Message(t.role, t.content.upper()) for t in one)):
        if group_key(one) == group_key(variant):
            assert _key(one) == _key(variant)


@given(_text, st.integers(1, 30))
def test_rough_keys_are_the_same_where_the_words_are(text: str, times: int) -> None:
    long = text * times
    for variant in (
        long.replace("'", "’"),
        long.replace(" ", "\n "),
        long.swapcase(),
        unicodedata.normalize("NFD", long),
    ):
        if same_words(variant) == same_words(long):
            assert rough_key(variant) == rough_key(long)
            assert beginning(variant) == beginning(long)


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else "\n\n".join(turn.text for turn in text)


def _key(prompt: Text) -> bytes:
    system = not isinstance(prompt, str) and any(turn.role in ("system", "developer") for turn in prompt)
    return prompt_key(_joined(prompt), lambda: prompt, system=system)
