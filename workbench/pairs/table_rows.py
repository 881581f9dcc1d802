"""Rows out of tables: CSV, Parquet and Arrow, a part at a time, each row within `MAX_ROW`."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import IO, Any

from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.formulas import GUARDED, unguarded
from workbench.pairs.json_rows import MAX_ROW, NOT_UTF8, NumberedRow, cut_short, too_long
from workbench.pairs.lines import UnusableError
from workbench.pairs.unpacking import CUT_SHORT

PARQUET, ARROW, ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_BATCH = 500
_MOST_AT_ONCE = 64 * 2**20
"""Bytes of a batch that are made Python objects together."""
_MOST_COLUMNS = 10_000
_DENSE_VALUES, _DENSE_BYTES, _DENSITY = 2**24, 256 * 2**20, 200
"""A part of a file that unpacks to more than this, and to that many times what it takes in the file, is no data."""


# CSV


def csv_rows(file: IO[bytes]) -> Iterator[NumberedRow]:
    """The records after the first, which names the columns; commas, semicolons or tabs part them."""
    csv.field_size_limit(MAX_ROW)
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    bounded = _Lines(text)
    begin = 1
    try:
        delimiter = max(",\t;", key=_QUOTED.sub("", bounded.first()).count)
        header: list[str] | None = None
        guards: int | None = None
        reader = csv.reader(bounded, delimiter=delimiter, strict=True)
        while True:
            begin = reader.line_num + bounded.skipped + 1
            bounded.size = 0
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield begin, UnusableError(f"is not CSV: {error}")
                continue
            except UnusableError as error:
                yield begin, error
                if header is None:
                    return
                continue
            if cells is None:
                return
            if header is None:
                header = cells
                if GUARDED in header:
                    guards = header.index(GUARDED)
                    header = _without_guards(header, guards)
                _refuse_doubled(header)
                if len(header) > _MOST_COLUMNS:
                    yield begin, UnusableError(f"names {len(header):,} columns")
                    return
            elif cells:
                if guards is not None and len(cells) == len(header) + 1:
                    cells = _without_guards(cells, guards)
                yield begin, _csv_row(header, cells)
    except CUT_SHORT as error:
        yield begin, cut_short(error)
    finally:
        text.detach()


_QUOTED = re.compile('"(?:[^"]|"")*(?:"|$)')


def _without_guards(cells: Sequence[str], place: int) -> list[str]:
    """The cells without the guards before formulas, and without the one at `place`, which says that there are any."""
    return [unguarded(cell) for at, cell in enumerate(cells) if at != place]


class _Lines:
    """Lines of a text. A record of more than `MAX_ROW` raises `UnusableError`, and the rest of its line is skipped."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._first: str | None = None
        self.size = 0
        """Characters since the record's beginning; set to 0 by who begins one."""
        self.skipped = 0
        """Lines that were skipped, and which the reader has not counted."""

    def first(self) -> str:
        """The first line, which stays to be read."""
        self._first = self._text.readline(MAX_ROW)
        return self._first

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line, self._first = self._text.readline(MAX_ROW) if self._first is None else self._first, None
        if not line:
            raise StopIteration
        self.size += len(line)
        if self.size < MAX_ROW:
            return line
        self.skipped += 1
        while line and not line.endswith("\n"):
            line = self._text.readline(MAX_ROW)
        raise too_long()


def _refuse_doubled(columns: Sequence[str]) -> None:
    """Raises where two columns have one name: one would hide the other."""
    doubled = [name for name, count in Counter(columns).items() if count > 1 and name]
    if doubled:
        places = ", ".join(str(place) for place, name in enumerate(columns, 1) if name == doubled[0])
        raise WorkbenchError(
            f"Two columns of one name: {doubled[0]!r}",
            f"The columns {places} are all named {doubled[0]!r}; one of them would be lost.",
            "Rename them, each by what it holds, and import the file again.",
        )


