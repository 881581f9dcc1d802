"""Rows out of JSON that is read a piece at a time: lines, lists, and one object around them or around columns."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

from workbench.pairs.lines import UnusableError, decode_object, refuse_surrogates
from workbench.pairs.unpacking import CUT_SHORT

NumberedRow = tuple[int, dict[str, Any] | UnusableError]
"""The line a row begins on, or its number, and the row or why there is none."""

MAX_ROW = 16 * 2**20
"""Bytes, or characters. What is longer is not a row of anything; read, it could take twenty times that in memory."""

_PIECE = 1 << 18
_BEGINS_LIST = re.compile(r"\[\s*(\S)")
_BLANK = re.compile(r"[\s,]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
NOT_UTF8 = re.compile("[\udc80-\udcff]")
_SPLITS = r"train(?:ing)?|test(?:ing)?|validation|valid|val|dev|eval(?:uation)?|holdout"
_HOLDS_ROWS = re.compile(rf"(?:{_SPLITS})(?:[-_.]\w+)?|data|rows|examples|instances|records|dataset", re.IGNORECASE)
"""Names of keys whose lists of objects are rows."""
_HELD_OUT = re.compile(rf"(?!train)(?:{_SPLITS})(?![a-z])", re.IGNORECASE)
_ROWS_INSIDE = re.compile(rf'\s*\{{\s*"(?:{_HOLDS_ROWS.pattern})"\s*:\s*\[\s*(?:\{{|\Z)', re.IGNORECASE)
_TURN_KEYS = frozenset(("role", "from"))


def cut_short(error: Exception) -> UnusableError:
    """What to tell of the row where compressed data breaks off."""
    return UnusableError(f"cannot be read, nor what follows it: the compressed data is cut short or damaged ({error})")


def too_long(what: str = "is") -> UnusableError:
    """What to tell of a row past `MAX_ROW`."""
    return UnusableError(f"{what} longer than {MAX_ROW // 2**20} MiB")


def reader_of(begin: str, *, whole: bool) -> Callable[[IO[bytes]], Iterator[NumberedRow]]:
    """What reads JSON that begins so: a row a line, or values over several lines. `whole`: nothing comes after it."""
    text = begin.lstrip()
    first, _, rest = text.partition("\n")
    if text.startswith("[") or _ROWS_INSIDE.match(text):
        return values
    if not rest.strip():
        return values if whole else lines
    try:
        json.loads(first)
    except RecursionError:
        return lines
    except json.JSONDecodeError as error:
        # A text cannot go on in the next line: where one is cut, so is the line.
        goes_on = error.pos >= len(first.rstrip()) and not error.msg.startswith("Unterminated")
        return values if goes_on and not _is_object(rest.lstrip().partition("\n")[0]) else lines
    except ValueError:
        return lines
    return lines


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


class _Doubled(dict[str, Any]):
    """An object that names a column twice: of two values one is lost."""


def _made(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    return found if len(found) == len(members) else _Doubled(members)


def _once(row: dict[str, Any]) -> dict[str, Any] | UnusableError:
    if isinstance(row, _Doubled):
        return UnusableError("names a column twice, so that one of two values would be lost")
    return row


def lines(file: IO[bytes]) -> Iterator[NumberedRow]:
    """The row in each line; what is wrong with a line costs that line."""
    number = 0
    try:
        while raw := file.readline(MAX_ROW):
            number += 1
            if len(raw) == MAX_ROW and not raw.endswith(b"\n"):
                while (rest := file.readline(MAX_ROW)) and not rest.endswith(b"\n"):
                    pass
                yield number, too_long()
                continue
            if not raw.strip():
                continue
            try:
                yield number, _once(decode_object(raw, _made))
            except UnusableError as error:
                yield number, error
    except CUT_SHORT as error:
        yield number + 1, cut_short(error)


def values(file: IO[bytes]) -> Iterator[NumberedRow]:
    """The rows in lists and objects that go over lines; damage costs what follows it."""
    text = _Text(file)
    try:
        while (first := text.peek()) and first in "[{":
            text.take(1)
            yield from _items(text) if first == "[" else _object(text)
        if first:
            yield text.line, UnusableError("is not JSON; what follows it was not read")
    except UnusableError as error:
        yield text.line, text.damage or UnusableError(f"{error}; what follows it was not read")
        return
    if text.damage:
        yield text.line, text.damage


class _Text:
    """Characters of a file, of which a piece is in memory. `line` counts from 1. Methods raise `UnusableError`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._decoder = json.JSONDecoder(object_pairs_hook=_made)
        self._text, self._at = "", 0
        self._ended = False
        self.line = 1
        self.damage: UnusableError | None = None
        """Why the file ends before its end."""

    def _more(self) -> bool:
        if self._ended:
            return False
        piece = b""
        try:
            wanted = max(_PIECE, len(self._text) - self._at)
            piece = self._file.read1(wanted) if hasattr(self._file, "read1") else self._file.read(wanted)
        except CUT_SHORT as error:
            self.damage = cut_short(error)
        self._ended = not piece
        self._text, self._at = self._text[self._at :] + self._decode(piece, final=not piece), 0
        return True

    def peek(self) -> str:
        """The next character that is neither white space nor a comma; empty at the end."""
        skipped = 0
        while True:
            blank = _BLANK.match(self._text, self._at)
            end = blank.end() if blank else self._at
            skipped += end - self._at
            self.line += self._text.count("\n", self._at, end)
            self._at = end
            if end < len(self._text):
                return self._text[end]
            if skipped > MAX_ROW:
                raise too_long("comes after white space")
            if not self._more():
                return ""

    def take(self, count: int) -> None:
        """Leaves characters behind."""
        self._at += count

    def at_list_of_objects(self) -> bool:
        """Whether what comes is a list whose first item is an object."""
        if self.peek() != "[":
            return False
        while not (match := _BEGINS_LIST.match(self._text, self._at)):
            if len(self._text) - self._at > _PIECE or not self._more():
                return False
        return match.group(1) == "{"

    def value(self) -> tuple[Any, str]:
        """The value that begins here, and the text that it was."""
        while True:
            length = len(self._text)
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
                if end < length or self._ended:
                    break
            except RecursionError:
                raise UnusableError("is nested too deeply") from None
            except json.JSONDecodeError as error:
                # Within this many characters of the end, it may be a word, a number or an escape that goes on.
                cut = error.pos >= length - 16 or error.msg.startswith("Unterminated string")
                if self._ended or not cut:
                    raise UnusableError(f"is not JSON ({error.msg})") from None
            except ValueError as error:
                raise UnusableError(f"is not JSON ({error})") from None
            if length - self._at > MAX_ROW:
                raise too_long()
            self._more()
        whole = self._text[self._at : end]
        self._at = end
        return found, whole


