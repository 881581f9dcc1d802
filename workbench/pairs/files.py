"""A file of pairs as it is on disk: which version it is, and of what kind its pairs are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.pairs.lines import UnusableError, decode_object
from workbench.pairs.pair import Pair, from_row, to_line


class Stamp(NamedTuple):
    """Tells one version of a file from the next."""

    modified: int
    size: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """The version of the file that `found` is the stat of."""
        return cls(found.st_mtime_ns, found.st_size, found.st_ino)


def pair_in(raw: bytes) -> Pair:
    """The pair in one line. Raises `UnusableError` with the reason where it holds none."""
    row = decode_object(raw)
    try:
        return from_row(row, where="line")
    except WorkbenchError as error:
        raise UnusableError(error.message.removeprefix("line: ").rstrip(".")) from None


def kind_of(pair: Pair) -> str:
    """What a pair is made of, in words."""
    return "conversational" if pair.conversational else "plain text"


def not_saved(path: Path, error: OSError) -> WorkbenchError:
    """What to tell where a file cannot be written."""
    return WorkbenchError(
        f"Cannot write {path.name}",
        f"{path}: {error.strerror or error}. The file is as it was.",
        "Free space, or allow writing there.",
    )


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


def kinds_differ(path: Path, pair: Pair) -> WorkbenchError:
    """What to tell where a pair is of another kind than those of a file."""
    return WorkbenchError(
        "A file is of one kind",
        f"Pair {pair.id!r} is {kind_of(pair)}; the other pairs of {path.name} are not.",
        "Put it into a data set of its own kind.",
    )
