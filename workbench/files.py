"""Files of ours: written whole or not at all, and rows of JSON in them read as dataclasses."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")


def write_whole(path: Path, text: str, *, durable: bool = False) -> None:
    """Puts `text` in the place of the file: a reader sees the file as it was or as it is, never a part of it.

    `durable`: it is on the disk for good on return. Raises `OSError`, and then leaves nothing behind.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
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
    return {name: float(number) for name, number in value.items()}


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
