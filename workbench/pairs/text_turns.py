"""Messages that a text holds as JSON, which is how CSV and some dumps write them; and texts that only look like it."""

from __future__ import annotations

import json
import re
from typing import Any

from workbench.pairs.lines import UnusableError

_TURN_KEYS = {"role", "content"}, {"from", "value"}, {"role", "tool_calls"}, {"role", "function_call"}
"""What makes a turn: any of these sets. The second is ShareGPT's."""
_SPEAKERS = frozenset(
    ("system", "developer", "user", "human", "assistant", "gpt", "bot", "model", "chatgpt", "tool", "function")
)
_KEY = "(?:role|content|from|value)"
_AS_JSON = re.compile(rf'\s*\[?\s*\{{\s*"{_KEY}"\s*:')
_AS_PYTHON = re.compile(rf"\s*(?:array\(\s*)?[\[(]?\s*\{{\s*'{_KEY}'\s*:")
_CLOSED = re.compile(r"(?:[\]})]|dtype=object\))\s*\Z")


def turns_in_text(value: Any, name: str) -> Any:
    """Messages, where a text holds a list of them, or one, as JSON. Any other value as it is.

    `name` is the column's. Raises `UnusableError` for messages as Python or NumPy prints them, and where JSON breaks
    off: such a text would train as it stands.
    """
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{", "(", "a"):
        return value
    if _AS_PYTHON.match(value) and _CLOSED.search(value):
        raise UnusableError(
            f"has messages in its {name} as Python prints them ([{{'role': …}}]), which is not JSON; write them with "
            "json.dumps, or the table with pandas' to_json(…, orient='records', lines=True) in place of to_csv"
        )
    try:
        turns = json.loads(value)
    except (ValueError, RecursionError) as error:
        if _AS_JSON.match(value) and _CLOSED.search(value):
            raise UnusableError(f"has messages in its {name} as text that is not quite JSON ({error})") from None
        return value
    if isinstance(turns, dict):
        speaker = turns.get("role", turns.get("from"))
        return [turns] if _is_turn(turns) and str(speaker).casefold() in _SPEAKERS else value
    return turns if isinstance(turns, list) and turns and all(map(_is_turn, turns)) else value


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and any(keys <= value.keys() for keys in _TURN_KEYS)