def _csv_row(header: list[str], cells: list[str]) -> dict[str, Any] | UnusableError:
    if len(cells) != len(header):
        return UnusableError(f"has {len(cells)} cells where the first line names {len(header)} columns")
    if any(NOT_UTF8.search(cell) for cell in cells):
        return UnusableError("is not UTF-8")
    return dict(zip(header, cells, strict=True))


# Parquet and Arrow


def parquet_rows(name: str, raw: IO[bytes]) -> Iterator[tuple[int, NumberedRow]]:
    """How many rows there are, and each of them.

    Texts are read as what their column's dictionary has, so that a text which a million rows share is held once.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(raw) as file:
            total, names = file.metadata.num_rows, _texts_of(file)
            _refuse_doubled(file.schema_arrow.names)
            _refuse_dense(name, file)
        raw.seek(0)
        with pq.ParquetFile(raw, read_dictionary=names) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in _rows_of(batch):
                    number += 1
                    yield total, (number, row)
    except (pa.ArrowException, OSError) as error:
        if not number:
            raise _damaged(name, "Parquet", error) from error
        yield number, (number + 1, UnusableError(f"cannot be read, nor what follows it: {error}"))


def arrow_rows(name: str, raw: IO[bytes]) -> Iterator[NumberedRow]:
    """The rows of an Arrow file or stream, or of a Feather file, which is one."""
    import pyarrow as pa

    number = 0
    try:
        begin = 8 if raw.read(len(ARROW)) == ARROW else 0  # A file is a stream between marks.
        raw.seek(begin)
        for message in pa.ipc.MessageReader.open_stream(raw):
            size = _unpacked_size(message) if message.type == "record batch" else 0
            if size > max(_DENSE_BYTES, _DENSITY * message.body.size):
                raise _too_dense(name, f"{size / 1e6:,.0f} MB", message.body.size)
        raw.seek(begin)
        with pa.ipc.open_stream(raw) as stream:
            _refuse_doubled(stream.schema.names)
            for large in stream:
                for at in range(0, large.num_rows, _BATCH):
                    for row in _rows_of(large.slice(at, _BATCH)):
                        number += 1
                        yield number, row
    except (pa.ArrowException, OSError, struct.error) as error:
        if not number:
            raise _damaged(name, "Arrow", error) from error
        yield number + 1, UnusableError(f"cannot be read, nor what follows it: {error}")


def _texts_of(file: Any) -> list[str]:
    columns = map(file.schema.column, range(len(file.schema)))
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _refuse_dense(name: str, file: Any) -> None:
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group)
        for number in range(rows.num_columns):
            column, taken = rows.column(number), rows.column(number).total_compressed_size
            lists = file.schema.column(number).max_repetition_level > 0
            if lists and column.num_values > max(_DENSE_VALUES, _DENSITY * taken):
                raise _too_dense(name, f"{column.num_values:,} values", taken)
            if column.total_uncompressed_size > max(_DENSE_BYTES, _DENSITY * taken):
                raise _too_dense(name, f"{column.total_uncompressed_size / 1e6:,.0f} MB", taken)


def _too_dense(name: str, size: str, taken: int) -> WorkbenchError:
    return WorkbenchError(
        f"{name} unpacks to too much",
        f"{size} out of {plural(taken, 'byte')} in one part of it: no data is like that.",
        "Look at it with pyarrow, and write what you want of it as JSON lines.",
    )


def _damaged(name: str, kind: str, error: Exception) -> WorkbenchError:
    return WorkbenchError(f"Cannot read {name}", f"{name}: {error}.", f"Is it a whole {kind} file?")


def _rows_of(batch: Any) -> Iterator[dict[str, Any] | UnusableError]:
    """The rows of a batch, of which no more than `_MOST_AT_ONCE` bytes are unpacked together."""
    import pyarrow as pa

    if batch.num_rows > 1 and sum(map(_size, batch.columns)) > _MOST_AT_ONCE:
        # Taken, not sliced: Arrow casts all of a list's items, whatever slice of it is asked for.
        half = batch.num_rows // 2
        for part in (range(half), range(half, batch.num_rows)):
            yield from _rows_of(batch.take(pa.array(part, pa.int64())))
        return
    if batch.num_rows == 1 and sum(map(_size, batch.columns)) > MAX_ROW:
        yield too_long()
        return
    schema = pa.schema([pa.field(field.name, _without_dictionaries(field.type)) for field in batch.schema])
    columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
    whole = pa.record_batch(columns, schema=schema)
    of_json = {field.name: read for field in schema if (read := _json_reader(field.type)) is not None}
    for number in range(batch.num_rows):
        try:
            row = whole.slice(number, 1).to_pylist()[0]
            yield {name: read(row[name]) if (read := of_json.get(name)) else value for name, value in row.items()}
        except (UnicodeDecodeError, ValueError, OverflowError) as error:
            yield UnusableError(f"cannot be read: {error}")


def _json_reader(kind: Any) -> Callable[[Any], Any] | None:
    """What makes of a value of an Arrow type the values that its JSON stands for; None where it has none in it."""
    import pyarrow as pa

    if isinstance(kind, pa.JsonType):
        return lambda value: value if value is None else json.loads(value)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if (inner := _json_reader(kind.value_type)) is not None:
            return lambda value: value if value is None else [inner(item) for item in value]
    elif pa.types.is_struct(kind):
        readers = {field.name: read for field in kind if (read := _json_reader(field.type)) is not None}
        if readers:
            return lambda value: (
                value if value is None else value | {name: read(value[name]) for name, read in readers.items()}
            )
    return None


def _size(column: Any) -> int:
    """Bytes that a column has, each text of a dictionary counted as often as it is used."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind) and (pa.types.is_string(kind.value_type) or pa.types.is_binary(kind.value_type)):
        lengths = pc.cast(pc.binary_length(column.dictionary), pa.int64())
        return int(pc.sum(lengths.take(column.indices)).as_py() or 0)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return 8 * len(column) + _size(column.flatten())
    if pa.types.is_struct(kind):
        return sum(map(_size, column.flatten()))
    return int(column.nbytes)


