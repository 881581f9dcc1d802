"""Pairs out to a file: JSON lines, Parquet or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, get_args

from workbench.errors import WorkbenchError
from workbench.pairs.formulas import GUARDED, guarded, is_formula
from workbench.pairs.lines import write_atomically
from workbench.pairs.pair import TEXTS, Pair, to_row
from workbench.pairs.reading import MARKED, MISTAKABLE

Format = Literal["jsonl", "parquet", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)


def format_of(path: Path, given: str | None = None) -> Format:
    """The format `given`, else that of the file's ending; raises `WorkbenchError` where neither says one."""
    name = (given or path.suffix.removeprefix(".")).lower()
    for known in FORMATS:
        if name == known:
            return known
    raise WorkbenchError(
        f"Not a format: {name!r}" if name else "No format",
        f"{path} can be written as {', '.join(FORMATS)}.",
        "Give the file one of these endings, or name one with --format.",
    )


def check_place(path: Path, data_sets: Path) -> None:
    """Raises `WorkbenchError` where `path` is that of a data set in the folder `data_sets`."""
    if path.resolve().parent == data_sets.resolve() and path.suffix == ".jsonl":
        raise WorkbenchError(
            "That is a data set's place",
            f"{path} is among the data sets of the workspace.",
            "Export to another folder.",
        )


def exported(pair: Pair) -> dict[str, Any]:
    """The pair as a row for others, marked where a column beside its texts would be read as a part of them."""
    row = to_row(pair)
    return row | {MARKED: True} if any(name.strip().casefold() in MISTAKABLE for name in pair.extra) else row


def export_pairs(path: Path, pairs: Sequence[Pair], form: Format, *, raw: bool = False) -> int:
    """Writes pairs to `path`, atomically. In CSV, turns and tags are JSON. Raises `WorkbenchError`.

    Returns how many cells of CSV got a guard, since a spreadsheet would take them for formulas (`formulas`): none with
    `raw`.
    """
    try:
        if form == "jsonl":
            export_rows(path, map(exported, pairs))
        elif form == "csv":
            rows = [exported(pair) for pair in pairs]
            formulas = 0 if raw else _formulas(rows)
            write_atomically(path, _csv(rows, guard=formulas > 0))
            return formulas
        else:
            write_atomically(path, [_parquet(pairs)])
    except OSError as error:
        raise _cannot_write(path, error) from error
    return 0


def export_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes rows of any shape to `path` as JSON lines, atomically. Raises `WorkbenchError`."""
    try:
        write_atomically(path, ((json.dumps(row, ensure_ascii=False) + "\n").encode() for row in rows))
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> WorkbenchError:
    return WorkbenchError(
        f"Cannot write {path.name}", f"{path}: {error.strerror or error}.", "Name a file in a folder that exists."
    )


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _formulas(rows: Sequence[dict[str, Any]]) -> int:
    """How many texts and names of columns a spreadsheet would take for formulas. Numbers and JSON are none."""
    texts = (value for row in rows for value in row.values() if isinstance(value, str))
    return sum(map(is_formula, texts)) + sum(map(is_formula, _columns(rows)))


def _csv(rows: Sequence[dict[str, Any]], *, guard: bool) -> Iterator[bytes]:
    columns = _columns(rows)
    buffer = io.StringIO(newline="")
    # Names in quotes: whatever is in them, the reader sees what parts them.
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerow([*map(guarded, columns), GUARDED] if guard else columns)
    writer = csv.writer(buffer)
    for row in rows:
        values = [row.get(name) for name in columns]
        if guard:
            values = [*(guarded(value) if isinstance(value, str) else value for value in values), True]
        writer.writerow(map(_cell, values))
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parquet(pairs: Sequence[Pair]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table_of([exported(pair) for pair in pairs], conversational=pairs[0].conversational), sink)
    return bytes(sink.getvalue())


def table_of(rows: Sequence[dict[str, Any]], *, conversational: bool) -> Any:
    """Rows of pairs as an Arrow table that `load_dataset` and TRL read, objects as JSON."""
    import pyarrow as pa

    arrays: dict[str, Any] = {}
    for name in _columns(rows):
        values = [row.get(name) for row in rows]
        if name in (*TEXTS, "completion") and conversational:
            arrays[name] = _turns([row[name] for row in rows])
        elif name == "tools":
            # As text, which TRL takes too: as objects all would get the keys of each, null where they have none.
            arrays[name] = pa.array([None if value is None else _cell(value) for value in values], pa.string())
        elif name == "chat_template_kwargs":
            arrays[name] = _objects([{} if value is None else value for value in values])
        else:
            arrays[name] = _column(values)
    return pa.table(arrays)


def _turns(texts: Sequence[Sequence[dict[str, Any]]]) -> Any:
    """Turns as lists of structs, each field a column of its own: text where it is that in all turns, else JSON."""
    import pyarrow as pa

    turns = [turn for text in texts for turn in text]
    names = list(dict.fromkeys(("role", "content", *_columns(turns))))
    fields = [_column([turn.get(name) for turn in turns]) for name in names]
    bounds = pa.array([0, *accumulate(map(len, texts))], pa.int32())
    return pa.ListArray.from_arrays(bounds, pa.StructArray.from_arrays(fields, names=names))


def _column(values: Sequence[Any]) -> Any:
    """Values as Arrow has them; objects as JSON, since Parquet would give each the keys of all."""
    import pyarrow as pa

    if any(_has_object(value) for value in values):
        return _objects(values)
    try:
        return pa.array(values, pa.string()) if all(value is None for value in values) else pa.array(values)
    except (pa.ArrowException, OverflowError):
        # A column of several types, which Parquet has no place for, is kept as JSON.
        return pa.array([None if value is None else json.dumps(value) for value in values])


def _objects(values: Sequence[Any]) -> Any:
    """Values as Arrow's JSON, which `load_dataset` gives back as they are."""
    import pyarrow as pa

    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts, pa.string()))


def _has_object(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_has_object, value)))
