"""A turn keeps every field, from the file that is imported to the line that is saved."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.pairs.strategies import pairs as pairs_of
from tests.unit.pairs.strategies import turns
from workbench.errors import WorkbenchError
from workbench.pairs.checks.columns_of_rows import columns_of
from workbench.pairs.checks.run import run_checks
from workbench.pairs.importers import Imported, import_rows
from workbench.pairs.pair import (
    Message,
    Pair,
    count_words,
    from_row,
    has_words,
    plain,
    template_arguments,
    to_row,
    turn_from,
    turn_to_json,
)
from workbench.pairs.store import PairStore, load_pairs, load_rows, write_pairs

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lima"}'}}
ASKED = [{"role": "user", "content": "Weather in Lima?"}]
NO_IDEA = [{"role": "assistant", "content": "No idea."}]


def imported(*rows: dict[str, Any]) -> Imported:
    return import_rows(enumerate(rows, 1))


def answers(chosen: dict[str, Any], rejected: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {"prompt": ASKED, "chosen": [chosen], "rejected": [rejected], **columns}


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "18 °C"},
        {"role": "assistant", "reasoning_content": "two and two", "content": "4"},
        {
            "role": "assistant",
            "thinking": "two and two",
            "content": "4",
            "prefix": True,
            "weights": {"b": 1, "a": [None]},
        },
        {"role": "developer", "content": "Be brief."},
    ],
)
def test_a_turn_keeps_every_field(turn: dict[str, Any]) -> None:
    row = {"id": "a", "prompt": ASKED, "chosen": [turn], "rejected": NO_IDEA}
    pair = from_row(row, where="line 1")
    assert json.dumps(to_row(pair)) == json.dumps(row)
    assert has_words(pair.chosen)
    assert count_words(pair.chosen)
    assert len({pair.chosen, from_row(row, where="line 1").chosen}) == 1


def test_rows_that_differ_in_tools_alone_are_two_pairs(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    rows = [
        answers({"role": "assistant", "content": "Rain."}, NO_IDEA[0], **columns)
        for columns in ({}, {"tools": tools}, {"tools": tools}, {"chat_template_kwargs": {"enable_thinking": False}})
    ]
    found = imported(*rows)
    assert (len(found.pairs), found.duplicates) == (3, 1)
    assert len({pair.id for pair in found.pairs}) == 3
    again = import_rows(enumerate(rows, 1), existing=found.pairs)
    assert (again.pairs, again.duplicates) == ([], 4)
    write_pairs(tmp_path / "x.jsonl", [*found.pairs, replace(found.pairs[1], id="again")])
    for report in (
        run_checks(columns_of(load_rows(tmp_path / "x.jsonl"))),
        run_checks(load_pairs(tmp_path / "x.jsonl")[0]),
    ):
        assert {each.check: each.ids for each in report.findings}["duplicate"] == ("again",)


def test_a_call_is_an_answer() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    tools = [{"type": "function", "function": {"name": "weather"}}]
    found = imported(answers(call, NO_IDEA[0], tools=tools))
    assert not found.problems
    assert not found.undrafted
    assert [turn_to_json(turn) for turn in found.pairs[0].chosen] == [call]
    assert found.pairs[0].extra == {"tools": tools}


def test_reasoning_alone_makes_a_difference() -> None:
    def told(reasoning: str, content: str) -> dict[str, Any]:
        return {"role": "assistant", "reasoning_content": reasoning, "content": content}

    rows = [
        answers(told("two and two", "4"), told("guess", "4")),
        answers(told("a few", "4"), told("guess", "4")),
        answers(told("two and two", "4"), told("guess", "4")),
    ]
    found = imported(*rows)
    assert len(found.pairs) == 2
    assert found.duplicates == 1
    assert not found.problems
    same = imported(answers(told("guess", "4"), told("guess", "4")))
    assert "the same chosen and rejected" in same.problems[0].reason


def test_a_field_that_is_null_is_none() -> None:
    turn = {"role": "assistant", "content": "Hi", "tool_calls": None, "name": None}
    assert turn_from(turn) == Message("assistant", "Hi")


@pytest.mark.parametrize(
    ("turn", "role", "fields"),
    [
        ({"from": "human", "value": "Hi"}, "user", {}),
        ({"role": "prompter", "content": "Hi"}, "user", {}),
        ({"role": "Developer", "content": "Hi"}, "developer", {}),
        ({"from": "observation", "value": "Hi"}, "tool", {}),
        ({"role": "ipython", "content": "Hi"}, "tool", {}),
        ({"from": "gpt", "value": "Hi", "weight": 0}, "assistant", {"weight": 0}),
        ({"role": "assistant", "content": "Hi", "tool_calls": json.dumps([CALL])}, "assistant", {"tool_calls": [CALL]}),
    ],
)
def test_roles_by_their_common_names(turn: dict[str, Any], role: str, fields: dict[str, Any]) -> None:
    said = imported({"prompt": [turn, *ASKED], "chosen": "a", "rejected": "b"}).pairs[0].prompt
    assert not isinstance(said, str)
    assert (said[0].role, said[0].content, said[0].fields) == (role, "Hi", fields)


def test_a_sharegpt_call_is_one() -> None:
    row = {
        "prompt": [{"from": "human", "value": "Weather in Lima?"}],
        "chosen": [{"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Lima"}}'}],
        "rejected": [{"from": "gpt", "value": "No idea."}],
    }
    answer = imported(row).pairs[0].chosen[0]
    assert isinstance(answer, Message)
    assert answer.role == "assistant"
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Lima"}}}
    assert answer.fields == {"tool_calls": [call]}
    row["chosen"] = [{"from": "function_call", "value": "weather in Lima"}]
    assert "message, number 1 of its chosen, that should call a tool" in imported(row).problems[0].reason


def test_parts_of_text_are_joined_and_images_refused() -> None:
    texts = [{"type": "text", "text": "What "}, {"type": "text", "text": "now?"}]
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    good = {"prompt": [{"role": "user", "content": texts}], "chosen": "a", "rejected": "b"}
    bad = good | {"prompt": [{"role": "user", "content": [*texts, image, image]}]}
    found = imported(good, bad)
    assert found.pairs[0].prompt == (Message("user", "What now?"),)
    assert found.problems[0].reason == (
        "has a message, number 1 of its prompt, that has 2 parts that are no text (image_url); text alone is trained"
    )
    assert (
        from_row({"id": "a", **good, "chosen": NO_IDEA, "rejected": NO_IDEA}, where="").prompt == found.pairs[0].prompt
    )


def test_images_beside_the_turns_are_refused() -> None:
    row = answers({"role": "assistant", "content": "A cat"}, {"role": "assistant", "content": "A dog"})
    placed = row | {"prompt": [{"role": "user", "content": "<image>What is it?"}]}
    found = imported(placed | {"images": ["a.png"]}, row | {"images": ["a.png", "b.png"]}, placed, row | {"images": []})
    assert [problem.reason for problem in found.problems] == [
        "has 1 image in its column 'images'; text alone is trained",
        "has 2 images in its column 'images'; text alone is trained",
        "has 1 <image> in its prompt, a place for an image; text alone is trained",
    ]
    assert len(found.pairs) == 1


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"tools": 5}, "field 'tools' is the number 5, not a list of JSON schemas"),
        ({"tools": "{}"}, "field 'tools' is an object, not a list of JSON schemas"),
        ({"tools": "["}, "field 'tools' is text, but no JSON"),
        (
            {"chat_template_kwargs": {"tokenize": False}},
            "field 'chat_template_kwargs' sets the reserved key 'tokenize'",
        ),
        ({"chat_template_kwargs": {"tools": []}}, "field 'chat_template_kwargs' sets the reserved key 'tools'"),
        ({"chat_template_kwargs": ["a"]}, "field 'chat_template_kwargs' is a list of something else, not a mapping"),
    ],
)
def test_what_no_template_can_be_given_is_refused_with_pair_and_field(columns: dict[str, Any], reason: str) -> None:
    row = answers({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, id="p7", **columns)
    problems = imported(row).problems
    assert problems[0].reason.startswith("cannot be rendered: Pair p7, ")
    assert reason in problems[0].reason
    with pytest.raises(WorkbenchError, match="Pair p7"):
        template_arguments(row)


def test_what_a_turn_says_has_its_reasoning_first() -> None:
    turn = turn_from({"role": "assistant", "content": "4", "reasoning_content": "two and two", "tool_calls": [CALL]})
    assert plain((turn,)) == f"[reasoning_content] two and two\n4\n[tool_calls] {json.dumps([CALL])}"


def test_a_changed_content_leaves_the_rest_in_place() -> None:
    turn = turn_from({"reasoning_content": "two", "content": "4", "role": "assistant", "x": 1})
    assert list(turn_to_json(turn.with_content("5")).items()) == [
        ("reasoning_content", "two"),
        ("content", "5"),
        ("role", "assistant"),
        ("x", 1),
    ]
    call = turn_from({"role": "assistant", "content": None, "tool_calls": [CALL]})
    assert call.with_content("") is not None
    assert turn_to_json(call.with_content("")) == turn_to_json(call)
    assert call.with_fields("assistant", "", call.fields) == call
    assert call.with_fields("assistant", "Hi", {}) == Message("assistant", "Hi")


@settings(max_examples=30, deadline=None)
@given(st.lists(pairs_of(turns), min_size=1, max_size=4, unique_by=lambda pair: pair.id), st.data())
def test_whole_turns_survive_edits_undo_and_the_file(found: list[Pair], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        write_pairs(path, found)
        other = data.draw(turns)
        edited = replace(found[0], chosen=other)
        with PairStore(path, quiet=1000) as store:
            assert list(store.pairs) == found
            store.update([edited.id], lambda _: edited, "edit")
            store.swap([0])
            assert store.pairs[0] == edited.swapped()
            # Before the file follows, the journal has it.
            assert load_pairs(path)[0][0] == edited.swapped()
            store.file.turn("undo")
        assert load_pairs(path)[0] == [edited, *found[1:]]
