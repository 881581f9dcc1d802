"""Files of ours: written whole or not at all, and rows of JSON in them read as dataclasses."""

from __future__ import annotations

import errno
import glob
import json
import math
import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from workbench.errors import WorkbenchError

Row = TypeVar("Row")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LARGE = re.compile(r"[eE]\+?\d{3}|\d{300}")
_MOST = 2**63


def write_whole(path: Path, text: str, *, durable: bool = False) -> None:
    """Puts `text` in the place of the file: a reader sees the file as it was or as it is, never a part of it.

    `durable`: it is on the disk for good on return. Raises `OSError`, and then leaves nothing behind.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    sweep_unfinished(path, f"{path.name}.", ".tmp")
    try:
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def open_to_append(path: Path) -> int:
    """A descriptor for reading and appending; the file is made where there is none.

    Raises `WorkbenchError` where a link is in its place, which would have the text written wherever it points to; and
    `OSError`.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise WorkbenchError(
            "A file to be written is a link",
            f"{path} points to {path.readlink()}; what is written would go there.",
            "Remove the link, or put the file itself in its place.",
        ) from error


def sweep_unfinished(path: Path, begin: str, ending: str) -> None:
    """Removes what processes that are gone left unfinished beside `path`, under the name `begin` PID `ending`.

    A PID that runs again belongs to another process where that started after the file was written last.
    """
    for left in path.parent.glob(f"{glob.escape(begin)}*{glob.escape(ending)}"):
        pid = left.name[len(begin) : len(left.name) - len(ending)]
        with suppress(OSError):
            if pid.isascii() and pid.isdecimal() and not left.is_symlink() and _gone(int(pid), left.stat().st_mtime):
                left.unlink()


def _gone(pid: int, written: float) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).create_time() > written + 1)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OverflowError):
        return False


def json_in(text: str | bytes) -> Any:
    """The value that is written as JSON. Raises `ValueError`, whose words follow a file's name, where it is damaged:
    also where it says a key twice, has no UTF-8, half a character, a number that is none or too large, or is nested
    without end."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        # Most texts have no number that could be too large, and need not be read as slowly as those that may.
        parse_float = _finite if _LARGE.search(text) else None
        value = json.loads(text, object_pairs_hook=_once, parse_float=parse_float, parse_constant=_finite)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return value


def toml_in(text: str | bytes) -> dict[str, Any]:
    """The document that is written as TOML. Raises `ValueError`, whose words follow a file's name, as `json_in`."""
    try:
        return tomllib.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) < len(members):
        names = [name for name, _ in members]
        raise ValueError(f"says {next(name for name in names if names.count(name) > 1)!r} twice")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"has the number {text}, which is none")
    return number


def from_json(kind: type[Row], row: Mapping[str, Any]) -> Row:
    """The dataclass `kind`, of texts, numbers and sets of numbers, in a JSON object.

    Unknown fields are left aside; those with a default may be missing. Raises `TypeError`, `ValueError` or
    `OverflowError` where a field is missing or not what it is declared to be.
    """
    readers = _readers(kind)  # type: ignore[arg-type]
    return kind(**{name: read(row[name]) for name, read in readers.items() if name in row})


@cache
def _readers(kind: Any) -> dict[str, Callable[[Any], Any]]:
    """How the value of each field is read, by the type that the field is declared with."""
    return {field.name: _READERS[str(field.type).removesuffix(" | None")] for field in fields(kind)}


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    if not -_MOST < value < _MOST:
        raise OverflowError("a whole number is too large")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _real(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _numbers(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no set of numbers")
    # A run has the same few names in thousands of rows: kept once, they are half of what a row takes.
    return {sys.intern(name): float(number) for name, number in value.items()}


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "bool": _bool,
    "int": _whole,
    "str": _text,
    "float": _real,
    "dict[str, float]": _numbers,
}
