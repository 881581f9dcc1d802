"""What is exported comes back the same through the importer."""

from pathlib import Path
from typing import Any

import pytest

from workbench.errors import WorkbenchError
from workbench.pairs.exporters import FORMATS, export_pairs, format_of
from workbench.pairs.importers import import_rows
from workbench.pairs.pair import Message, Pair, template_arguments, turn_from, turn_to_json
from workbench.pairs.readers import read_rows

TURNS = tuple(Message(role, f'{role}, "quoted"\nnext') for role in ("system", "user"))
CONVERSATIONS = [
    Pair(
        "a", TURNS, (Message("assistant", "good"),), (Message("assistant", "-"),), status="accepted", tags=("t,u", "v")
    ),
    Pair("b", TURNS, (Message("assistant", "é\u2028"),), (Message("assistant", "bad"),), split="holdout", note="n"),
]
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Lima"}}}
OTHER = {"id": "c2", "type": "function", "function": {"name": "time", "arguments": {"zone": None, "n": 1}}}
WHOLE = [
    Pair(
        "a",
        (
            Message("user", "Weather?"),
            turn_from({"role": "assistant", "content": None, "tool_calls": [CALL]}),
            turn_from({"role": "tool", "tool_call_id": "c1", "content": "18 °C"}),
        ),
        (turn_from({"role": "assistant", "reasoning_content": "so", "content": "18 °C", "meta": [{"a": 1}]}),),
        (turn_from({"role": "assistant", "content": "", "tool_calls": [OTHER]}),),
        extra={"tools": [CALL["function"]], "chat_template_kwargs": {"mood": "kind"}, "score": [{"x": 1}]},
    ),
    Pair(
        "b",
        (Message("user", "Time?"),),
        (Message("assistant", "Noon."),),
        (turn_from({"role": "assistant", "tool_calls": [OTHER], "meta": "text here"}),),
        extra={"tools": [OTHER["function"]], "chat_template_kwargs": {"enable_thinking": False}},
    ),
]
TEXTS = [Pair("1", "p", "c\r\n", "", source="s"), Pair("2", "p", "c", "r", status="flagged")]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("pairs", [CONVERSATIONS, TEXTS])
def test_there_and_back(tmp_path: Path, form: str, pairs: list[Pair]) -> None:
    path = tmp_path / f"x.{form}"
    export_pairs(path, pairs, format_of(path))
    found = import_rows(read_rows(path), conversational=pairs[0].conversational)
    assert [(pair, pair.extra) for pair in found.pairs] == [(pair, {}) for pair in pairs]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("plain", [True, False])
def test_a_column_with_the_name_of_a_part_stays_a_column(tmp_path: Path, form: str, plain: bool) -> None:
    parts: list[Any] = ["q", "a", "b", "c"]
    if not plain:
        parts = [(Message("user" if said == "q" else "assistant", said),) for said in parts]
    beside = {name: f"{name} said" for name in ("input", "system", "history", "Context", "response_0", "response_1")}
    beside["better_response_id"] = "0"
    for name in (*beside, None):
        extra = beside if name is None else {name: beside[name]}
        path = tmp_path / f"{name}.{form}"
        export_pairs(
            path, [Pair("one", *parts[:3], extra=extra), Pair("two", parts[0], parts[1], parts[3])], format_of(path)
        )
        found = import_rows(read_rows(path), conversational=not plain)
        assert not found.problems
        one, two = found.pairs
        assert (one.id, one.prompt, one.chosen, one.rejected, one.extra) == ("one", *parts[:3], extra)
        assert (two.prompt, {value for value in two.extra.values() if value}) == (parts[0], set())


@pytest.mark.parametrize("form", FORMATS)
def test_whole_turns_there_and_back(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"x.{form}"
    export_pairs(path, WHOLE, format_of(path))
    found = import_rows(read_rows(path))
    assert not found.problems
    assert [as_said(pair) for pair in found.pairs] == [as_said(pair) for pair in WHOLE]


def as_said(pair: Pair) -> list[Any]:
    """What a pair says, whatever the order of its turns' fields; a content that is null is none."""
    turns = [
        {name: value for name, value in turn_to_json(turn).items() if value is not None}
        for text in (pair.prompt, pair.chosen, pair.rejected)
        for turn in text
        if isinstance(turn, Message)
    ]
    return [pair.id, turns, template_arguments(pair.extra)]


def test_columns_of_several_types_are_kept_as_json(tmp_path: Path) -> None:
    pairs = [Pair(str(number), "p", "c", "r", extra={"x": value}) for number, value in enumerate([1, "a", None, [2]])]
    export_pairs(tmp_path / "x.parquet", pairs, "parquet")
    rows = [row for _, row in read_rows(tmp_path / "x.parquet") if isinstance(row, dict)]
    assert [row["x"] for row in rows] == ["1", '"a"', None, "[2]"]


def test_the_ending_or_the_option_decides() -> None:
    assert format_of(Path("x.csv")) == "csv"
    assert format_of(Path("x.csv"), "parquet") == "parquet"
    for path, given in (("x", None), ("x.txt", None), ("x.csv", "xml")):
        with pytest.raises(WorkbenchError, match="jsonl, parquet, csv"):
            format_of(Path(path), given)


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="Cannot write"):
        export_pairs(tmp_path / "no" / "x.csv", TEXTS, "csv")
