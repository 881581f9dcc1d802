"""One preference pair, and the row of JSON that it is on disk."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from workbench.chat_templates import RESERVED
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.strength import turned
from workbench.text import one_line

Role = Literal["system", "developer", "user", "assistant", "tool"]
Status = Literal["new", "accepted", "dropped", "flagged"]
Split = Literal["train", "holdout"]

ROLES: tuple[str, ...] = get_args(Role)
STATUSES: tuple[Status, ...] = get_args(Status)
SPLITS: tuple[Split, ...] = get_args(Split)

TEXTS = ("prompt", "chosen", "rejected")
LABELS = ("status", "split", "tags", "note", "source")
"""The fields that hold texts, and those that people note about a pair."""
LABEL_DEFAULTS: dict[str, Any] = {"status": "new", "split": "", "tags": (), "note": "", "source": ""}
"""What a pair has where a row leaves a label out; an absent split is the empty text here."""


_SPACE = "".join(map(chr, range(33)))
_WORD = re.compile(r"[^\x00-\x20]+")
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode

TEMPLATE_COLUMNS = ("tools", "chat_template_kwargs")
"""The further columns that a pair's prompt is rendered with."""
EDITABLE = (*LABELS, *TEXTS, *TEMPLATE_COLUMNS)
"""What can be edited of a pair, by the names of `field_value`."""


REASONING = ("reasoning_content", "reasoning", "thinking")
"""The fields in which turns say what was thought before the answer."""
CALLS = ("tool_calls", "function_call")
_SPEAKING = (*REASONING, *CALLS, "tool_plan")
"""The fields that make an answer of a turn without content."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    `whole` is the turn as a JSON object where it is more than a role and a text (tool calls, reasoning, a name, …), as
    it came; empty for a plain turn. `turn_from` makes such turns, `with_content` and `with_fields` change them.
    """

    role: str
    content: str
    whole: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """What the turn has beside role and content."""
        if not self.whole:
            return {}
        return {name: value for name, value in json.loads(self.whole).items() if name not in _TURN}

    @property
    def text(self) -> str:
        """All that the turn says, as text: its content, and its other fields by name."""
        if not self.whole:
            return self.content
        fields = {name: value if isinstance(value, str) else _dumped(value) for name, value in self.fields.items()}
        before = [f"[{name}] {fields.pop(name)}" for name in REASONING if name in fields]
        content = [self.content] if self.content else []
        return "\n".join((*before, *content, *(f"[{name}] {value}" for name, value in fields.items())))

    def with_content(self, content: str) -> Message:
        """The turn with another content; its other fields stay."""
        if content == self.content or not self.whole:
            return Message(self.role, content, self.whole)
        return Message(self.role, content, _dumped(json.loads(self.whole) | {"content": content}))

    def with_fields(self, role: str, content: str, fields: Mapping[str, Any]) -> Message:
        """This turn with role, content and all other fields exchanged; what stays, stays in its place and form.

        Raises `ValueError` as `turn_from` does.
        """
        before = json.loads(self.whole) if self.whole else {"role": self.role, "content": self.content}
        after = {"role": role, "content": content, **fields}
        if content == self.content:
            after.pop("content")
            if "content" in before:
                after["content"] = before["content"]
        kept = {name: after[name] for name in before if name in after}
        return turn_from(kept | after)