def _without_dictionaries(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind):
        return pa.list_(pa.field(kind.value_field.name, _without_dictionaries(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(pa.field(kind.value_field.name, _without_dictionaries(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _without_dictionaries(field.type)) for field in kind])
    return kind


def _unpacked_size(message: Any) -> int:
    """Bytes that the buffers of a record batch take once unpacked, as each says of itself; 0 where none is compressed.

    The layout is that of Arrow's Message.fbs: RecordBatch has buffers (offset, length) as its third field and
    compression as its fourth; a compressed buffer begins with its size.
    """
    header = message.metadata.to_pybytes()
    root = struct.unpack_from("<I", header)[0]
    batch = _field(header, root, 2)
    batch += struct.unpack_from("<I", header, batch)[0]
    if not _field(header, batch, 3):
        return 0
    buffers = _field(header, batch, 2)
    buffers += struct.unpack_from("<I", header, buffers)[0]
    count = struct.unpack_from("<I", header, buffers)[0]
    total, body = 0, memoryview(message.body)
    for offset, length in islice(struct.iter_unpack("<qq", header[buffers + 4 : buffers + 4 + 16 * count]), count):
        total += max(struct.unpack_from("<q", body, offset)[0], 0) if length >= 8 else 0
    return total


def _field(table: bytes, at: int, number: int) -> int:
    """Where a field of a flatbuffer's table is; 0 where it is not set."""
    fields = at - struct.unpack_from("<i", table, at)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", table, fields)[0]:
        return 0
    offset = struct.unpack_from("<H", table, fields + 4 + 2 * number)[0]
    return at + offset if offset else 0
