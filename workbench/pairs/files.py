"""A file of pairs as it is on disk: every line, and the pair in it or why there is none."""

from __future__ import annotations

import gc
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.pairs.history import Row
from workbench.pairs.lines import Problem, UnusableError, decode_object
from workbench.pairs.pair import Pair, from_row

_BOM = b"\xef\xbb\xbf"


class Stamp(NamedTuple):
    """Tells one version of a file from the next."""

    modified: int
    size: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """The version of the file that `found` is the stat of."""
        return cls(found.st_mtime_ns, found.st_size, found.st_ino)


@dataclass(frozen=True, slots=True)
class Content:
    """A file that was read: its byte order mark or nothing, its lines in order, and those that hold no pair."""

    bom: bytes
    rows: list[Row]
    problems: list[Problem]
    stamp: Stamp


def read_file(path: Path) -> Content:
    """Reads a file of pairs, line by line. Raises `WorkbenchError` where it cannot be read at all."""
    try:
        with path.open("rb") as file:
            stamp = Stamp.of(os.fstat(file.fileno()))
            content = file.read()
    except OSError as error:
        raise WorkbenchError(
            f"Cannot read {path.name}", f"{path}: {error.strerror or error}.", "Check the name and its permissions."
        ) from error
    bom = _BOM if content.startswith(_BOM) else b""
    rows: list[Row] = []
    problems: list[Problem] = []
    lines_of: dict[str, int] = {}
    conversational: bool | None = None
    # Millions of small objects that all live on: collecting in between doubles the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number, raw in enumerate(io.BytesIO(content[len(bom) :]), 1):
            pair = None
            if raw.strip():
                try:
                    pair = _pair(raw)
                    if conversational is None:
                        conversational = pair.conversational
                    if pair.conversational != conversational:
                        raise UnusableError(f"is {kind_of(pair)}, unlike the first pair; a file is of one kind")
                    if (first := lines_of.setdefault(pair.id, number)) != number:
                        raise UnusableError(f"has the id of line {first}, {pair.id!r}")
                except UnusableError as error:
                    pair = None
                    problems.append(Problem(number, str(error)))
            rows.append(Row(raw, pair))
    finally:
        if collecting:
            gc.enable()
    return Content(bom, rows, problems, stamp)


def _pair(raw: bytes) -> Pair:
    row = decode_object(raw)
    try:
        return from_row(row, where="line")
    except WorkbenchError as error:
        raise UnusableError(error.message.removeprefix("line: ").rstrip(".")) from None


def kind_of(pair: Pair) -> str:
    """What a pair is made of, in words."""
    return "conversational" if pair.conversational else "plain text"
