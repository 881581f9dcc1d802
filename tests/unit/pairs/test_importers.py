"""Raw rows become pairs with ids that last; duplicates and unusable rows are counted."""

import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.pairs.importers import Imported, import_rows, parse_mapping
from workbench.pairs.pair import Message, Pair, from_row, to_line


def imported(*rows: Any, **options: Any) -> Imported:
    return import_rows(enumerate(rows, 1), **options)


def row(number: int = 0, **more: Any) -> dict[str, Any]:
    return {"prompt": f"p{number}", "chosen": "c", "rejected": "r", **more}


def test_ids_come_from_the_contents_and_last() -> None:
    first, second = imported(row(1), row(2)).pairs
    assert first.id != second.id
    assert [pair.id for pair in imported(row(2, note="n"), row(1)).pairs] == [second.id, first.id]


def test_ids_of_the_rows_are_kept_and_made_unique() -> None:
    found = imported(row(1, id="x"), row(2, id="x"), row(3, id=7), row(4, id=None), existing=[Pair("7", "a", "b", "c")])
    ids = [pair.id for pair in found.pairs]
    assert ids[0] == "x"
    assert ids[1].startswith("x-")
    assert ids[2].startswith("7-")
    assert len(set(ids)) == 4


def test_the_same_contents_are_imported_once() -> None:
    found = imported(row(1), row(1, note="again"), row(2), existing=[Pair("1", "p2", "c", "r")])
    assert (len(found.pairs), found.duplicates, found.problems) == (1, 2, [])


def test_known_columns_are_kept_and_unknown_ones_as_they_came() -> None:
    given_row = row(status="Accepted", split="test", tags="tone, x,tone", note="n", source="s", rating=3, model=None)
    [pair] = imported(given_row).pairs
    assert (pair.status, pair.split, pair.tags, pair.note, pair.source) == (
        "accepted",
        "holdout",
        ("tone", "x"),
        "n",
        "s",
    )
    assert pair.extra == {"rating": 3, "model": None}


def test_unknown_columns_become_json() -> None:
    day = datetime.date(2026, 1, 2)
    [pair] = imported(row(day=day, raw=b"ab", nan=float("nan"), deep={"x": [float("inf"), day]})).pairs
    assert pair.extra == {"day": "2026-01-02", "raw": "YWI=", "nan": None, "deep": {"x": [None, "2026-01-02"]}}


def test_columns_of_any_names() -> None:
    mapping = parse_mapping(["prompt=question", "chosen=rejected", "rejected=chosen", "status="])
    raw = {"question": "q", "chosen": "c", "rejected": "r", "status": "whatever", "prompt": "displaced"}
    [pair] = imported(raw, mapping=mapping, conversational=False).pairs
    assert (pair.prompt, pair.chosen, pair.rejected, pair.status, pair.extra) == ("q", "r", "c", "new", {})
    found = imported({"chosen": "c", "rejected": "r"}, mapping=mapping)
    assert found.problems[0].reason == "has no column 'question'; its columns are 'chosen', 'rejected'"


@pytest.mark.parametrize(
    ("given_maps", "told"),
    [
        (["prompt"], "no '='"),
        (["promt=x"], "Did you mean 'prompt'"),
        (["prompt=a", "prompt=b"], "two columns"),
    ],
)
def test_mappings_that_are_none(given_maps: list[str], told: str) -> None:
    with pytest.raises(WorkbenchError, match=told):
        parse_mapping(given_maps)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "done"}, "the status 'done', not one of new"),
        ({"split": "middle"}, "the split 'middle'"),
        ({"tags": [1]}, "--map tags="),
        ({"note": {}}, "a note that is no text"),
        ({"prompt": "\ud800"}, "half a surrogate pair"),
        ({"extra": "\ud800"}, "half a surrogate pair"),
        ({"chosen": "r"}, "nothing to prefer"),
    ],
)
def test_unusable_rows_are_told_by_line_and_reason(change: dict[str, Any], reason: str) -> None:
    found = imported(row(1), row(2, **change), row(3))
    assert len(found.pairs) == 2
    assert [problem.line for problem in found.problems] == [2]
    assert reason in found.problems[0].reason


def test_a_data_set_is_of_one_kind() -> None:
    turns = {
        "prompt": "p",
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    }
    found = imported(row(1), turns, row(2), conversational=False)
    assert (len(found.pairs), found.problems[0].line) == (2, 2)
    assert "of one kind" in found.problems[0].reason
    assert imported(row(1), turns, existing=imported(turns).pairs).duplicates == 1
    plain = [Pair("1", "a", "b", "c")]
    assert imported(row(1), existing=plain).pairs[0].prompt == "p1"
    for existing, wanted in ((plain, True), (found_turns := imported(turns).pairs, False)):
        with pytest.raises(WorkbenchError, match="That data set holds"):
            imported(row(1), existing=existing, conversational=wanted)
    assert imported(row(1), existing=found_turns).pairs[0].prompt == (Message("user", "p1"),)


