"""A turn as people read it: its reasoning, its text, its calls, and what else it has, folded to a line each or open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.figures import plural
from workbench.pairs.pair import REASONING, Message, Pair, Text

FOLDED, OPEN = "▸", "▾"
_LINE = 60
"""Characters of something folded that are shown."""


def readable(text: Text, *, folded: bool) -> str:
    """A prompt or a response, turns parted by blank lines. Untrusted as it came."""
    return text if isinstance(text, str) else "\n\n".join(readable_turn(turn, folded=folded) for turn in text)


def readable_turn(turn: Message, *, folded: bool) -> str:
    """A turn: reasoning before its content, calls and other fields after it."""
    if not turn.whole:
        return turn.content
    fields = turn.fields
    before = [_part(name, fields.pop(name), folded) for name in REASONING if name in fields]
    calls = fields.pop("tool_calls", None) or []
    after = [_part("calls", call, folded) for call in map(_call, calls)]
    after += [_part(name, value, folded) for name, value in fields.items()]
    return "\n".join((*before, *([turn.content] if turn.content else []), *after))


def has_more(pair: Pair) -> bool:
    """Whether a turn of the pair has something to fold."""
    texts = (pair.prompt, pair.chosen, pair.rejected)
    return any(not isinstance(text, str) and any(turn.whole for turn in text) for text in texts)


def tool_names(columns: Mapping[str, Any]) -> list[str]:
    """The names of the tools in a row's column `tools`."""
    tools = columns.get("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError):
            return []
    return [str(name) for tool in tools if (name := _name_of(tool))] if isinstance(tools, list) else []


def _part(name: str, value: Any, folded: bool) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=None if folded else 2)
    if not folded:
        return f"{OPEN} {name}\n{text}" if "\n" in text or len(text) > _LINE else f"{OPEN} {name} {text}"
    line = " ".join(text.split())
    if len(line) <= _LINE:
        return f"{FOLDED} {name} {line}"
    return f"{FOLDED} {name} {line[:_LINE]}… ({plural(len(line.split()), 'word')})"


def _call(call: Any) -> str:
    """A call as name(arguments)."""
    function = call.get("function", call) if isinstance(call, Mapping) else call
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return json.dumps(call, ensure_ascii=False)
    arguments = function.get("arguments", "")
    if isinstance(arguments, Mapping):
        arguments = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    elif not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return f"{function['name']}({arguments})"


def _name_of(tool: Any) -> Any:
    if not isinstance(tool, Mapping):
        return None
    function = tool.get("function", tool)
    return function.get("name") if isinstance(function, Mapping) else None
