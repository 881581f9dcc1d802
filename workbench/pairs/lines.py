"""Lines of JSON as bytes: reading one, telling what is wrong with it, and writing a file of them atomically."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that could not be used. `line` counts from 1 (rows, where a format has no lines)."""

    line: int
    reason: str


class UnusableError(ValueError):
    """Why a row cannot be used, in words that end a sentence ("field 'chosen' is missing")."""


def decode_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in one line. Raises `UnusableError` with the reason where there is none."""
    try:
        value = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnusableError(f"is not UTF-8: byte 0x{raw[error.start]:02X} at position {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise UnusableError(f"is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise UnusableError("is nested too deeply") from None
    except ValueError as error:
        raise UnusableError(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UnusableError(f"is {_kind(value)}, not a JSON object")
    if _SURROGATE_ESCAPE.search(raw):
        refuse_surrogates(value)
    return value


def refuse_surrogates(value: Any) -> None:
    """Raises `UnusableError` where a text in `value` has half a surrogate pair, which no UTF-8 file can hold."""
    try:
        found = _SURROGATE.search(json.dumps(value, ensure_ascii=False, default=str))
    except (RecursionError, ValueError):
        raise UnusableError("is nested too deeply") from None
    if found:
        raise UnusableError(f"has half a surrogate pair (\\u{ord(found.group()):04x}), which is not a character")


def write_atomically(
    path: Path, chunks: Iterable[bytes | memoryview], *, check: Callable[[os.stat_result], None] = lambda _: None
) -> os.stat_result:
    """Writes `chunks` to `path`: a reader sees the old file or the new one, whole, whatever happens in between.

    `check` is called with the new file's stat just before it takes the old one's place; what it raises leaves the old
    one as it was. Permissions are kept, a symbolic link is followed. Returns the new file's stat; raises OSError.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
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
