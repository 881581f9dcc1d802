"""Pairs as the rows that other trainers read: LLaMA-Factory, Axolotl, OpenAI's preference files, TRL's KTO."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.exporters import Format, export_pairs, export_rows, exported, format_of
from workbench.pairs.lines import UnusableError, write_atomically
from workbench.pairs.pair import TEMPLATE_COLUMNS, TEXTS, Message, Pair, Text, has_words, to_row, turn_to_json

Row = dict[str, Any]
DATASET_INFO = "dataset_info.json"
"""Where LLaMA-Factory looks up what a file's columns are."""


def _trl(pair: Pair) -> list[Row]:
    return [exported(pair)]


def _llama_factory(pair: Pair) -> list[Row]:
    beside = _beside(pair)
    if beside.get("tools") is not None:
        beside["tools"] = json.dumps(beside["tools"], ensure_ascii=False)
    if isinstance(pair.prompt, str):
        return [{"instruction": pair.prompt, "input": "", "chosen": pair.chosen, "rejected": pair.rejected} | beside]
    chosen, rejected = _one_turn(pair.chosen, "chosen"), _one_turn(pair.rejected, "rejected")
    if any(turn.whole for turn in (*pair.prompt, chosen, rejected)):
        raise UnusableError("has calls, reasoning or names in its turns, which LLaMA-Factory's rows have no place for")
    roles = [turn.role for turn in pair.prompt]
    roles = roles[1:] if roles[:1] == ["system"] else roles
    if len(roles) % 2 == 0 or roles != (["user", "assistant"] * len(roles))[: len(roles)]:
        raise UnusableError("has turns that do not alternate, which LLaMA-Factory refuses")
    return [_message_row(pair.prompt, chosen, rejected) | beside]


def _axolotl(pair: Pair) -> list[Row]:
    prompt = _conversation(pair, "Axolotl")
    chosen, rejected = _one_turn(pair.chosen, "chosen"), _one_turn(pair.rejected, "rejected")
    return [_message_row(prompt, chosen, rejected) | _beside(pair)]


def _openai(pair: Pair) -> list[Row]:
    asked: Row = {"messages": list(map(turn_to_json, _conversation(pair, "OpenAI")))}
    tools = _beside(pair).get("tools")
    if tools is not None:
        asked["tools"] = tools
    chosen, rejected = _one_turn(pair.chosen, "chosen"), _one_turn(pair.rejected, "rejected")
    better, worse = turn_to_json(chosen), turn_to_json(rejected)
    return [{"input": asked, "preferred_output": [better], "non_preferred_output": [worse]}]


def _kto(pair: Pair) -> list[Row]:
    beside = {name: value for name, value in _beside(pair).items() if name in TEMPLATE_COLUMNS}
    row = to_row(pair)
    answers = (("chosen", pair.chosen, True), ("rejected", pair.rejected, False))
    return [
        {"prompt": row["prompt"], "completion": row[name], "label": good} | beside
        for name, answer, good in answers
        if has_words(answer)
    ]


SHAPES: dict[str, Callable[[Pair], list[Row]]] = {
    "trl": _trl,
    "llama-factory": _llama_factory,
    "axolotl": _axolotl,
    "openai": _openai,
    "kto": _kto,
}
"""What makes rows of a pair, by the name of who reads them. Raises `UnusableError` where such rows cannot hold it."""


READERS: dict[str, str] = {
    "trl": "TRL and the workbench, with all columns",
    "llama-factory": "LLaMA-Factory, with its entry in dataset_info.json",
    "axolotl": "Axolotl (chat_template.default)",
    "openai": "OpenAI's preference files",
    "kto": "TRL's KTO: a row an answer, and answers judged alone too",
}
"""Who reads rows of each shape."""


@dataclass(frozen=True, slots=True)
class Written:
    """What an export wrote for whom: how many pairs, which it left out with the reason, and where
    LLaMA-Factory's entry is."""

    shape: str
    pairs: int
    unheld: Sequence[tuple[str, str]] = field(default=())
    described: Path | None = None
    guarded: int = 0
    """Cells of CSV with a guard before them, since a spreadsheet would take them for formulas."""

    def told(self, name: str) -> list[str]:
        """What else is to be said of it, of the data set `name`."""
        said = []
        if self.unheld:
            identity, reason = self.unheld[0]
            left = plural(len(self.unheld), "pair")
            said.append(f"{left} left out, which rows for {self.shape} cannot hold: {identity} {reason}.")
        if self.guarded:
            texts = plural(self.guarded, "text begins as a formula does and has", "texts begin as formulas do and have")
            said.append(f"{texts} an ' before it, which an import here takes off again (--raw: none).")
        if self.described:
            said.append(f"Its entry {name!r} is in {self.described}.")
        return said