Text = str | tuple[Message, ...]
"""A prompt or a response: plain text (standard rows) or turns (conversational rows)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with a chosen and a rejected response, and what people noted about it.

    `prompt`, `chosen` and `rejected` are all of one kind: plain text, or tuples of messages. `id` stays the same
    across edits. `extra` holds the columns that the workbench does not know, as they came. `split` None: decided by
    the prompt's group when a run starts.
    """

    id: str
    prompt: Text
    chosen: Text
    rejected: Text
    status: Status = "new"
    split: Split | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    source: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def conversational(self) -> bool:
        """Whether prompt and responses are turns, not plain text."""
        return not isinstance(self.prompt, str)

    @property
    def last_user_turn(self) -> str:
        """What the response answers: the last user message, or the whole of a plain prompt."""
        if isinstance(self.prompt, str):
            return self.prompt
        return next((turn.content for turn in reversed(self.prompt) if turn.role == "user"), "")

    @property
    def lacks(self) -> tuple[str, ...]:
        """Which of chosen and rejected has no words yet: a pair that lacks one is to be drafted, and never trains."""
        return tuple(name for name in ("chosen", "rejected") if not has_words(getattr(self, name)))

    @property
    def alone(self) -> bool | None:
        """Whether the one answer that is there is judged good (chosen) or bad (rejected); None for both and for none.

        Methods that take each answer by itself (kto) train on such a pair."""
        lacks = self.lacks
        return lacks == ("rejected",) if len(lacks) == 1 else None

    def swapped(self) -> Pair:
        """The same pair with chosen and rejected exchanged, and what columns say of either."""
        return replace(self, chosen=self.rejected, rejected=self.chosen, extra=turned(self.extra))


def field_value(pair: Pair, name: str) -> Any:
    """One of `EDITABLE`, to be compared and written down: an absent split is the empty text, a template's column its
    JSON, empty where there is none."""
    if name in TEMPLATE_COLUMNS:
        return column_text(pair.extra, name)
    return (pair.split or "") if name == "split" else getattr(pair, name)


def with_values(pair: Pair, values: Mapping[str, Any]) -> Pair:
    """The pair with other `field_value`s."""
    known = {name: value for name, value in values.items() if name not in TEMPLATE_COLUMNS}
    if "split" in known:
        known["split"] = known["split"] or None
    extra = dict(pair.extra)
    for name in TEMPLATE_COLUMNS:
        if name in values and values[name] != column_text(extra, name):
            if values[name]:
                extra[name] = json.loads(values[name])
            else:
                del extra[name]
    return replace(pair, **known, extra=extra)


def column_text(columns: Mapping[str, Any], name: str) -> str:
    """The value of a column as JSON; empty where it is null or there is none."""
    value = columns.get(name)
    return "" if value is None else _ENCODE(value)


def plain(text: Text) -> str:
    """What a prompt or response says without roles, turns parted by blank lines."""
    return text if isinstance(text, str) else "\n\n".join(turn.text for turn in text)


def has_words(text: Text) -> bool:
    """Whether there is anything but ASCII white space in a text, or a call or reasoning in one of its turns."""
    if isinstance(text, str):
        return _WORD.search(text) is not None
    for turn in text:  # noqa: SIM110 (a generator costs as much again, on every answer that is imported)
        if _WORD.search(turn.content) or (turn.whole and _speaks(turn.fields)):
            return True
    return False


def count_words(text: Text) -> int:
    """How many words, parted by ASCII white space, a text has; 0 where `has_words` says that there are none."""
    return len(_WORD.findall(plain(text))) if has_words(text) else 0


ID_LENGTH = 12
"""Digits of `contents_hash` that are the id of a pair that has no other."""


def contents_hash(prompt: Text, chosen: Text, rejected: Text) -> str:
    """A hash of what a pair says, in hexadecimal. Raises `UnicodeEncodeError` for half a character."""
    parts = [
        part if isinstance(part, str) else [[turn.role, turn.whole or turn.content] for turn in part]
        for part in (prompt, chosen, rejected)
    ]
    return hashlib.sha256(_ENCODE(parts).encode()).hexdigest()


