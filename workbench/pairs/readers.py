"""Raw rows out of one file: JSON, CSV, Parquet or Arrow, compressed or not. Nothing here knows what a pair is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from workbench.errors import WorkbenchError
from workbench.pairs import json_rows, table_rows
from workbench.pairs.json_rows import NumberedRow
from workbench.pairs.lines import FileLine, UnusableError
from workbench.pairs.unpacking import CUT_SHORT, ENDINGS, refuse_foreign, unpacked

RawRow = tuple[int | FileLine, dict[str, Any] | UnusableError]
"""The line a row begins on (its number, where a format has no lines), with its file where there are several; and the
row, or why there is none."""

OnRead = Callable[[int, int], None]
"""Told how many bytes (rows, for Parquet) are read, and of how many."""

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
_SAMPLE = 1 << 20
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_HOPELESS, _TOO_MANY = 100, 100_000
"""So many rows that cannot be used end the reading: of the first ones, or of all."""


def read_rows(path: Path, progress: OnRead = lambda *_: None) -> Iterator[NumberedRow]:
    """The rows of a file, in order, by what its first bytes and its name say it is.

    Raises `WorkbenchError` where the file as a whole cannot be read; a row that cannot comes out as an `UnusableError`.
    A row has 16 MiB at most, and what is in memory at a time is in proportion to that, not to what a file unpacks to.
    """
    try:
        with path.open("rb") as raw:
            yield from read_stream(path.name, raw, path.stat().st_size, progress)
    except OSError as error:
        raise WorkbenchError(
            f"Cannot read {path.name}", f"{path}: {error.strerror or error}.", "Check the name and its permissions."
        ) from error


def read_stream(name: str, raw: IO[bytes], size: int, progress: OnRead = lambda *_: None) -> Iterator[NumberedRow]:
    """The rows of an open file of `size` bytes that can be sought in; `name` is for its ending and for messages."""
    begin = raw.read(8)
    raw.seek(0)
    ending = suffix_of(name)
    if begin.startswith(table_rows.PARQUET) or (ending == ".parquet" and not _packed(begin)):
        for number, (total, row) in enumerate(table_rows.parquet_rows(name, raw)):
            if number % 200 == 0:
                progress(number, total)
            yield row
        progress(size, size)
        return
    rows = table_rows.arrow_rows(name, raw) if _is_arrow(begin, ending) else _text_rows(name, raw)
    bad, good = 0, False
    for count, numbered in enumerate(rows):
        if count % 200 == 0:
            progress(raw.tell(), size)
        if isinstance(numbered[1], UnusableError):
            bad += 1
            if bad >= _HOPELESS and not good:
                raise _hopeless(name, ending, *numbered)
            if bad > _TOO_MANY:
                yield numbered[0], UnusableError(f"is one of {_TOO_MANY:,} that cannot be used; the rest was not read")
                return
        else:
            good = True
        yield numbered
    progress(size, size)


def suffix_of(name: str) -> str:
    """The ending of a file's name that says what it holds, that of a compression set aside; empty for none."""
    suffixes = [suffix for suffix in map(str.lower, Path(name).suffixes) if suffix not in ENDINGS]
    known = [suffix for suffix in suffixes if suffix in SUFFIXES]
    return known[-1] if known else ""


def _packed(begin: bytes) -> bool:
    from workbench.pairs import unpacking as known

    return begin.startswith((known.GZIP, known.BZ2, known.XZ, known.ZSTD, known.LZ4))


def _is_arrow(begin: bytes, ending: str) -> bool:
    return begin.startswith(table_rows.ARROW) or (
        ending in (".arrow", ".feather") and begin.startswith(table_rows.ARROW_STREAM)
    )


def _text_rows(name: str, raw: IO[bytes]) -> Iterator[NumberedRow]:
    sample = _sample(name, unpacked(raw))
    reader = _reader(name, sample.removeprefix(_BOM))
    stream = unpacked(raw)
    if sample.startswith(_BOM):
        stream.read(len(_BOM))
    yield from reader(stream)


def _sample(name: str, stream: IO[bytes]) -> bytes:
    sample = bytearray()
    try:
        while len(sample) < _SAMPLE and (piece := stream.read1(_SAMPLE) if hasattr(stream, "read1") else b""):
            sample += piece
    except CUT_SHORT as error:
        if not sample:
            message = f"{name}: {json_rows.cut_short(error)}."
            raise WorkbenchError(f"{name} is damaged", message, "Fetch or compress the file anew.") from error
    return bytes(sample)


def _reader(name: str, sample: bytes) -> Callable[[IO[bytes]], Iterator[NumberedRow]]:
    file = name.rpartition("/")[2]
    if sample.startswith(_UTF16):
        raise WorkbenchError(
            f"{name} is UTF-16",
            "Only UTF-8 files can be imported.",
            f"Convert it: iconv -f UTF-16 -t UTF-8 {file} > utf8-{file}",
        )
    refuse_foreign(name, sample)
    if sample.startswith((table_rows.PARQUET, table_rows.ARROW)):
        raise WorkbenchError(
            f"{name} is a compressed table", "Parquet and Arrow compress themselves.", f"Unpack it: gunzip {file}"
        )
    if b"\0" in sample.partition(b"\n")[0]:
        raise WorkbenchError(
            f"{name} holds no text", f"It is none of {', '.join(SUFFIXES)}.", "Write its rows as JSON lines first."
        )
    ending, first = suffix_of(name), sample.lstrip()[:1]
    if ending in (".csv", ".tsv"):
        return table_rows.csv_rows
    if ending in (".jsonl", ".ndjson", ".json") or first in (b"[", b"{"):
        return json_rows.reader_of(sample.decode("utf-8", "replace"), whole=len(sample) < _SAMPLE)
    raise WorkbenchError(
        f"Not a kind of file that can be imported: {name}",
        f"It has none of the endings {', '.join(SUFFIXES)} ({', '.join(ENDINGS)} may follow), and does not begin as "
        "JSON does.",
        "Rename it by what it holds, or convert it.",
    )


def _hopeless(name: str, ending: str, number: int, reason: object) -> WorkbenchError:
    return WorkbenchError(
        f"{name} cannot be read as {ending.removeprefix('.').upper() or 'JSON'}",
        f"None of its first {_HOPELESS} rows can be: line {number} {reason}.",
        "Rename it by what it holds, or write its rows as JSON lines.",
    )
