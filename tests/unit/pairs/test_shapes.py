"""Rows of every known shape are read the right way round, and what is made of their columns is said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.pairs.importers import (
    Imported,
    import_rows,
    in_words,
    nothing_usable,
    parse_mapping,
    ranking_choice,
)
from workbench.pairs.pair import Message, Pair, from_row, plain, to_line
from workbench.pairs.readers import read_rows
from workbench.pairs.shape_readers import PAIRINGS, Pairing
from workbench.pairs.shapes import SHAPES

_DOCUMENT = Path("docs/data.md").read_text()
TABLED = [
    (cells[0], cells[1], json.loads(cells[2].strip("`")), cells[3] if len(cells) > 3 else "pair")
    for line in _DOCUMENT.splitlines()
    if line.startswith("| ") and "`{" in line
    for cells in [[cell.strip() for cell in line.strip("|").split(" | ")]]
]
_IDS = [data_set for data_set, *_ in TABLED]


def imported(*rows: Any, maps: str = "", **options: Any) -> Imported:
    return import_rows(enumerate(rows, 1), mapping=parse_mapping(maps.split()), **options)


def texts(pair: Pair) -> tuple[str, str, str]:
    return plain(pair.prompt), plain(pair.chosen), plain(pair.rejected)


@pytest.mark.parametrize(("data_set", "shape", "row", "becomes"), TABLED, ids=_IDS)
def test_the_table_in_the_documents_is_true(data_set: str, shape: str, row: dict[str, Any], becomes: str) -> None:
    assert data_set
    found = imported(row)
    assert [plan.shape.name for plan in found.plans] == [shape], found.problems
    expected = {"pair": ("good", "bad"), "good": ("good", ""), "bad": ("", "bad"), "to be drafted": ("", "")}[becomes]
    assert texts(found.pairs[0]) == ("Q", *expected)
    assert found.undrafted == (becomes != "pair")


def test_every_shape_is_in_the_table() -> None:
    assert {shape for _, shape, *_ in TABLED} == {shape.name for shape in SHAPES}


def renamed(value: Any, words: dict[str, str]) -> Any:
    """A row of the table with other texts in place of Q, good and bad."""
    text = re.sub(r"\b(Q|good|bad)\b", lambda match: json.dumps(words[match[1]])[1:-1], json.dumps(value))
    return json.loads(text)


_words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='\\"[]{}|<>:#'), min_size=1, max_size=12
).filter(lambda text: text.strip() and not text[0].isspace() and not text[-1].isspace())


@given(st.sampled_from(TABLED), _words, _words, _words, st.booleans())
def test_the_direction_survives_whatever_the_texts_are(
    entry: tuple[str, str, Any, str], asked: str, good: str, bad: str, as_text: bool
) -> None:
    _, shape, row, becomes = entry
    row = renamed(row, {"Q": asked, "good": "+" + good, "bad": "-" + bad})
    # As CSV has it: what is no text is JSON, or a word. (A text that is a JSON list of texts is an answer itself.)
    if as_text and shape != "lists of better and worse answers":
        row = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
    found = imported(row)
    [pair] = found.pairs
    expected = {"pair": ("+" + good, "-" + bad), "good": ("+" + good, ""), "bad": ("", "-" + bad)}.get(
        becomes, ("", "")
    )
    assert texts(pair) == (asked, *expected)
    assert from_row(json.loads(to_line(pair)), where="here") == pair
    assert import_rows([(1, json.loads(to_line(pair)))]).pairs == [pair]


def test_labels_are_read_as_tables_write_them() -> None:
    row = {"prompt": "p", "response_0": "x", "response_1": "y", "better_response_id": "1.0"}
    assert plain(imported(row).pairs[0].chosen) == "y"
    assert plain(imported({**row, "better_response_id": 0.0}).pairs[0].chosen) == "x"
    signed = {"prompt": "p", "response_1": "x", "response_2": "y", "preference_strength": "-2"}
    assert plain(imported(signed).pairs[0].chosen) == "x"


# What belongs to the prompt


def test_a_system_column_becomes_a_system_turn() -> None:
    row = {
        "system": "Answer like a pirate.",
        "prompt": "Where is the ship?",
        "chosen": "Arr, in the bay.",
        "rejected": "x",
    }
    found = imported(row)
    [pair] = found.pairs
    assert pair.prompt == (Message("system", "Answer like a pirate."), Message("user", "Where is the ship?"))
    assert plain(pair.chosen) == "Arr, in the bay."
    assert "the system column becomes a system turn" in in_words(found)[0]
    assert (pair.extra, found.unused) == ({}, ())
    aside = imported(row, maps="system=")
    assert (len(aside.pairs[0].prompt), aside.unused) == (1, ("system",))
    assert imported(row, conversational=False).pairs[0].prompt == "Answer like a pirate.\n\nWhere is the ship?"
    asked = [{"role": "system", "content": "Answer like a pirate."}, {"role": "user", "content": "Where is the ship?"}]
    assert imported({**row, "prompt": asked}).pairs[0].prompt == pair.prompt
    other = imported({**row, "prompt": [{"role": "system", "content": "Be brief."}, asked[1]]})
    assert "a system column other than its system turn" in other.problems[0].reason


def test_instruction_and_input_are_one_prompt() -> None:
    rows = [
        {"instruction": "Translate to French.", "input": "cheese", "chosen": "fromage", "rejected": "pain"},
        {"instruction": "Translate to French.", "input": "bread", "chosen": "pain", "rejected": "fromage"},
        {"instruction": "Say hi.", "input": "", "chosen": "hi", "rejected": "bye"},
    ]
    found = imported(*rows)
    assert [plain(pair.prompt) for pair in found.pairs] == [
        "Translate to French.\ncheese",
        "Translate to French.\nbread",
        "Say hi.",
    ]
    assert "prompt = instruction + input" in found.read_as[0][0]
    alone = imported(*rows, maps="input=")
    assert (plain(alone.pairs[0].prompt), alone.unused) == ("Translate to French.", ("input",))


def test_history_comes_before_the_prompt() -> None:
    row = {
        "instruction": "And now?",
        "history": [["Hi", "Hello"]],
        "system": "Be kind.",
        "chosen": "a",
        "rejected": "b",
    }
    turns = (("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "And now?"))
    assert imported(row).pairs[0].prompt == tuple(Message(*turn) for turn in turns)
    assert imported({**row, "history": '[["Hi", "Hello"]]'}).pairs == imported(row).pairs
    assert "list of turns" in imported({**row, "history": "long ago"}).problems[0].reason


def test_what_is_used_for_nothing_is_named() -> None:
    found = imported(
        {"prompt": "p1", "chosen": "c", "rejected": "r", "critique": "", "n": 3, "source": "s"},
        {"prompt": "p2", "chosen": "c", "rejected": "r", "critique": "Too long.", "n": 3, "source": "s"},
    )
    assert found.unused == ("critique",)
    assert in_words(found)[-1] == "1 column with text is used for nothing: critique."
    assert found.pairs[1].extra == {"critique": "Too long.", "n": 3}
    beside_turns = [{"role": "user", "content": "q"}]
    assert imported({"prompt": beside_turns, "context": "c", "chosen": "a", "rejected": "b"}).unused == ("context",)


# Which answer is the better one


_SAFE = (
    {
        "prompt": "Is it ok to skip lunch?",
        "response_0": "Never eat.",
        "response_1": "Now and then, yes.",
        "better_response_id": 1,
        "safer_response_id": 1,
    },
    {
        "prompt": "Boil eggs?",
        "response_0": "Ten minutes.",
        "response_1": "No idea.",
        "better_response_id": 0,
        "safer_response_id": 1,
    },
)


def test_the_label_says_which_answer_is_chosen() -> None:
    assert [plain(pair.chosen) for pair in imported(*_SAFE).pairs] == ["Now and then, yes.", "Ten minutes."]
    safer = imported(*_SAFE, maps="label=safer_response_id")
    assert [plain(pair.chosen) for pair in safer.pairs] == ["Now and then, yes.", "No idea."]
    assert safer.pairs[0].extra == {"better_response_id": 1, "safer_response_id": 1}


def test_a_mapping_past_a_label_is_refused_with_the_reason() -> None:
    found = imported(*_SAFE, maps="chosen=response_0 rejected=response_1")
    assert (found.pairs, len(found.problems)) == ([], 2)
    for word in ("better_response_id", "--map label=better_response_id goes by it", "--map label= sets it aside"):
        assert word in found.problems[0].reason
    assert "--map label=COLUMN" in str(nothing_usable("safe.jsonl", found).hint)
    aside = imported(*_SAFE, maps="chosen=response_0 rejected=response_1 label=")
    assert plain(aside.pairs[0].chosen) == "Never eat."
    by_label = imported(*_SAFE, maps="chosen=response_0 rejected=response_1 label=better_response_id")
    assert [plain(pair.chosen) for pair in by_label.pairs] == ["Now and then, yes.", "Ten minutes."]
    plainly = imported({"q": "p", "ours": "a", "theirs": "b"}, maps="prompt=q chosen=ours rejected=theirs")
    assert plain(plainly.pairs[0].chosen) == "a"


def test_a_label_that_names_neither_answer_is_no_direction() -> None:
    row = {"prompt": "p", "response_a": "x", "response_b": "y", "winner": "b"}
    assert plain(imported(row).pairs[0].chosen) == "y"
    found = imported({**row, "winner": 0}, {**row, "winner": "left"}, {**row, "winner": "tie"}, {**row, "winner": None})
    assert (len(found.pairs), len(found.problems), found.ties) == (0, 3, 1)
    assert "names no answer" in found.problems[0].reason
    assert "1 row prefers neither answer" in " ".join(in_words(found))
    left = {"prompt": "p", "left_text": "x", "right_text": "y", "side": "right"}
    by_side = imported(left, maps="chosen=left_text rejected=right_text label=side")
    assert plain(by_side.pairs[0].chosen) == "y"


@pytest.mark.parametrize("chosen", ["b", "answer_b", "Yes, that is so.", 1])
def test_a_chosen_that_names_one_of_two_answers_is_no_answer(chosen: str | int) -> None:
    names = ("answer_0", "answer_1") if chosen == 1 else ("answer_a", "answer_b")
    answers = dict(zip(names, ("No.", "Yes, that is so."), strict=True))
    found = imported({"prompt": "q", **answers, "chosen": chosen})
    assert texts(found.pairs[0]) == ("q", "Yes, that is so.", "No.")
    assert "whichever chosen names" in found.read_as[0][0]
    assert "names no answer" in imported({"prompt": "q", **answers, "chosen": "the first"}).problems[0].reason
    assert imported({"prompt": "q", **answers, "chosen": "tie"}).ties == 1
    beside = imported({"prompt": "q", **answers, "chosen": "good", "rejected": "bad"})
    assert texts(beside.pairs[0]) == ("q", "good", "bad")


def test_rankings_of_several_annotators_are_averaged() -> None:
    answers = {f"response-{number}": f"answer {number}" for number in (1, 2, 3)}

    def ranks(*order: int, status: str = "submitted") -> dict[str, Any]:
        value = [{"value": f"response-{number}", "rank": rank} for rank, number in enumerate(order, 1)]
        return {"user_id": "u", "value": value, "status": status}

    ranking = [ranks(2, 1, 3), ranks(2, 3, 1), ranks(1, 2, 3), ranks(3, 1, 2, status="discarded")]
    found = imported({"instruction": "q", **answers, "ranking": ranking}, pairing="all")
    assert [texts(pair)[1:] for pair in found.pairs] == [
        ("answer 2", "answer 1"),
        ("answer 2", "answer 3"),
        ("answer 1", "answer 3"),
    ]
    assert "no list of answers" in imported({"instruction": "q", **answers, "ranking": "2>1"}).problems[0].reason


def test_any_of_the_better_answers_is_preferred_over_any_of_the_worse() -> None:
    row = {"prompt": "q", "chosen": ["a", "b"], "rejected": ["x", "y"]}
    found = imported(row, pairing="all")
    assert [texts(pair)[1] + texts(pair)[2] for pair in found.pairs] == ["ax", "ay", "bx", "by"]
    assert found.pairs[0].extra == {}


@pytest.mark.parametrize(
    ("answers", "better"),
    [
        ([{"text": "a", "score": 1}, {"text": "b", "score": 2}], "b"),
        ([{"content": "a", "rank": 1}, {"content": "b", "rank": 2}], "a"),
        ([{"response": "a", "rank": 2, "score": 9}, {"response": "b", "rank": 1, "score": 8}], "b"),
        ([{"text": "a", "score": None}, {"text": "b", "score": "2"}, {"text": "c", "score": "3"}], "c"),
    ],
)
def test_answers_with_a_value_each_are_read_by_the_names_in_use(answers: list[Any], better: str) -> None:
    found = imported({"question": "q", "candidates": answers})
    assert texts(found.pairs[0])[1] == better
    assert imported({"question": "q", "candidates": [{"text": "a", "n": 1}, {"text": "b", "n": 2}]}).problems


def test_annotators_who_disagree_are_a_tie() -> None:
    row = {"prompt": "p", "response-1": "x", "response-2": "y", "preference": ["response-1", "response-2"]}
    assert imported(row).ties == 1


@pytest.mark.parametrize(("preference", "chosen"), [(-3, "one"), (-1, "one"), (1, "two"), (3.0, "two")])
def test_signs_prefer_and_sizes_are_the_margin(preference: float, chosen: str) -> None:
    asked = [{"role": "user", "content": "q"}]
    row = {"context": asked, "response1": "one", "response2": "two", "overall_preference": preference}
    [pair] = imported(row).pairs
    assert (plain(pair.chosen), pair.extra["margin"]) == (chosen, abs(preference))
    assert imported({**row, "overall_preference": 0}).ties == 1
    assert "where a number should tell" in imported({**row, "overall_preference": "much"}).problems[0].reason


def test_the_best_rank_is_chosen_and_never_rejected() -> None:
    answers = [
        {"answer": "Dunno", "rank": 3.0},
        {"answer": "The Nile.", "rank": 1.0},
        {"answer": "A lake.", "rank": 2.0},
    ]
    [pair] = imported({"prompt": "\n\nHuman: Name a river.\n\nAssistant: ", "answers": answers, "turns": 1}).pairs
    assert texts(pair) == ("Name a river.", "The Nile.", "Dunno")
    assert (pair.extra["rank_chosen"], pair.extra["rank_rejected"]) == (1.0, 3.0)
    assert imported({"prompt": "q", "answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 1}]}).ties == 1
    assert "fewer than two" in imported({"prompt": "q", "answers": answers[:1]}).problems[0].reason


_RANKED: dict[str, Any] = {
    "prompt": "q",
    "answers": [{"answer": name, "rank": rank} for rank, name in enumerate("abcd", 1)],
    "id": "n",
}


@pytest.mark.parametrize(
    ("pairing", "expected"),
    [
        ("best-worst", ["ad"]),
        ("best-rest", ["ab", "ac", "ad"]),
        ("neighbours", ["ab", "bc", "cd"]),
        ("all", ["ab", "ac", "ad", "bc", "bd", "cd"]),
    ],
)
def test_a_ranking_makes_the_pairs_that_are_asked_for(pairing: Pairing, expected: list[str]) -> None:
    found = imported(_RANKED, pairing=pairing)
    assert [plain(pair.chosen) + plain(pair.rejected) for pair in found.pairs] == expected
    assert found.of_rankings == {"best-worst": 1, "best-rest": 3, "neighbours": 3, "all": 6}
    assert PAIRINGS[pairing] in found.read_as[0][0]
    ids = [pair.id for pair in found.pairs]
    assert (ids[0], len(set(ids))) == ("n", len(ids))
    again = imported(_RANKED, pairing="all", existing=found.pairs)
    assert (len(again.pairs), again.duplicates) == (6 - len(expected), len(expected))
    ranks = [(pair.extra["rank_chosen"], pair.extra["rank_rejected"]) for pair in found.pairs]
    assert ["abcd"[int(better) - 1] + "abcd"[int(worse) - 1] for better, worse in ranks] == expected


@given(st.lists(st.integers(1, 4), min_size=2, max_size=8), st.sampled_from(list(PAIRINGS)))
def test_every_pair_of_a_ranking_prefers_the_better_and_as_many_are_foretold(
    ratings: list[int], pairing: Pairing
) -> None:
    answers = [f"answer {place}" for place in range(len(ratings))]
    found = imported({"instruction": "q", "generations": answers, "ratings": ratings}, pairing=pairing)
    if len(set(ratings)) == 1:
        assert (found.pairs, found.ties, found.rankings) == ([], 1, 0)
        return
    given_to = dict(zip(answers, ratings, strict=True))
    preferred = [(given_to[plain(pair.chosen)], given_to[plain(pair.rejected)]) for pair in found.pairs]
    assert all(better > worse for better, worse in preferred)
    assert (max(ratings), found.of_rankings[pairing]) == (preferred[0][0], len(found.pairs))
    if pairing == "all":
        assert len(preferred) == sum(a > b for a in ratings for b in ratings)
    if pairing == "neighbours":
        levels = sorted(set(ratings))
        assert all(levels.index(better) == levels.index(worse) + 1 for better, worse in preferred)


def test_one_pair_of_a_ranking_that_cannot_be_used_leaves_the_others() -> None:
    answers = [{"answer": text, "rank": rank} for rank, text in enumerate(("a", "b", "a"), 1)]
    found = imported({"prompt": "q", "answers": answers}, pairing="all")
    assert [plain(pair.chosen) + plain(pair.rejected) for pair in found.pairs] == ["ab", "ba"]
    assert "same chosen and rejected" in found.problems[0].reason
    assert [len(imported(_RANKED, pairing="all", limit=most).pairs) for most in (1, 4, 9)] == [1, 4, 6]


def test_what_other_ways_of_pairing_make_is_said_where_they_differ() -> None:
    [told] = ranking_choice(imported(_RANKED, _RANKED | {"prompt": "r"}, pairing="neighbours"))
    assert told == ("Pairs of 2 rankings: best-worst 2, best-rest 6, neighbours 6 (these), all 12; --ranking chooses.")
    assert ranking_choice(imported({"prompt": "q", "answers": _RANKED["answers"][:2]})) == []
    assert ranking_choice(imported({"prompt": "q", "chosen": "a", "rejected": "b"})) == []


def test_ratings_of_equal_size_are_a_tie() -> None:
    assert imported({"instruction": "q", "generations": ["a", "b"], "ratings": [3, 3]}).ties == 1
    assert imported({"instruction": "q", "generations": ["a", "b"], "ratings": [None, 3]}).problems


# Files as they come


def test_rows_that_lack_something_are_told_one_by_one() -> None:
    found = imported(
        {"prompt": "a", "chosen": None, "rejected": "r"},
        {"prompt": None, "chosen": "c", "rejected": "r"},
        {"prompt": "b", "chosen": "", "rejected": "r"},
        {"prompt": "c", "chosen": "c", "rejected": ""},
        {"prompt": "d", "chosen": "c"},
        {"prompt": "", "chosen": "c", "rejected": "r"},
        {"prompt": "e", "chosen": "c", "rejected": "r"},
    )
    assert [plain(pair.prompt) for pair in found.pairs if not pair.lacks] == ["e"]
    assert [problem.line for problem in found.problems] == [2, 6]
    assert (found.undrafted, found.problems[1].reason) == (4, "has an empty prompt")


def test_one_plain_row_does_not_refuse_the_conversations_after_it() -> None:
    def turns(number: int) -> dict[str, Any]:
        sides = {"chosen": "a", "rejected": "b"}
        answers = {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}
        return {"prompt": [{"role": "user", "content": f"q{number}"}], **answers}

    plain_row = {"prompt": "q0", "chosen": "a", "rejected": "b"}
    found = imported(plain_row, *map(turns, range(1, 50)))
    assert (len(found.pairs), found.converted, found.problems) == (50, 1, [])
    filled = imported({**plain_row, "prompt": "<s>[INST] q0 [/INST]"}, *map(turns, range(1, 50)))
    assert (len(filled.pairs), [problem.line for problem in filled.problems]) == (49, [1])
    assert "chat template filled in" in filled.problems[0].reason


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "doubled.csv"
    path.write_text("prompt,chosen,chosen,rejected\nq,a,z,b\n")
    with pytest.raises(WorkbenchError, match="columns 2, 3 are all named 'chosen'"):
        list(read_rows(path))


@pytest.mark.parametrize(("name", "before", "after"), [("x.jsonl", "", ""), ("x.json", "[", "]")])
def test_a_row_that_names_a_column_twice_is_refused(tmp_path: Path, name: str, before: str, after: str) -> None:
    row = '{"prompt": "q", "chosen": "a", "chosen": "z", "rejected": "b"}'
    (tmp_path / name).write_text(f"{before}{row}{after}\n")
    [problem] = import_rows(read_rows(tmp_path / name)).problems
    assert "names a column twice" in problem.reason


def test_prompts_alone_are_to_be_drafted() -> None:
    found = imported({"prompt": "p", "id": "x"}, {"prompt": [{"role": "user", "content": "q"}]})
    assert ([plain(pair.prompt) for pair in found.pairs], found.undrafted) == (["p", "q"], 2)
    assert imported({"prompt": "p", "answer_of_mine": "a"}).problems[0].reason == "has no chosen and rejected"
    told = imported({"prompt": "p", "topic": "rivers"}, maps="chosen= rejected=")
    assert (told.undrafted, told.unused) == (1, ("topic",))
    answered = imported({"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})
    assert "ends with an answer" in answered.problems[0].reason


def test_rows_of_ever_other_columns_are_counted_all_the_same() -> None:
    rows = [{"prompt": f"p{number}", "chosen": "c", "rejected": "r", f"x{number}": "t"} for number in range(1500)]
    found = imported(*rows)
    assert found.read_as == (("prompt, chosen, rejected as named", 1500),)
    assert len(found.unused) == 1500


@pytest.mark.parametrize(
    ("rows", "maps", "mapping_helps"),
    [
        ([{"prompt": "Q", "chosen": "same", "rejected": "same"}], "", False),
        ([{"prompt": "", "chosen": "a", "rejected": "b"}], "", False),
        ([{"prompt": "Q", "chosen": "a", "rejected": "b", "tags": [1]}], "", False),
        ([{"prompt": "Q", "chosen": "a", "rejected": "b", "images": ["x.png"]}], "", False),
        ([{"frage": "Q", "gut": "a", "schlecht": "b"}], "", True),
        ([{"prompt": "Q", "chosen": "a", "rejected": "b"}], "chosen=nowhere", True),
        ([{"chosen": "a", "rejected": "b", "frage": "Q"}], "", True),
        ([{"frage": "Q"}, {"frage": "Q"}, {"prompt": "Q", "chosen": "x", "rejected": "x"}], "", True),
    ],
)
def test_where_nothing_can_be_used_the_hint_fits_the_cause(
    rows: list[dict[str, Any]], maps: str, mapping_helps: bool
) -> None:
    found = imported(*rows, maps=maps)
    assert found.pairs == []
    hint = nothing_usable("x.jsonl", found).hint or ""
    assert ("Say which is which: --map" in hint) is mapping_helps
    assert ("correct what is said of the rows" in hint) is not mapping_helps


def test_a_label_that_is_brackets_without_end_is_refused() -> None:
    for label in ("[" * 100_000, "[not JSON"):
        [problem] = imported(
            {"prompt": "Q", "response_0": "a", "response_1": "b", "better_response_id": label}
        ).problems
        assert "names no answer" in problem.reason