def template_arguments(columns: Mapping[str, Any]) -> dict[str, Any]:
    """What TRL passes on to the chat template from a row's columns `tools` and `chat_template_kwargs`.

    Raises `WorkbenchError`, with the pair's id and the field, where these hold what no template can be given.
    """
    if all(columns.get(name) is None for name in TEMPLATE_COLUMNS):
        return {}
    arguments = _decoded(columns, "chat_template_kwargs", {})
    if not isinstance(arguments, Mapping) or not all(isinstance(name, str) for name in arguments):
        raise _bad_argument(columns, "chat_template_kwargs", f"is {_kind(arguments)}, not a mapping of names to values")
    if reserved := sorted(RESERVED & arguments.keys()):
        keys = "the reserved key " if len(reserved) == 1 else "the reserved keys "
        raise _bad_argument(columns, "chat_template_kwargs", f"sets {keys}{', '.join(map(repr, reserved))}")
    tools = _decoded(columns, "tools", None)
    if tools is None:
        return dict(arguments)
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise _bad_argument(columns, "tools", f"is {_kind(tools)}, not a list of JSON schemas")
    return {**arguments, "tools": tools}


def _decoded(columns: Mapping[str, Any], name: str, nothing: Any) -> Any:
    value = columns.get(name)
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _bad_argument(columns, name, f"is text, but no JSON: {error}") from error
    return nothing if value is None or value == "" else value


def _bad_argument(columns: Mapping[str, Any], name: str, reason: str) -> WorkbenchError:
    identity = columns.get("id")
    pair = f"Pair {one_line(identity, 60)}, field" if isinstance(identity, str) and identity else "Field"
    way_out = {
        "tools": "Make it a list of JSON schemas, or take the field out.",
        "chat_template_kwargs": "Leave what the chat template reads, such as enable_thinking; or take the field out.",
    }
    return WorkbenchError("A pair cannot be rendered", f"{pair} {name!r} {reason}.", way_out[name])


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return f"the number {value}"
        case str():
            return "a text"
        case list():
            return "a list of something else"
        case _:
            return "an object"


def to_row(pair: Pair) -> dict[str, Any]:
    """The pair as a TRL preference row; fields at their defaults are left out."""
    row: dict[str, Any] = {
        "id": pair.id,
        "prompt": _to_json(pair.prompt),
        "chosen": _to_json(pair.chosen),
        "rejected": _to_json(pair.rejected),
    }
    if pair.status != "new":
        row["status"] = pair.status
    if pair.split is not None:
        row["split"] = pair.split
    if pair.tags:
        row["tags"] = list(pair.tags)
    if pair.note:
        row["note"] = pair.note
    if pair.source:
        row["source"] = pair.source
    return row | dict(pair.extra)


def to_line(pair: Pair) -> str:
    """The pair as one line of JSONL, newline included."""
    return json.dumps(to_row(pair), ensure_ascii=False) + "\n"


def from_row(row: Mapping[str, Any], *, where: str) -> Pair:
    """The pair in an explicit row (see `importers` for every other shape).

    A row without `id` has one by its contents, the same that an import gives. `where` ("pairs/x.jsonl, line 3") begins
    the message of the `WorkbenchError` that bad rows raise.
    """
    prompt, chosen, rejected = (_from_json(row, name, where) for name in TEXTS)
    if not (isinstance(prompt, str) == isinstance(chosen, str) == isinstance(rejected, str)):
        raise _bad(where, "prompt", "prompt, chosen and rejected must be all text or all lists of messages")
    identity = row.get("id")
    if identity is None or identity == "":
        identity = contents_hash(prompt, chosen, rejected)[:ID_LENGTH]
    elif isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    elif not isinstance(identity, str):
        raise _bad(where, "id", "must be a text or a whole number")
    status, split, tags = row.get("status") or "new", row.get("split") or None, row.get("tags") or []
    if status not in STATUSES:
        raise _bad(where, "status", f"is {status!r}; it must be one of {', '.join(STATUSES)}")
    if split is not None and split not in SPLITS:
        raise _bad(where, "split", f"is {split!r}; it must be one of {', '.join(SPLITS)}")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _bad(where, "tags", "must be a list of texts")
    note, source = row.get("note") or "", row.get("source") or ""
    for name, value in (("note", note), ("source", source)):
        if not isinstance(value, str):
            raise _bad(where, name, "must be a text")
    return Pair(
        id=identity,
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        status=status,
        split=split,
        tags=tuple(tags),
        note=note,
        source=source,
        extra={name: value for name, value in row.items() if name not in _KNOWN},
    )


