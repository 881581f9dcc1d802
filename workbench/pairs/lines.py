"""A file of pairs as bytes: reading a line, telling what is wrong with it, and writing the file atomically."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.files import sweep_unfinished
from workbench.pairs.pair import Pair, from_row, to_line

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class FileLine(NamedTuple):
    """A line of one of several files."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that could not be used. `line` counts from 1 (rows, where a format has no lines).

    `file` is its name where there are several.
    """

    line: int
    reason: str
    file: str = ""

    @classmethod
    def at(cls, where: int | FileLine, reason: str) -> Problem:
        """The problem with the row there."""
        return cls(where, reason) if isinstance(where, int) else cls(where.line, reason, where.file)

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.reason}" if self.file else f"line {self.line} {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """As --json tells it."""
        file = {"file": self.file} if self.file else {}
        return {**file, "line": self.line, "reason": self.reason}


class UnusableError(ValueError):
    """Why a row cannot be used, in words that end a sentence ("field 'chosen' is missing")."""


class UnreadError(UnusableError):
    """The same, where the row's columns do not say what is prompt, chosen and rejected: a mapping may."""


def bad_lines(name: str, problems: Sequence[Problem], *, pairs: int) -> str:
    """What to tell of the lines of a data set that are no pairs, beside its `pairs` that are; empty for none."""
    if not problems:
        return ""
    told = f"{plural(len(problems), 'line')} of {name} {'is no pair' if len(problems) == 1 else 'are no pairs'}"
    other = "" if pairs else " Rows of other shapes come in by workbench import, under another name."
    return f"{told} ({problems[0]}).{other}"


class Stamp(NamedTuple):
    """Tells one version of a file from the next."""

    modified: int
    size: int
    inode: int

    @classmethod
    def of(cls, result: os.stat_result) -> Stamp:
        """The version of the file with this stat."""
        return cls(result.st_mtime_ns, result.st_size, result.st_ino)


def decode_object(raw: bytes, make: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None) -> dict[str, Any]:
    """The JSON object in one line; `make` makes objects of their members. Raises `UnusableError` with the reason where
    there is none."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=make)
    except UnicodeDecodeError as error:
        raise UnusableError(f"is not UTF-8: byte 0x{raw[error.start]:02X} at position {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise UnusableError(f"is not JSON: {error.msg.removesuffix(' at')} at column {error.colno}") from None
    except RecursionError:
        raise UnusableError("is nested too deeply") from None
    except ValueError as error:
        raise UnusableError(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UnusableError(f"is {_kind(value)}, not a JSON object")
    if _SURROGATE_ESCAPE.search(raw):
        refuse_surrogates(value)
    return value


def pair_in(raw: bytes) -> Pair:
    """The pair in one line. Raises `UnusableError` with the reason where it holds none."""
    return pair_of(decode_object(raw))


def pair_of(row: dict[str, Any]) -> Pair:
    """The pair in one line's object. Raises `UnusableError` with the reason where it holds none."""
    try:
        return from_row(row, where="line")
    except WorkbenchError as error:
        raise UnusableError(error.message.removeprefix("line: ").rstrip(".")) from None


def encoded(pair: Pair) -> bytes:
    """The pair as a line's bytes. Raises `WorkbenchError` where it holds what is no text."""
    line = to_line(pair)
    refuse_half_characters(line)
    return line.encode()


def refuse_half_characters(value: str | tuple[str, ...]) -> None:
    """Raises `WorkbenchError` where a text has half a surrogate pair, which no UTF-8 file can hold."""
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        raise WorkbenchError(
            "Not text", "It holds half a surrogate pair, which is no character.", "Take it out."
        ) from None


def refuse_surrogates(value: Any) -> None:
    """Raises `UnusableError` where a text in `value` has half a surrogate pair, which no UTF-8 file can hold."""
    try:
        match = _SURROGATE.search(json.dumps(value, ensure_ascii=False, default=str))
    except (RecursionError, ValueError):
        raise UnusableError("is nested too deeply") from None
    if match:
        raise UnusableError(f"has half a surrogate pair (\\u{ord(match.group()):04x}), which is not a character")


def write_atomically(
    path: Path, chunks: Iterable[bytes | memoryview], *, check: Callable[[os.stat_result], None] = lambda _: None
) -> os.stat_result:
    """Writes `chunks` to `path`: a reader sees the old file or the new one, whole, whatever happens in between.

    `check` is called with the new file's stat just before it takes the old one's place; what it raises leaves the old
    one as it was. Permissions are kept, a symbolic link is followed. Returns the new file's stat; raises OSError.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    sweep_unfinished(path, f".{path.name}.", ".part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
    try:
        with open(descriptor, "wb", buffering=1 << 20) as file:  # noqa: PTH123 (a descriptor, not a path)
            file.writelines(chunks)
            file.flush()
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
            os.fsync(descriptor)
            written = os.fstat(descriptor)
        check(written)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return written


def kind_of(pair: Pair) -> str:
    """What a pair is made of, in words."""
    return "conversational" if pair.conversational else "plain text"


def kinds_differ(path: Path, pair: Pair) -> WorkbenchError:
    """What to tell where a pair is of another kind than those of a file."""
    return WorkbenchError(
        "A file is of one kind",
        f"Pair {pair.id!r} is {kind_of(pair)}; the other pairs of {path.name} are not.",
        "Put it into a data set of its own kind.",
    )


def not_saved(path: Path, error: OSError) -> WorkbenchError:
    """What to tell where a file cannot be written."""
    return WorkbenchError(
        f"Cannot write {path.name}",
        f"{path}: {error.strerror or error}. The file is as it was.",
        "Free space, or allow writing there.",
    )


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a number"
