"""Raw rows out of files: JSON lines, JSON lists, CSV and Parquet, gzipped or not. Nothing here knows what a pair is."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.pairs.lines import UnusableError, decode_object, refuse_surrogates

RawRow = tuple[int, dict[str, Any] | UnusableError]
"""The line a row begins on (its number, where a format has no lines), and the row or why there is none."""

OnRead = Callable[[int, int], None]
"""Told how many bytes (rows, for Parquet) are read, and of how many."""

_File = io.BufferedReader | gzip.GzipFile

MAX_LINE = 64 * 2**20
"""Bytes. A longer line is not a row of anything, and would fill the memory."""

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_GZIP, _PARQUET, _BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_CUT_SHORT = (EOFError, zlib.error, gzip.BadGzipFile)
_BLANK = re.compile(r"[\s,]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def read_rows(path: Path, progress: OnRead = lambda *_: None) -> Iterator[RawRow]:
    """The rows of a file, in order, by what its name and first bytes say it is.

    Raises `WorkbenchError` where the file as a whole cannot be read; a row that cannot comes out as an `UnusableError`.
    """
    try:
        with path.open("rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic == _PARQUET or path.suffix.lower() == ".parquet":
                yield from _parquet(path, progress)
                return
            size = path.stat().st_size
            compressed = magic.startswith(_GZIP)
            file = gzip.GzipFile(fileobj=raw) if compressed else raw
            reader = _reader(path, _beginning(path, file))
            for count, row in enumerate(reader(file)):
                if count % 200 == 0:
                    progress(raw.tell(), size)
                yield row
            progress(size, size)
    except OSError as error:
        raise WorkbenchError(
            f"Cannot read {path.name}", f"{path}: {error.strerror or error}.", "Check the name and its permissions."
        ) from error


def _beginning(path: Path, file: _File) -> bytes:
    """The first bytes of a file, which stay to be read, but for a byte order mark."""
    try:
        begin = file.peek(64)[:64]
    except _CUT_SHORT as error:
        raise WorkbenchError(
            f"{path.name} is damaged", f"{path}: {_cut_short(error)}.", "Fetch or compress the file anew."
        ) from error
    if begin.startswith(_BOM):
        file.read(len(_BOM))
    return bytes(begin.removeprefix(_BOM))


def _reader(path: Path, begin: bytes) -> Callable[[_File], Iterator[RawRow]]:
    if begin.startswith(_UTF16):
        raise WorkbenchError(
            f"{path.name} is UTF-16",
            f"{path}: only UTF-8 files can be imported.",
            f"Convert it: iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}",
        )
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() in SUFFIXES]
    first = begin.lstrip()[:1]
    match suffixes[-1] if suffixes else "":
        case ".jsonl" | ".ndjson":
            return _lines
        case ".csv" | ".tsv":
            return _csv
        case _ if first == b"[":
            return _list
        case ".json":
            return _lines
        case _ if first == b"{":
            return _lines
    raise WorkbenchError(
        f"Not a kind of file that can be imported: {path.name}",
        f"{path} has none of the endings {', '.join(SUFFIXES)} (.gz may follow), and does not begin as JSON does.",
        "Rename it by what it holds, or convert it.",
    )


def _lines(file: _File) -> Iterator[RawRow]:
    number = 0
    try:
        while raw := file.readline(MAX_LINE):
            number += 1
            if not raw.strip():
                continue
            if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
                while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield number, UnusableError(f"is longer than {MAX_LINE // 2**20} MiB")
                continue
            try:
                yield number, decode_object(raw)
            except UnusableError as error:
                yield number, error
    except _CUT_SHORT as error:
        yield number + 1, _cut_short(error)


def _list(file: _File) -> Iterator[RawRow]:
    """The items of a JSON list, one at a time, so that damage costs only what follows it."""
    damage: UnusableError | None = None
    pieces: list[bytes] = []
    try:
        while piece := file.read1(1 << 20):
            pieces.append(piece)
    except _CUT_SHORT as error:
        damage = _cut_short(error)
    text = b"".join(pieces).decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder()
    line, position = 1, text.find("[") + 1
    counted = 0
    while True:
        blank = _BLANK.match(text, position)
        position = blank.end() if blank else position
        line, counted = line + text.count("\n", counted, position), position
        if text[position : position + 1] == "]":
            return
        try:
            value, end = decoder.raw_decode(text, position)
        except RecursionError:
            yield line, UnusableError("is nested too deeply; what follows it was not read")
            return
        except ValueError as error:
            yield line, damage or UnusableError(f"is not JSON ({error}); what follows it was not read")
            return
        yield line, _item(value, text[position:end])
        position = end


def _item(value: Any, text: str) -> dict[str, Any] | UnusableError:
    if not isinstance(value, dict):
        return UnusableError("is not a JSON object")
    if _NOT_UTF8.search(text):
        return UnusableError("is not UTF-8")
    if _ESCAPED_SURROGATE.search(text):
        try:
            refuse_surrogates(value)
        except UnusableError as error:
            return error
    return value


def _csv(file: _File) -> Iterator[RawRow]:
    csv.field_size_limit(MAX_LINE)
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    begin = 1
    try:
        first = text.readline(MAX_LINE)
        delimiter = max(",\t;", key=first.count)
        header: list[str] | None = None
        reader = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
        while True:
            begin = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield begin, UnusableError(f"is not CSV: {error}")
                continue
            if cells is None:
                return
            if header is None:
                header = cells
            elif cells:
                yield begin, _csv_row(header, cells)
    except _CUT_SHORT as error:
        yield begin, _cut_short(error)
    finally:
        text.detach()


def _csv_row(header: list[str], cells: list[str]) -> dict[str, Any] | UnusableError:
    if len(cells) != len(header):
        return UnusableError(f"has {len(cells)} cells where the first line names {len(header)} columns")
    if any(_NOT_UTF8.search(cell) for cell in cells):
        return UnusableError("is not UTF-8")
    return dict(zip(header, cells, strict=True))


def _parquet(path: Path, progress: OnRead) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            total = file.metadata.num_rows
            for batch in file.iter_batches(batch_size=500):
                progress(number, total)
                for row in range(batch.num_rows):
                    number += 1
                    try:
                        yield number, batch.slice(row, 1).to_pylist()[0]
                    except (UnicodeDecodeError, ValueError, OverflowError) as error:
                        yield number, UnusableError(f"cannot be read: {error}")
            progress(total, total)
    except (pa.ArrowException, OSError) as error:
        if number:
            yield number + 1, UnusableError(f"cannot be read, nor what follows it: {error}")
            return
        raise WorkbenchError(f"Cannot read {path.name}", f"{path}: {error}.", "Is it a whole Parquet file?") from error


def _cut_short(error: Exception) -> UnusableError:
    return UnusableError(f"cannot be read, nor what follows it: the compressed data is cut short or damaged ({error})")
