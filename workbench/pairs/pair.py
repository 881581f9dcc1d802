"""One preference pair, and the row of JSON that it is on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from workbench.errors import WorkbenchError

Role = Literal["system", "user", "assistant", "tool"]
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

TEMPLATE_COLUMNS = ("tools", "chat_template_kwargs")
"""The further columns that a pair's prompt is rendered with."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


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

    def swapped(self) -> Pair:
        """The same pair with chosen and rejected exchanged."""
        return replace(self, chosen=self.rejected, rejected=self.chosen)


def plain(text: Text) -> str:
    """The words of a prompt or response without roles, turns parted by blank lines."""
    return text if isinstance(text, str) else "\n\n".join(turn.content for turn in text)


def has_words(text: Text) -> bool:
    """Whether there is anything but ASCII white space in a text."""
    return bool(plain(text).strip(_SPACE))


def template_arguments(columns: Mapping[str, Any]) -> dict[str, Any]:
    """What TRL passes on to the chat template from a row's columns `tools` and `chat_template_kwargs`.

    Raises `WorkbenchError` where `tools` is text and no JSON.
    """
    arguments = dict(columns.get("chat_template_kwargs") or {})
    tools = columns.get("tools")
    if tools:
        try:
            arguments["tools"] = json.loads(tools) if isinstance(tools, str) else tools
        except ValueError as error:
            raise WorkbenchError(
                "The tools of a pair cannot be read",
                f"Field tools: it is text, but no JSON: {error}.",
                "Make it a list of JSON schemas.",
            ) from error
    return arguments


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

    `where` ("pairs/x.jsonl, line 3") begins the message of the `WorkbenchError` that bad rows raise.
    """
    prompt, chosen, rejected = (_from_json(row, name, where) for name in TEXTS)
    if not (isinstance(prompt, str) == isinstance(chosen, str) == isinstance(rejected, str)):
        raise _bad(where, "prompt", "prompt, chosen and rejected must be all text or all lists of messages")
    identity = row.get("id")
    if not isinstance(identity, str) or not identity:
        raise _bad(where, "id", "must be a non-empty text")
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


def _to_json(text: Text) -> str | list[dict[str, str]]:
    return text if isinstance(text, str) else [{"role": turn.role, "content": turn.content} for turn in text]


def _from_json(row: Mapping[str, Any], name: str, where: str) -> Text:
    value = row.get(name)
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise _bad(where, name, "is missing" if value is None else "must be a text or a list of messages")
    turns = []
    for turn in value:
        if not isinstance(turn, dict) or turn.keys() != _TURN:
            raise _bad(where, name, 'has a message that is not {"role", "content"}')
        # The role's own text of ROLES: millions of turns then share four of them.
        role, content = _ROLE.get(turn["role"]) if isinstance(turn["role"], str) else None, turn["content"]
        if role is None or not isinstance(content, str):
            known = ", ".join(ROLES)
            raise _bad(where, name, f"has a message whose role is not one of {known} or whose content is no text")
        turns.append(Message(role, content))
    return tuple(turns)


def _bad(where: str, name: str, reason: str) -> WorkbenchError:
    return WorkbenchError(
        "Not a preference pair", f"{where}: field {name!r} {reason}.", "Correct the line, or import the file anew."
    )