def _items(text: _Text, split: str = "") -> Iterator[NumberedRow]:
    """The items of a list that has begun."""
    while (first := text.peek()) != "]":
        if not first:
            raise UnusableError("is not there: the list has no end")
        line = text.line
        value, whole = text.value()
        text.line += whole.count("\n")
        yield line, _row(value, whole, split)
    text.take(1)


def _row(value: object, whole: str, split: str = "") -> dict[str, Any] | UnusableError:
    if not isinstance(value, dict):
        return UnusableError("is not a JSON object")
    if NOT_UTF8.search(whole):
        return UnusableError("is not UTF-8")
    if _ESCAPED_SURROGATE.search(whole):
        try:
            refuse_surrogates(value)
        except UnusableError as error:
            return error
    if isinstance(value, _Doubled):
        return _once(value)
    viewed = value.get("row")
    row = viewed if "row_idx" in value and isinstance(viewed, dict) else value  # So the Hub's viewer hands rows out.
    return {"split": split, **row} if split else row


def _object(text: _Text) -> Iterator[NumberedRow]:
    """The rows of an object that has begun: lists of them under names, columns of them, or itself."""
    begin, size, found = text.line, 0, False
    fields: dict[str, Any] = {}
    pieces: list[str] = []
    while (first := text.peek()) != "}":
        if first != '"':
            raise UnusableError("is not JSON (a name in quotes is missing)")
        name, key = text.value()
        if text.peek() != ":":
            raise UnusableError("is not JSON (a colon is missing)")
        text.take(1)
        text.peek()
        if _HOLDS_ROWS.fullmatch(str(name)) and text.at_list_of_objects():
            found = True
            text.take(1)
            yield from _items(text, "holdout" if _HELD_OUT.match(name) else "")
            continue
        if name in fields:
            fields = _Doubled(fields)
        fields[name], whole = text.value()
        text.line += whole.count("\n")
        pieces += key, whole
        size += len(whole)
        if size > MAX_ROW:
            raise too_long("is, as one object,")
    text.take(1)
    if found:
        return
    whole = "".join(pieces)
    columns = _columns(fields)
    for number, row in enumerate(columns, 1):
        yield number, _row(row, whole)
    if not columns:
        yield begin, _row(fields, whole)


def _columns(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an object whose values are columns, as pandas writes it in three ways; none where it is no such."""
    names, cells = fields.get("columns"), fields.get("data")
    if isinstance(names, list) and isinstance(cells, list):
        named = [str(name) for name in names]
        return [_made(list(zip(named, row, strict=False))) for row in cells if isinstance(row, list)]
    columns = list(fields.values())
    if all(isinstance(column, dict) and column and all(map(str.isdecimal, column)) for column in columns):
        columns = [list(column.values()) for column in columns]
    if len(columns) < 2 or not all(isinstance(column, list) and column for column in columns):
        return []
    if len({len(column) for column in columns}) > 1 or any(map(_is_turn, (column[0] for column in columns))):
        return []
    return [dict(zip(fields, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and not _TURN_KEYS.isdisjoint(value)
