"""Rows for other trainers come back the same through the importer; what they cannot hold is said."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.strategies import texts
from workbench.errors import WorkbenchError
from workbench.pairs.importers import import_rows
from workbench.pairs.outward import SHAPES, describe_to_llama_factory, shaped
from workbench.pairs.pair import Message, Pair, turn_from

said = texts.map("x".__add__)
labels = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["new", "accepted", "flagged"]),
        "split": st.sampled_from([None, "train", "holdout"]),
        "tags": st.lists(st.sampled_from(["a", "b c"]), unique=True).map(tuple),
        "note": st.sampled_from(["", "n"]),
    }
)
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


@st.composite
def conversations(draw: st.DrawFn) -> Pair:
    system = [Message("system", draw(said))] if draw(st.booleans()) else []
    turns = [Message(role, draw(said)) for role in ("user", "assistant", "user")[draw(st.sampled_from([0, 2])) :]]
    better = draw(said)
    answers = [(Message("assistant", better),), (Message("assistant", better + draw(said)),)]
    extra = {"tools": TOOLS} if draw(st.booleans()) else {}
    return Pair("i", (*system, *turns), *answers, **draw(labels), extra=extra)


def there_and_back(pair: Pair, shape: str) -> list[Pair]:
    rows, unheld = shaped([pair], shape)
    assert not unheld
    rows = [json.loads(json.dumps(row)) for row in rows]
    found = import_rows(enumerate(rows, 1), conversational=pair.conversational)
    assert not found.problems
    return found.pairs


def tools_of(pair: Pair) -> Any:
    tools = pair.extra.get("tools")
    return json.loads(tools) if isinstance(tools, str) else tools


@given(conversations(), st.sampled_from(["trl", "llama-factory", "axolotl", "openai"]))
def test_what_is_exported_is_imported_the_same(pair: Pair, shape: str) -> None:
    [back] = there_and_back(pair, shape)
    assert (back.prompt, back.chosen, back.rejected) == (pair.prompt, pair.chosen, pair.rejected)
    assert tools_of(back) == tools_of(pair)
    if shape != "openai":
        assert replace(back, extra={}) == replace(pair, extra={})


@given(said, said, said)
def test_plain_text_too(prompt: str, chosen: str, rejected: str) -> None:
    pair = Pair("i", prompt, chosen, rejected + chosen)
    for shape in ("trl", "llama-factory"):
        assert there_and_back(pair, shape) == [pair]


@given(conversations())
def test_answers_judged_alone(pair: Pair) -> None:
    good, bad = there_and_back(pair, "kto")
    assert (good.prompt, good.chosen, good.lacks) == (pair.prompt, pair.chosen, ("rejected",))
    assert (bad.prompt, bad.rejected, bad.lacks) == (pair.prompt, pair.rejected, ("chosen",))
    for alone in (good, bad):
        [back] = there_and_back(alone, "kto")
        assert (back.prompt, back.chosen, back.rejected) == (alone.prompt, alone.chosen, alone.rejected)


USER, GOOD, BAD = (Message("user", "q"),), (Message("assistant", "a"),), (Message("assistant", "b"),)
CALL = (turn_from({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}),)


@pytest.mark.parametrize(
    ("pair", "shape", "reason"),
    [
        (Pair("p", "q", "a", "b"), "openai", "is plain text"),
        (Pair("p", USER, GOOD + USER + GOOD, BAD), "axolotl", "chosen answer of several turns"),
        (Pair("p", USER, GOOD, CALL), "llama-factory", "has calls"),
        (Pair("p", USER + USER, GOOD, BAD), "llama-factory", "do not alternate"),
    ],
)
def test_what_rows_cannot_hold_is_said(pair: Pair, shape: str, reason: str) -> None:
    fine = Pair("fine", USER, GOOD, BAD)
    rows, [(identity, told)] = shaped([pair, fine], shape)
    assert (len(rows), identity, reason in told) == (1, "p", True)
    with pytest.raises(WorkbenchError, match="Nothing to export"):
        shaped([pair], shape)


def test_calls_are_kept_where_there_is_a_place() -> None:
    for shape in ("axolotl", "openai", "kto"):
        assert CALL[0] in [turn for pair in there_and_back(Pair("p", USER, CALL, BAD), shape) for turn in pair.chosen]
    assert set(SHAPES) == {"trl", "llama-factory", "axolotl", "openai", "kto"}


def test_llama_factory_is_told_what_to_read(tmp_path: Path) -> None:
    info = tmp_path / "dataset_info.json"
    info.write_text('{"other": {"file_name": "o.json"}}')
    assert describe_to_llama_factory(tmp_path / "x.jsonl", "x", conversational=True, tools=False) == info
    entries = json.loads(info.read_text())
    assert entries["other"] == {"file_name": "o.json"}
    assert (entries["x"]["file_name"], entries["x"]["ranking"], entries["x"]["formatting"]) == (
        "x.jsonl",
        True,
        "sharegpt",
    )
    describe_to_llama_factory(tmp_path / "x.jsonl", "x", conversational=False, tools=False)
    columns = json.loads(info.read_text())["x"]["columns"]
    assert columns == {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"}
    info.write_text("[1]")
    with pytest.raises(WorkbenchError, match="no list of data sets"):
        describe_to_llama_factory(tmp_path / "x.jsonl", "x", conversational=True, tools=False)