_KNOWN = frozenset({"id", *TEXTS, *LABELS})
_TURN = frozenset({"role", "content"})
_ROLE = {role: role for role in ROLES}
_MEDIA = re.compile("image|video|audio", re.IGNORECASE)


def turn_to_json(turn: Message) -> dict[str, Any]:
    """A turn as the JSON object that it is in a row, and as chat templates take it."""
    return json.loads(turn.whole) if turn.whole else {"role": turn.role, "content": turn.content}


def turn_from(value: Any) -> Message:
    """The turn in a JSON object, with every field that it has; a field that is null is none, but for the content.

    A content that is a list of texts is joined. Raises `ValueError` with the reason where it is no turn, or has
    anything but text for its content.
    """
    if isinstance(value, dict) and value.keys() == _TURN:
        role, content = value["role"], value["content"]
        # The role's own text of ROLES: millions of turns then share a few of them.
        if isinstance(role, str) and isinstance(content, str) and (known := _ROLE.get(role)) is not None:
            return Message(known, content)
    return _whole_turn(value)


def _whole_turn(value: Any) -> Message:
    if not isinstance(value, Mapping):
        raise ValueError("is no JSON object with a role and a content")
    fields = {str(name): field for name, field in value.items() if field is not None or name == "content"}
    role = fields.get("role")
    if not isinstance(role, str) or role not in _ROLE:
        raise ValueError(f"has the role {role!r}; roles are {', '.join(ROLES)}")
    content = fields.get("content")
    if isinstance(content, list):
        content = fields["content"] = _joined(content)
    calls = fields.get("tool_calls", [])
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise ValueError("has tool_calls that are no list of calls")
    if not isinstance(content, str) and (content is not None or not _speaks(fields)):
        raise ValueError("has no text as its content")
    if isinstance(content, str) and fields.keys() == _TURN:
        return Message(_ROLE[role], content)
    try:
        return Message(_ROLE[role], content or "", _dumped(fields))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("has a field that JSON cannot hold") from None


def _joined(parts: list[Any]) -> str:
    kinds = [part.get("type") if isinstance(part, Mapping) else type(part).__name__ for part in parts]
    media = [str(kind) for kind in kinds if _MEDIA.search(str(kind))]
    if media:
        names = ", ".join(dict.fromkeys(media))
        raise ValueError(f"has {plural(len(media), 'part')} that are no text ({names}); text alone is trained")
    texts = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    words = [text for text in texts if isinstance(text, str)]
    if not parts or len(words) != len(parts):
        other = ", ".join(dict.fromkeys(repr(kind) for kind in kinds if kind != "text"))
        raise ValueError(f"has no text as its content, but parts of the type {other}" if other else "has no content")
    return "".join(words)


def _speaks(fields: Mapping[str, Any]) -> bool:
    values = (fields.get(name) for name in _SPEAKING)
    return any(value.strip(_SPACE) if isinstance(value, str) else value for value in values)


_dumped = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
"""A value as JSON. Raises `ValueError` and `TypeError` where JSON cannot hold it."""


def _to_json(text: Text) -> str | list[dict[str, Any]]:
    return text if isinstance(text, str) else [turn_to_json(turn) for turn in text]


def _from_json(row: Mapping[str, Any], name: str, where: str) -> Text:
    value = row.get(name)
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise _bad(where, name, "is missing" if value is None else "must be a text or a list of messages")
    try:
        return tuple(map(turn_from, value))
    except ValueError:
        for number, turn in enumerate(value, 1):
            try:
                turn_from(turn)
            except ValueError as error:
                raise _bad(where, name, f"has a message, number {number}, that {error}") from None
        raise


def _bad(where: str, name: str, reason: str) -> WorkbenchError:
    return WorkbenchError(
        "Not a preference pair", f"{where}: field {name!r} {reason}.", "Correct the line, or import the file anew."
    )
