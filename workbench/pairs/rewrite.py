"""Changes fields of one line of JSON and leaves every other byte of it as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from workbench.pairs.strength import turned_values

ABSENT = object()
"""As a field's new value: the field is taken out."""

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class _Member(NamedTuple):
    key: str
    begin: int
    """Where the key's opening quote is."""
    value: int
    end: int
    """Just after the value."""


def rewritten(line: bytes, fields: Mapping[str, Any], *, turn: bool = False) -> bytes:
    """`line`, a JSON object, with `fields` set (or taken out, where `ABSENT`); `turn`: with all that is said of chosen
    and of rejected exchanged, these themselves among it (see `strength`).

    Order of keys, spacing, numbers and escapes of all other fields and the line's ending stay. New fields go to the
    end, parted as the first ones are.
    """
    text = line.decode()
    members = _members(text)
    values = {member.key: text[member.value : member.end] for member in members}
    changed: dict[str, str | None] = {**turned_values(values)} if turn else {}
    for key, value in fields.items():
        if value is not ABSENT:
            changed[key] = json.dumps(value, ensure_ascii=False)
        elif key in values:
            changed[key] = None
    return _put_together(text, members, changed).encode()


def _put_together(text: str, members: list[_Member], changed: Mapping[str, str | None]) -> str:
    between, colon = ", ", ": "
    if len(members) > 1:
        between = text[members[0].end : members[1].begin]
    if members:
        first = members[0]
        colon = ":" + text[first.begin : first.value].rpartition(":")[2]
    inside = text.index("{") + 1
    head = text[: members[0].begin if members else inside]
    tail = text[members[-1].end if members else inside :]
    last = {member.key: member for member in members}
    kept: list[tuple[str, str]] = []
    """Each member's own text, and what parts it from the one before."""
    for number, member in enumerate(members):
        parted = text[members[number - 1].end : member.begin] if number else between
        new = changed.get(member.key, "")
        if new is None:
            continue
        whole = text[member.begin : member.end]
        if new and last[member.key] is member:
            whole = text[member.begin : member.value] + new
        kept.append((parted, whole))
    for key, new in changed.items():
        if new is not None and key not in last:
            kept.append((between, json.dumps(key, ensure_ascii=False) + colon + new))
    body = "".join(parted + whole for parted, whole in kept)
    return head + (body[len(kept[0][0]) :] if kept else "") + tail


def _members(text: str) -> list[_Member]:
    at = _skip(text, text.index("{") + 1)
    members = []
    while text[at] == '"':
        key, after = _DECODER.raw_decode(text, at)
        value = _skip(text, _skip(text, after) + 1)
        _, end = _DECODER.raw_decode(text, value)
        members.append(_Member(key, at, value, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return members


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()