def test_what_lacks_an_answer_is_imported_to_be_drafted() -> None:
    accepted = {"status": "accepted"}
    good, bad, bare = {"prompt": "p", "chosen": "c"}, {"prompt": "q", "rejected": "r"}, {"prompt": "s"}
    found = imported(good | accepted, row(1), bad, bare | accepted)
    assert (len(found.pairs), found.undrafted, found.problems) == (4, 3, [])
    assert [(pair.lacks, pair.status) for pair in found.pairs] == [
        (("rejected",), "accepted"),
        ((), "new"),
        (("chosen",), "new"),
        (("chosen", "rejected"), "new"),
    ]
    assert found.pairs[0].rejected == (Message("assistant", ""),)
    again = imported({"prompt": "p", "chosen": "c", "rejected": ""}, existing=found.pairs)
    assert (again.duplicates, again.pairs) == (1, [])


def test_plain_text_becomes_conversations_unless_told_otherwise() -> None:
    turns = {
        "prompt": [{"role": "user", "content": "p2"}],
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    }
    found = imported(row(1), turns, row(3))
    assert (found.conversational, found.converted, found.problems) == (True, 2, [])
    assert found.pairs[0].prompt == (Message("user", "p1"),)
    assert (found.pairs[0].chosen, found.pairs[0].rejected) == (
        (Message("assistant", "c"),),
        (Message("assistant", "r"),),
    )
    plain = imported(row(1), conversational=False)
    assert (plain.pairs[0].prompt, plain.conversational, plain.converted) == ("p1", False, 0)


@pytest.mark.parametrize(
    "prompt",
    ["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<s>[INST] Hi [/INST]", "### Instruction:\nHi\n"],
)
def test_a_prompt_with_a_template_filled_in_is_meant_as_it_stands(prompt: str) -> None:
    found = imported(row(prompt=prompt), row(1))
    assert ([pair.prompt for pair in found.pairs], found.templated, found.converted) == ([prompt, "p1"], True, 0)
    told = imported(row(prompt=prompt), conversational=True)
    assert (told.pairs[0].prompt, told.templated, told.converted) == ((Message("user", prompt),), False, 1)


def test_an_explicit_prompt_that_is_a_transcript_becomes_its_turns() -> None:
    prompt = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Name a river.\n\nAssistant:"
    [pair] = imported({"prompt": prompt, "chosen": " The Nile.", "rejected": " Dunno"}).pairs
    assert [(turn.role, turn.content) for turn in pair.prompt] == [  # type: ignore[union-attr]
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "Name a river."),
    ]
    assert pair.chosen == (Message("assistant", "The Nile."),)


def test_the_limit_is_of_pairs() -> None:
    found = imported(row(1), row(1), {}, row(2), row(3), {}, limit=2)
    assert (len(found.pairs), found.duplicates, len(found.problems)) == (2, 1, 1)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "type", "text", "x"]), inner, max_size=3)
        | st.builds(
            lambda role, content: {"role": role, "content": content}, st.sampled_from(["user", "assistant"]), inner
        )
    ),
    max_leaves=6,
)
columns = st.sampled_from(["prompt", "chosen", "rejected", "id", "status", "split", "tags", "note", "source", "x"])


@given(st.lists(st.dictionaries(columns, anything, max_size=10), max_size=4), st.sampled_from([None, True, False]))
def test_whatever_rows_hold_pairs_are_sound_and_the_rest_is_told(rows: list[dict[str, Any]], kind: bool | None) -> None:
    found = imported(*rows, conversational=kind)
    assert len(found.pairs) + len(found.problems) + found.duplicates == len(rows)
    assert len({pair.id for pair in found.pairs}) == len(found.pairs)
    for pair in found.pairs:
        line = to_line(pair)
        line.encode()
        assert "NaN" not in json.dumps(dict(pair.extra))
        assert from_row(json.loads(line), where="here") == pair


def test_turns_in_a_text_are_read_in_either_notation() -> None:
    texts = {"prompt": "Hi", "chosen": "Hello", "rejected": "Bye"}
    roles = {"prompt": ("user", "human"), "chosen": ("assistant", "gpt"), "rejected": ("assistant", "gpt")}
    openai = {name: json.dumps([{"role": roles[name][0], "content": text}]) for name, text in texts.items()}
    sharegpt = {name: json.dumps([{"from": roles[name][1], "value": text}]) for name, text in texts.items()}
    found = imported(openai, sharegpt)
    assert (len(found.pairs), found.duplicates, found.problems) == (1, 1, [])
    assert found.pairs[0].prompt == (Message("user", "Hi"),)
