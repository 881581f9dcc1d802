"""Steps that can be done, undone and replayed: which fields of which pairs became what, by id and not by row."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from workbench.pairs.lines import pair_in
from workbench.pairs.pair import SPLITS, STATUSES, TEMPLATE_COLUMNS, TEXTS, Text, turn_from, turn_to_json

SWAP = "swap"
"""As a change's field: chosen and rejected are exchanged. Its values tell the chosen text by a number (`checksum`)."""

DAMAGE = (
    zlib.error,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
)
"""What reading a step raises where its bytes are not those that were written."""


@dataclass(frozen=True, slots=True)
class Values:
    """A column of values, each distinct one held once."""

    distinct: list[Any]
    codes: list[int]

    @classmethod
    def of(cls, values: Iterable[Any]) -> Values:
        """The column of these values, which can be hashed."""
        numbers: dict[Any, int] = {}
        codes = [numbers.setdefault(value, len(numbers)) for value in values]
        return cls(list(numbers), codes)

    def __iter__(self) -> Iterator[Any]:
        return map(self.distinct.__getitem__, self.codes)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of some pairs, before and after."""

    field: str
    ids: list[str]
    before: Values
    after: Values

    @classmethod
    def of(cls, field: str, values: Iterable[tuple[str, Any, Any]]) -> FieldChange:
        """The change of a field to (id, value before, value after)."""
        ids, befores, afters = zip(*values, strict=True)
        return cls(field, list(ids), Values.of(befores), Values.of(afters))

    def reversed(self) -> FieldChange:
        """What takes this change back."""
        return FieldChange(self.field, self.ids, self.after, self.before)


class PairLine(NamedTuple):
    """A line added or removed: the pair's id, the id of the pair that it comes after ("": none known), its bytes."""

    id: str
    after: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class EditStep:
    """What one call changed, undone and redone as a whole. `pairs` is how many it changed."""

    description: str
    pairs: int
    changes: tuple[FieldChange, ...] = ()
    added: tuple[PairLine, ...] = ()
    removed: tuple[PairLine, ...] = ()

    def __str__(self) -> str:
        return self.description if self.pairs == 1 else f"{self.description} ({self.pairs:,} pairs)"

    def reversed(self) -> EditStep:
        """The step that takes this one back."""
        changes = tuple(change.reversed() for change in reversed(self.changes))
        return EditStep(self.description, self.pairs, changes, self.removed, self.added)

    def encoded(self) -> bytes:
        """The step's changes as bytes, for the journal."""
        value = {
            "changes": [[c.field, c.ids, _packed(c.field, c.before), _packed(c.field, c.after)] for c in self.changes],
            "added": [[line.id, line.after, line.raw.decode()] for line in self.added],
            "removed": [[line.id, line.after, line.raw.decode()] for line in self.removed],
        }
        return zlib.compress(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), 1)

    @classmethod
    def decoded(cls, description: str, pairs: int, payload: bytes) -> EditStep:
        """The step that `encoded` made `payload` of. Raises one of `DAMAGE` where it made no such thing."""
        value = json.loads(zlib.decompress(payload))
        changes = [
            FieldChange(name, _texts(ids), _unpacked(name, len(ids), *before), _unpacked(name, len(ids), *after))
            for name, ids, before, after in value["changes"]
        ]
        lines = [tuple(PairLine(*_line(*line)) for line in value[name]) for name in ("added", "removed")]
        _texts([description])
        return cls(description, int(pairs), tuple(changes), *lines)


def checksum(text: Text) -> int:
    """A number that tells a text from others (by chance, one in four billion is the same)."""
    contents = [text] if isinstance(text, str) else [turn.text for turn in text]
    return zlib.crc32("\0".join(contents).encode())


def to_json(field: str, value: Any) -> Any:
    """A field's value as JSON holds it."""
    if field in TEXTS and not isinstance(value, str):
        return [turn_to_json(turn) for turn in value]
    return list(value) if field == "tags" else value


def _from_json(field: str, value: Any) -> Any:
    if field in TEXTS and not isinstance(value, str):
        return tuple(map(turn_from, value))
    return tuple(value) if field == "tags" else value


def _packed(field: str, values: Values) -> tuple[list[Any], list[int] | int]:
    distinct = [to_json(field, value) for value in values.distinct]
    return distinct, len(values.codes) if len(distinct) == 1 else values.codes


def _unpacked(field: str, count: int, distinct: Sequence[Any], codes: list[int] | int) -> Values:
    values = [_checked(field, _from_json(field, value)) for value in distinct]
    each = [0] * codes if isinstance(codes, int) else codes
    if len(each) != count or any(type(code) is not int or not 0 <= code < len(values) for code in set(each)):
        raise ValueError(f"a change of {field} is not of as many values as pairs")
    return Values(values, each)


def _checked(field: str, value: Any) -> Any:
    """The value where a field can have it. Raises `ValueError`, `KeyError` for another field."""
    if not _FITS[field](value):
        raise ValueError(f"{value!r} is no {field}")
    return value


_FITS: dict[str, Callable[[Any], bool]] = {
    SWAP: lambda value: type(value) is int,
    "status": lambda value: value in STATUSES,
    "split": lambda value: value in ("", *SPLITS),
    "tags": lambda value: all(isinstance(tag, str) for tag in value),
    "note": lambda value: isinstance(value, str),
    "source": lambda value: isinstance(value, str),
    **dict.fromkeys(TEXTS, lambda _: True),
    **dict.fromkeys(TEMPLATE_COLUMNS, lambda value: value == "" or json.loads(value) is not None),
}


def _line(identity: str, after: str, raw: str) -> tuple[str, str, bytes]:
    _texts([identity, after])
    line = raw.encode()
    pair_in(line)
    return identity, after, line


def _texts(values: list[Any]) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("what is to be text is not")
    return values
