"""A pair as text that a person reads and changes in any editor, and back.

A header names what was noted about the pair; then comes a section for each turn. Whatever an editor could not show or
would change stands in the text as `text.editable` spells it; newlines around a turn's content are set aside, so that
the one an editor adds at the end of a file is not part of an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from workbench.errors import WorkbenchError
from workbench.pairs.pair import ROLES, SPLITS, STATUSES, TEXTS, Message, Pair, Text
from workbench.text import editable, edited, one_line

_HEADER = """\
# Change the texts below and save. Leave them as they are, and nothing happens.
# A turn begins with a line like the ones below that have ###; add turns, or take some out.
# A line of a text that looks like one of these begins with \\ instead. Lines with # are remarks up here only.
"""
_BY_PROMPT = "by prompt"
_NAMES = ("status", "split", "tags", "note")
_TITLE = "The text is no pair yet"
_SECTION = re.compile(r"###[ \t]*(?P<part>prompt|chosen|rejected)\b(?P<rest>.*)", re.ASCII | re.IGNORECASE)
_ROLE = re.compile(r"\s*(?:[·:-]\s*)?(?P<role>\w*)\s*(?:[·:-]\s*(?P<field>\S.*?)\s*)?")
_FIELD = re.compile(r'(?P<name>[A-Za-z_][\w.]*|"(?:[^"\\]|\\.)+")(?P<json>\s*\(JSON\))?', re.ASCII | re.IGNORECASE)
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_TAKEN_FOR_SECTION = re.compile(r"^(?=\\*###[ \t]*(?:prompt|chosen|rejected)\b)", re.ASCII | re.I | re.M)
_MARKED = re.compile(r"^\\(?=\\*###[ \t]*(?:prompt|chosen|rejected)\b)", re.ASCII | re.I | re.M)
_OUTER_NEWLINES = re.compile(r"\A\n+|\n+\Z")
_OUTER_SPACE = re.compile(r"\A\s+|\s+\Z")


def to_text(pair: Pair) -> str:
    """The pair as text, for `from_text` to read."""
    lines = [_HEADER, *(f"{name}: {value}".rstrip() + "\n" for name, value in _header(pair).items())]
    for part in TEXTS:
        text: Text = getattr(pair, part)
        for turn in (Message("", text),) if isinstance(text, str) else text:
            head = " · ".join(filter(None, (part, turn.role)))
            lines.append(f"\n### {head}\n{_shown(turn.content)}\n")
            lines += [f"\n### {head} · {_field_shown(name, value)}\n" for name, value in turn.fields.items()]
    return "".join(lines)


def from_text(text: str, pair: Pair) -> Pair:
    """`pair` with what `text` says; what it does not mention, id and unknown columns among it, stays.

    Raises:
        WorkbenchError: names the line and what is wrong with it.
    """
    header, sections = _parsed(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"))
    values: dict[str, Any] = {part: _part(part, sections, pair) for part in TEXTS}
    before = _header(pair)
    for name, (number, value) in header.items():
        if value != before[name]:
            values[name] = _value(name, value, number)
    return replace(pair, **values)


def tags_to_text(tags: Sequence[str]) -> str:
    """Tags on one line, parted by commas."""
    return ", ".join(_one_line(tag).replace(",", "\u27e82C\u27e9") for tag in tags)


def tags_from_text(text: str) -> tuple[str, ...]:
    """The tags that `tags_to_text` made the line of, or a person typed; each once."""
    return tuple(dict.fromkeys(edited(tag.strip()) for tag in text.split(",") if tag.strip()))


@dataclass
class _Field:
    """A field of a turn as it stands in the text; `number` is the line of its head."""

    number: int
    as_json: bool
    lines: list[str] = field(default_factory=list)

    @property
    def value(self) -> Any:
        text = _content(self.lines)
        if not self.as_json:
            return text
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _wrong(self.number, f"what follows it is no JSON: {error}", "Correct it, or take it out.") from None


@dataclass
class _Section:
    """A turn as it stands in the text; `number` is the line of its head."""

    number: int
    part: str
    role: str
    lines: list[str] = field(default_factory=list)
    fields: dict[str, _Field] = field(default_factory=dict)
    """What the turn has beside its text, by name."""

    @property
    def content(self) -> str:
        return _content(self.lines)

    def message(self, usual: str, before: Message | None) -> Message:
        """The turn, by `usual` where it names no role; what is as in the turn `before` keeps its form and place."""
        role, content = self.role or usual, self.content
        fields = {name: field.value for name, field in self.fields.items()}
        if not fields and (before is None or not before.whole):
            return Message(role, content)
        try:
            return (before or Message(role, content)).with_fields(role, content, fields)
        except ValueError as error:
            raise _wrong(self.number, f"the turn {error}", "Correct it, or take the turn out.") from None


def _content(lines: Sequence[str]) -> str:
    return edited(_MARKED.sub("", "\n".join(lines).strip("\n")))


def _parsed(lines: list[str]) -> tuple[dict[str, tuple[int, str]], list[_Section]]:
    header: dict[str, tuple[int, str]] = {}
    sections: list[_Section] = []
    body: list[str] = []
    for number, line in enumerate(lines, 1):
        if (head := _SECTION.fullmatch(line)) is not None:
            part, (role, name) = head["part"].lower(), _role(head["rest"], line, number)
            if name:
                body = _begun_field(sections, part, name, line, number).lines
                continue
            sections.append(_Section(number, part, role))
            body = sections[-1].lines
        elif sections:
            body.append(line)
        elif line.startswith("###"):
            raise _wrong(number, f"“{one_line(line, 40)}” begins no turn", f"Name one of {', '.join(TEXTS)} there.")
        elif line.strip() and not line.startswith("#"):
            name, colon, value = line.partition(":")
            name = name.strip().lower()
            if not colon or name not in _NAMES:
                known = ", ".join(_NAMES)
                raise _wrong(number, f"“{one_line(line, 40)}” is none of {known}", "Texts go below a line with ###.")
            header[name] = (number, value.strip())
    return header, sections


def _begun_field(sections: Sequence[_Section], part: str, name: str, line: str, number: int) -> _Field:
    """A field of the last turn of `sections`, which is of `part`, with nothing in it yet."""
    match = _FIELD.fullmatch(name)
    if match is None:
        raise _wrong(number, f"“{one_line(line, 40)}” names no field", 'Put an odd name into quotes: "a name".')
    if not sections or sections[-1].part != part:
        raise _wrong(number, f"“{one_line(line, 40)}” follows no turn of {part}", f"Begin one: ### {part}")
    try:
        known = json.loads(match["name"]) if match["name"].startswith('"') else match["name"]
    except ValueError:
        raise _wrong(number, f"“{one_line(line, 40)}” names no field", "Quote it as JSON does.") from None
    if known in sections[-1].fields or known in ("role", "content"):
        raise _wrong(number, f"the turn has its {one_line(known, 40)} already", "Take one of them out.")
    begun = sections[-1].fields[known] = _Field(number, match["json"] is not None)
    return begun


def _role(rest: str, line: str, number: int) -> tuple[str, str]:
    """Role and field that a head names; empty where it names none."""
    match = _ROLE.fullmatch(rest)
    if match is None or (match["role"] and match["role"].lower() not in ROLES):
        raise _wrong(
            number,
            f"“{one_line(line, 40)}” has no known role",
            f"Roles are {', '.join(ROLES)}. Where the line is part of a text, put \\ before it.",
        )
    return match["role"].lower(), match["field"] or ""


def _part(part: str, sections: list[_Section], pair: Pair) -> Text:
    turns = [section for section in sections if section.part == part]
    before: Text = getattr(pair, part)
    if not turns and before != ():
        raise WorkbenchError(_TITLE, f"There is no line “### {part}”.", f"Put the {part} text below such a line.")
    if isinstance(before, str):
        for section in turns[1:]:
            raise _wrong(section.number, f"there is a second {part}", "This pair is plain text: it has no turns.")
        if turns[0].role or turns[0].fields:
            raise _wrong(turns[0].number, "there is a role", f"This pair is plain text: write “### {part}” alone.")
        return turns[0].content
    usual = "user" if part == "prompt" else "assistant"
    return tuple(section.message(usual, old) for section, old in zip_longest(turns, before[: len(turns)]))


def _header(pair: Pair) -> dict[str, str]:
    return {
        "status": pair.status,
        "split": pair.split or _BY_PROMPT,
        "tags": tags_to_text(pair.tags),
        "note": _one_line(pair.note),
    }


def _value(name: str, value: str, number: int) -> Any:
    if name == "tags":
        return tags_from_text(value)
    if name == "note":
        return edited(value)
    known = STATUSES if name == "status" else (*SPLITS, _BY_PROMPT)
    if value not in known:
        raise _wrong(number, f"“{one_line(value, 40)}” is no {name}", f"Write one of {', '.join(known)}.")
    return None if value == _BY_PROMPT else value


def _shown(content: str) -> str:
    held = _OUTER_NEWLINES.sub(lambda match: "\u240a" * len(match.group()), editable(content))
    return _TAKEN_FOR_SECTION.sub(r"\\", held)


def _field_shown(name: str, value: Any) -> str:
    known = name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)
    if isinstance(value, str):
        return f"{known}\n{_shown(value)}"
    return f"{known} (JSON)\n{_shown(json.dumps(value, indent=2, ensure_ascii=False))}"


def _one_line(text: str) -> str:
    shown = editable(text, one_line=True)
    return _OUTER_SPACE.sub(
        lambda match: "".join(f"\u27e8{ord(character):02X}\u27e9" for character in match.group()), shown
    )


def _wrong(number: int, what: str, hint: str) -> WorkbenchError:
    return WorkbenchError(_TITLE, f"Line {number}: {what}.", hint)
