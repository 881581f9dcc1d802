"""The search line finds what it says, and says what it cannot, and where."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.strategies import any_pairs, texts
from workbench.pairs.columns import load
from workbench.pairs.pair import STATUSES, Message, Pair, plain, to_line
from workbench.pairs.query import MEANINGS, QueryError, complete, parse
from workbench.pairs.rows import Rows
from workbench.pairs.search import Search

PAIRS = [
    Pair("1", "Why was my card declined?", "I'm sorry.", "Not our problem.", status="accepted", tags=("Tone",)),
    Pair("2", "Turn on the alarm: how?", "Press the button.", "No.", split="holdout", source="ours/alarm.csv"),
    Pair("3", "Straße http://x.org 10:30", "ja", "nein", status="flagged", note="check the price", tags=("a b", "c")),
]
FINDINGS = {"1": {"length"}, "3": {"duplicate", "length"}, "gone": {"duplicate"}}


def search(folder: Path, pairs: list[Pair]) -> Search:
    path = folder / "x.jsonl"
    path.write_text("".join(map(to_line, pairs)))
    return Search(Rows(load(path)))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Search:
    return search(tmp_path_factory.mktemp("query"), PAIRS)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [0, 1, 2]),
        ("  ", [0, 1, 2]),
        ("CARD sorry", [0]),
        ("card alarm", []),
        ('"the alarm"', [1]),
        ('"alarm the"', []),
        ('"alarm: how', [1]),
        ("STRASSE", []),
        ("straße", [2]),
        ("price", [2]),
        ("http://x.org", [2]),
        ("10:30", [2]),
        ("a.d", []),
        ("/c.rd/", [0]),
        ("/C.RD/", [0]),
        ("/(?-i)C.RD/", []),
        (r"/\bno\b/", [1]),
        (r"/http:\/\/x/", [2]),
        ("/h.w", [1]),
        ("chosen:/^I'm/", [0]),
        ("rejected:/^I'm/", []),
        ("prompt:the", [1]),
        ('note:"the price"', [2]),
        ("id:3", [2]),
        ("-card", [1, 2]),
        ("-status:flagged -card", [1]),
        ("- card", []),
        ("status:accepted", [0]),
        ("status:acc", [0]),
        ("Status:New", [1]),
        ("status:", [0, 1, 2]),
        ("split:holdout", [1]),
        ("split:none", [0, 2]),
        ("tag:tone", [0]),
        ('tag:"a b"', [2]),
        ("tag:none", [1]),
        ("-tag:none", [0, 2]),
        ("tag:c,tone", [0, 2]),
        ('tag:tone,"a b"', [0, 2]),
        ("status:new,flagged", [1, 2]),
        ("status:new,", [1]),
        ("finding:dup,length", [0, 2]),
        ("source:alarm,nowhere", [1]),
        ("source:alarm", [1]),
        ("split:none status:flagged nein", [2]),
        ("len>1", [1]),
        ("len>=1", [1, 2]),
        ("len<0.7x", [0]),
        ("len=1", [2]),
        ("LEN>1", [1]),
        ("len>", [0, 1, 2]),
        ("length", []),
        ("finding:duplicate", [2]),
        ("finding:len", [0, 2]),
        ("-finding:length", [1]),
        ("finding:leak", []),
    ],
)
def test_queries(found: Search, query: str, expected: list[int]) -> None:
    assert found.find(parse(query), FINDINGS).tolist() == expected


@pytest.mark.parametrize(
    ("query", "meant", "position", "length"),
    [
        ("stauts:new", "'status'", 0, 6),
        ("card status:acepted", "'accepted'", 12, 7),
        ("status:new,acepted", "'accepted'", 11, 7),
        ("x:y", "tag", 0, 1),
        ("len>long", "1.5", 4, 4),
        ("card /(/", "missing", 6, 1),
        ("note:/[/", "missing", 6, 1),
    ],
)
def test_what_is_wrong_is_told_with_its_place(query: str, meant: str, position: int, length: int) -> None:
    with pytest.raises(QueryError, match=meant) as caught:
        parse(query)
    assert (caught.value.position, caught.value.length) == (position, length)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sta", ["status:"]),
        ("card -sta", ["-status:"]),
        ("status:", [f"status:{each}" for each in (*STATUSES, "undrafted")]),
        ("-status:d", ["-status:dropped"]),
        ("tag:to", ["tag:tone", 'tag:"bad tone"']),
        ("finding:", ["finding:duplicate"]),
        ("split:n", ["split:none", "split:train"]),
        ("status:new,f", ["status:new,flagged"]),
        ("status:new,", [f"status:new,{each}" for each in (*STATUSES[1:], "undrafted")]),
        ("tag:no", ["tag:none"]),
        ("le", ["len>", "len<"]),
        ("", []),
        ("card", []),
    ],
)
def test_terms_are_completed(text: str, expected: list[str]) -> None:
    known = {"tag": ["bad tone", "tone"], "finding": ["duplicate"]}
    assert complete(text, len(text), known)[: len(expected)] == expected
    assert complete(text + " more", len(text), known) == complete(text, len(text), known)


def test_before_anything_is_typed_all_fields_are_offered() -> None:
    assert complete("", 0, begin=True) == list(MEANINGS)
    assert complete("card ", 5, begin=True) == list(MEANINGS)
    for term in MEANINGS:
        assert not parse(term).terms


@given(st.lists(any_pairs, min_size=1, max_size=6, unique_by=lambda pair: pair.id), st.data())
def test_words_are_found_where_they_are(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair], data: st.DataObject
) -> None:
    finder = search(tmp_path_factory.mktemp("words"), [p for p in pairs if p.conversational == pairs[0].conversational])
    rows = finder.rows
    kept = [rows.pair(row) for row in rows.order.tolist()]
    source = data.draw(st.sampled_from(kept))
    word = data.draw(st.sampled_from([plain(source.chosen)[:6], source.note[:4], source.id[:3]]))
    if not word or '"' in word or not word.isascii():
        return
    found = finder.find(parse(f'"{word}"')).tolist()
    held = [
        row
        for row, pair in zip(rows.order.tolist(), kept, strict=True)
        if any(word.lower() in text.lower() for text in _texts(pair))
    ]
    assert set(held) <= set(found)


def _texts(pair: Pair) -> list[str]:
    parts = [pair.prompt, pair.chosen, pair.rejected]
    turns = [[part] if isinstance(part, str) else [turn.text for turn in part] for part in parts]
    return [pair.note, pair.id, *(text for each in turns for text in each)]


@given(texts | st.text(alphabet='-/"():len><=.5 status\\[]*', max_size=20))
def test_any_text_is_a_query_or_is_refused(found: Search, query: str) -> None:
    try:
        parsed = parse(query)
    except QueryError as found_wrong:
        begin, end = found_wrong.position, found_wrong.position + found_wrong.length
        parsed = None
    if parsed is None:
        assert 0 <= begin <= end <= len(query)
        return
    assert set(found.find(parsed).tolist()) <= {0, 1, 2}
    assert isinstance(complete(query, len(query)), list)


def test_turns_are_searched_too(tmp_path: Path) -> None:
    pair = Pair("1", (Message("user", "Hello there"),), (Message("assistant", "a"),), (Message("assistant", "b"),))
    finder = search(tmp_path, [pair, Pair("2", (), (), ())])
    assert finder.find(parse("there b")).tolist() == [0]
    assert finder.find(parse("-there")).tolist() == [1]