def format_for(path: Path, shape: str, given: str | None = None) -> Format:
    """The format that a file for the readers of a shape is written in; raises `WorkbenchError` as `format_of` does,
    and where that is not what they read."""
    form = format_of(path, given)
    if shape != "trl" and form != "jsonl":
        raise WorkbenchError(
            f"Rows for {shape} are JSON lines", f"{path} would be {form}.", "Name a file ending in .jsonl."
        )
    return form


def complete(pair: Pair, shape: str) -> bool:
    """Whether a pair has the answers that rows of a shape are made of: both, or one where each has a row."""
    return len(pair.lacks) <= (1 if shape == "kto" else 0)


def write(path: Path, pairs: Sequence[Pair], shape: str, form: Format, *, name: str, raw: bool = False) -> Written:
    """Writes pairs of the data set `name` for who reads rows of a shape; `raw` leaves formulas in CSV as they are.

    Raises `WorkbenchError`.
    """
    if shape == "trl":
        return Written(shape, len(pairs), guarded=export_pairs(path, pairs, form, raw=raw))
    rows, unheld = shaped(pairs, shape)
    export_rows(path, rows)
    described = None
    if shape == "llama-factory":
        tools = any(row.get("tools") for row in rows)
        described = describe_to_llama_factory(path, name, conversational=pairs[0].conversational, tools=tools)
    return Written(shape, len(pairs) - len(unheld), unheld, described)


def shaped(pairs: Sequence[Pair], shape: str) -> tuple[list[Row], list[tuple[str, str]]]:
    """The rows of some pairs, and the ids of those that such rows cannot hold, with the reason.

    Columns that the workbench does not know are left out of all but TRL's. Raises `WorkbenchError` where none is held.
    """
    rows: list[Row] = []
    unheld: list[tuple[str, str]] = []
    for pair in pairs:
        try:
            if shape != "trl" and not complete(pair, shape):
                raise UnusableError(f"lacks a {pair.lacks[0]} answer")
            rows += SHAPES[shape](pair)
        except UnusableError as error:
            unheld.append((pair.id, str(error)))
    if unheld and not rows:
        raise WorkbenchError("Nothing to export", f"Pair {unheld[0][0]!r} {unheld[0][1]}.", "Choose another --shape.")
    return rows, unheld


def describe_to_llama_factory(path: Path, name: str, *, conversational: bool, tools: bool) -> Path:
    """Notes beside an exported file what LLaMA-Factory is to read in it, other entries kept; returns where.

    Raises `WorkbenchError` where what is there is no such file.
    """
    place = path.with_name(DATASET_INFO)
    try:
        entries = json.loads(place.read_text("utf-8")) if place.exists() else {}
    except (OSError, ValueError) as error:
        entries = str(error)
    if not isinstance(entries, dict):
        raise WorkbenchError(f"{place} is no list of data sets", f"{entries}"[:200], "Move it away, or correct it.")
    columns = {"chosen": "chosen", "rejected": "rejected"}
    entry: Row = {"file_name": path.name, "ranking": True}
    if conversational:
        tags = {"role_tag": "role", "content_tag": "content", "system_tag": "system", "user_tag": "user"}
        tags |= {"assistant_tag": "assistant", "observation_tag": "tool", "function_tag": "function_call"}
        columns = {"messages": "messages"} | columns | ({"tools": "tools"} if tools else {})
        entry |= {"formatting": "sharegpt", "columns": columns, "tags": tags}
    else:
        entry["columns"] = {"prompt": "instruction", "query": "input"} | columns
    text = json.dumps({**entries, name: entry}, indent=2, ensure_ascii=False) + "\n"
    write_atomically(place, [text.encode()])
    return place


def _beside(pair: Pair) -> Row:
    """What is noted of a pair, and what its chat template is given."""
    row = to_row(pair)
    noted = {name: value for name, value in row.items() if name not in (*TEXTS, *pair.extra)}
    given = {name: pair.extra[name] for name in TEMPLATE_COLUMNS if pair.extra.get(name) is not None}
    if isinstance(given.get("tools"), str):
        given["tools"] = json.loads(given["tools"])
    return noted | given


def _conversation(pair: Pair, reader: str) -> tuple[Message, ...]:
    if isinstance(pair.prompt, str):
        raise UnusableError(
            f"is plain text, and {reader}'s rows are conversations (check --fix plain-text converts it)"
        )
    return pair.prompt


def _one_turn(answer: Text, name: str) -> Message:
    if isinstance(answer, str) or len(answer) != 1:
        raise UnusableError(f"has a {name} answer of several turns, where such rows have one")
    return answer[0]


def _message_row(prompt: Sequence[Message], chosen: Message, rejected: Message) -> Row:
    turns = list(map(turn_to_json, prompt))
    return {"messages": turns, "chosen": turn_to_json(chosen), "rejected": turn_to_json(rejected)}
