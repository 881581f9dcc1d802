"""A file of pairs read into columns. Arrow does the parsing; lines that it cannot vouch for are read one by one.

160,000 pairs as Python objects take seconds and gigabytes. Here the file's bytes are kept as they are, beside them
the texts as Arrow arrays (for searching) and the labels as small numbers; a pair is made from its line when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from workbench.errors import WorkbenchError
from workbench.pairs import strength
from workbench.pairs.arrow import TURNS, Ints, as_column, ints, strings, texts_in, words_in
from workbench.pairs.lines import Problem, Stamp, UnusableError, decode_object, kind_of, pair_in, pair_of
from workbench.pairs.pair import (
    ID_LENGTH,
    LABEL_DEFAULTS,
    LABELS,
    ROLES,
    SPLITS,
    STATUSES,
    TEXTS,
    Pair,
    Text,
    contents_hash,
    has_words,
)

_BOM = b"\xef\xbb\xbf"
_PIECE = 4 << 20
_LONG_LINE = 1800
_MOST_BRACKETS = 900
"""A line with more may be nested more deeply than Python's or Arrow's reader can follow."""
_UNIT = "\x1f"
THREADS = 2

_LABEL_TYPES = [(name, pa.list_(pa.string()) if name == "tags" else pa.string()) for name in LABELS]

SIDES = ("", *SPLITS)
"""Splits by number; 0 is none."""


class Vocabulary:
    """Values and the numbers that stand for them in a column."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}
        for value in values:
            self.number(value)

    def number(self, value: Any) -> int:
        """The number of `value`, a new one where it had none."""
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


@dataclass(slots=True)
class LineBlock:
    """Some lines of a file. Rows are lines: one that holds no pair has empty columns and False in `is_pair`."""

    starts: Ints
    is_pair: Ints
    ids: Any
    texts: dict[str, Any]
    labels: dict[str, tuple[list[Any], Ints]]
    """For status, split, tags, note and source: the values that occur, and each row's as a place among them."""
    words: dict[str, Ints]
    margins: Ints
    problems: list[Problem]
    """Their lines count from 0 here, from the block's first."""
    unnamed: list[int]
    """The rows of pairs whose line has no id of its own: theirs is by their contents. From 0 here too."""
    first: int = 0


@dataclass(slots=True)
class Columns:
    """A file that was read. Row r is line r, from 0, byte order mark set aside."""

    raw: memoryview
    bom: bytes
    starts: Ints
    """Where each line begins in `raw`, and the end of the last."""
    stamp: Stamp
    conversational: bool | None
    blocks: list[LineBlock]
    is_pair: Ints
    ids: list[str]
    by_id: dict[str, int]
    problems: list[Problem]
    unnamed: frozenset[int] = frozenset()
    """The rows of pairs whose line has no id: it is by their contents, and is written with their first edit."""
    renamed: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Those of them whose contents another pair has too, so that their id also depends on the order."""
    labels: dict[str, Ints] = field(default_factory=dict)
    vocabularies: dict[str, Vocabulary] = field(default_factory=dict)
    words: dict[str, Ints] = field(default_factory=dict)
    margins: Ints = field(default_factory=lambda: np.empty(0))
    """By how much each row's columns prefer its chosen answer (`strength.margin_of`)."""

    def line(self, row: int) -> bytes:
        """The bytes of a line, its ending included."""
        return bytes(self.raw[int(self.starts[row]) : int(self.starts[row + 1])])


def load(path: Path) -> Columns:
    """Reads a file of pairs. Raises `WorkbenchError` where it cannot be read at all."""
    try:
        with path.open("rb", buffering=0) as file:
            stat = os.fstat(file.fileno())
            buffer = np.empty(stat.st_size, np.uint8)
            with ThreadPoolExecutor(THREADS) as pool:
                return _read(file, buffer.data, Stamp.of(stat), pool)
    except OSError as error:
        raise WorkbenchError(
            f"Cannot read {path.name}", f"{path}: {error.strerror or error}.", "Check the name and its permissions."
        ) from error


def _read(file: Any, raw: memoryview, stamp: Stamp, pool: ThreadPoolExecutor) -> Columns:
    """Reads on while the pieces before are parsed in `pool`."""
    filled = begin = 0
    bom = b""
    conversational: bool | None = None
    waiting: list[memoryview] = []
    jobs = []
    bounds = []
    while True:
        count = file.readinto(raw[filled : filled + _PIECE])
        filled += count
        if not begin and not bom and filled >= len(_BOM) and raw[: len(_BOM)] == _BOM:
            bom, begin = _BOM, len(_BOM)
        end = filled if not count else _after_last_newline(raw, begin, filled)
        if end > begin:
            piece = raw[begin:end]
            bounds.append(begin)
            begin = end
            waiting.append(piece)
            if conversational is None:
                conversational = _kind(piece)
            if conversational is not None:
                jobs += [pool.submit(_block, part, conversational=conversational) for part in waiting]
                waiting.clear()
        if not count:
            break
    jobs += [pool.submit(_block, part, conversational=False) for part in waiting]
    return _joined([job.result() for job in jobs], bounds, raw[:filled], bom, stamp, conversational)


def _after_last_newline(raw: memoryview, begin: int, end: int) -> int:
    """The place after the last line ending between two places; `begin` where there is none."""
    back = 1 << 16
    while True:
        low = max(begin, end - back)
        newline = bytes(raw[low:end]).rfind(b"\n")
        if newline >= 0:
            return low + newline + 1
        if low == begin:
            return begin
        back *= 4


def _kind(piece: memoryview) -> bool | None:
    for line in bytes(piece).split(b"\n"):
        try:
            return pair_in(line).conversational
        except UnusableError:
            continue
    return None


def _joined(
    blocks: list[LineBlock], bounds: list[int], raw: memoryview, bom: bytes, stamp: Stamp, conversational: bool | None
) -> Columns:
    ids: list[str] = []
    problems = []
    unnamed: list[int] = []
    for block in blocks:
        block.first = len(ids)
        unnamed += [block.first + row for row in block.unnamed]
        ids += block.ids
        block.ids = None
        problems += [Problem(block.first + problem.line + 1, problem.reason) for problem in block.problems]
    is_pair = _concatenated([block.is_pair for block in blocks], bool)
    renamed = _tell_apart(ids, is_pair, unnamed)
    starts = [block.starts.astype(np.int64) + bound for block, bound in zip(blocks, bounds, strict=True)]
    columns = Columns(
        raw=raw,
        bom=bom,
        starts=np.concatenate([*starts, np.array([len(raw)], np.int64)]),
        stamp=stamp,
        conversational=conversational,
        blocks=blocks,
        is_pair=is_pair,
        ids=ids,
        by_id=dict(zip(reversed(ids), range(len(ids) - 1, -1, -1), strict=True)),
        problems=problems,
        unnamed=frozenset(unnamed),
        renamed=np.array(renamed, np.int64),
    )
    columns.by_id.pop("", None)
    if len(columns.by_id) < int(columns.is_pair.sum()):
        _refuse_taken_ids(columns)
    _join_labels(columns)
    for name in ("chosen", "rejected"):
        columns.words[name] = _concatenated([block.words[name] for block in blocks], np.int32)
    columns.margins = _concatenated([block.margins for block in blocks], np.float64)
    return columns


def _tell_apart(ids: list[str], is_pair: Ints, unnamed: list[int]) -> list[int]:
    """Gives rows without an id of their own another one where theirs is taken; returns those rows."""
    if not unnamed:
        return []
    own = is_pair.copy()
    own[unnamed] = False
    taken = {ids[row] for row in np.flatnonzero(own).tolist()}
    numbers: dict[str, int] = {}
    renamed = []
    for row in unnamed:
        identity = ids[row]
        if identity in taken:
            number = numbers.get(identity, 2)
            while f"{identity}-{number}" in taken:
                number += 1
            numbers[identity] = number + 1
            ids[row] = f"{identity}-{number}"
            renamed.append(row)
        taken.add(ids[row])
    return renamed


def _refuse_taken_ids(columns: Columns) -> None:
    for row in np.flatnonzero(columns.is_pair).tolist():
        identity = columns.ids[row]
        first = columns.by_id[identity]
        if first != row:
            columns.is_pair[row] = False
            columns.problems.append(Problem(row + 1, f"has the id of line {first + 1}, {identity!r}"))
    columns.problems.sort(key=lambda problem: problem.line)


def _join_labels(columns: Columns) -> None:
    known: dict[str, Iterable[Any]] = {"status": STATUSES, "split": SIDES, "tags": [()], "note": [""], "source": [""]}
    for name, first in known.items():
        vocabulary = columns.vocabularies[name] = Vocabulary(first)
        parts = []
        for block in columns.blocks:
            values, codes = block.labels[name]
            parts.append(np.array([vocabulary.number(value) for value in values], np.int32)[codes])
        columns.labels[name] = _concatenated(parts, np.int32)
        for block in columns.blocks:
            block.labels.pop(name)


def _concatenated(parts: Sequence[Ints], kind: Any) -> Ints:
    return np.concatenate(parts).astype(kind, copy=False) if parts else np.empty(0, kind)


# One block


def _block(piece: memoryview, *, conversational: bool) -> LineBlock:
    view = np.frombuffer(piece, np.uint8)
    ends = np.flatnonzero(view == 10)
    if not len(ends) or ends[-1] != len(view) - 1:
        ends = np.append(ends, len(view))
    starts = np.concatenate([np.zeros(1, ends.dtype), ends[:-1] + 1])
    return _fast(piece, view, starts, ends, conversational) or _slow(piece, starts, ends, conversational)


def _fast(piece: memoryview, view: Ints, starts: Ints, ends: Ints, conversational: bool) -> LineBlock | None:
    """The block as Arrow reads it; None where only a look at each line can tell what is in it.

    Arrow reads a superset of lines of JSON, so each line is held to begin and end an object, and what Arrow leaves
    unchecked (UTF-8, roles, unknown fields of a message) is checked after it.
    """
    if not _one_object_a_line(piece, view, starts, ends):
        return None
    text = TURNS if conversational else pa.string()
    schema = pa.schema([("id", pa.string()), *((name, text) for name in TEXTS), *_LABEL_TYPES])
    try:
        table = pj.read_json(
            pa.BufferReader(pa.py_buffer(piece)),
            read_options=pj.ReadOptions(block_size=len(view) + 1, use_threads=False),
            parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
        )
        if table.num_rows != len(starts):
            return None
        table.validate(full=True)
        fields = {name: table.column(name).combine_chunks() for name in schema.names}
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    if not _whole(fields, text, conversational):
        return None
    labels = _labels(fields)
    if labels is None:
        return None
    texts = {name: fields[name] for name in TEXTS}
    ids = fields["id"].to_pylist()
    if "" in ids:
        return None
    unnamed = [row for row, identity in enumerate(ids) if identity is None]
    if unnamed:
        every = [texts_in(texts[name]) for name in TEXTS]
        for row in unnamed:
            ids[row] = contents_hash(*(column[row] for column in every))[:ID_LENGTH]
    rows = np.ones(len(starts), bool)
    margins = _margins(table)
    if margins is None:
        return None
    return LineBlock(starts, rows, ids, texts, labels, _words_of(texts), margins, [], unnamed)


def _one_object_a_line(piece: memoryview, view: Ints, starts: Ints, ends: Ints) -> bool:
    if (ends - starts < 2).any() or (view[starts] != ord("{")).any():
        return False
    last = view[ends - 1]
    if (last == ord("\r")).any():
        last = np.where(last == ord("\r"), view[ends - 2], last)
    if (last != ord("}")).any():
        return False
    for line in np.flatnonzero(ends - starts > _LONG_LINE).tolist():
        raw = bytes(piece[int(starts[line]) : int(ends[line])])
        if raw.count(b"{") + raw.count(b"[") > _MOST_BRACKETS:
            return False
    return True


def _whole(fields: dict[str, Any], text: Any, conversational: bool) -> bool:
    """Whether every row has three texts, with known roles alone."""
    for name in TEXTS:
        column = fields[name]
        if column.null_count or column.type != text:
            return False
        if conversational:
            turns = column.values
            roles, contents = turns.field(0), turns.field(1)
            if turns.null_count or roles.null_count or contents.null_count:
                return False
            if not set(roles.dictionary_encode().dictionary.to_pylist()) <= set(ROLES):
                return False
    return True


def _labels(fields: dict[str, Any]) -> dict[str, tuple[list[Any], Ints]] | None:
    """The labels of each row, None where they need a closer look."""
    labels = {}
    for name in ("status", "split", "note", "source"):
        values, codes = _coded(fields[name])
        values = [value or LABEL_DEFAULTS[name] for value in values]
        known = {"status": STATUSES, "split": SIDES}.get(name)
        if known and not set(values) <= set(known):
            return None
        labels[name] = values, codes
    tags = fields["tags"]
    if tags.null_count == len(tags):
        labels["tags"] = [()], np.zeros(len(tags), np.int32)
        return labels
    every = tags.values.dictionary_encode().dictionary.to_pylist()
    if tags.values.null_count or any(not tag or _UNIT in tag for tag in every):
        return None
    values, codes = _coded(pc.binary_join(tags, strings([_UNIT])[0]))
    labels["tags"] = [tuple(value.split(_UNIT)) if value else () for value in values], codes
    return labels


def _coded(column: Any) -> tuple[list[Any], Ints]:
    encoded = pc.dictionary_encode(column, null_encoding="encode")
    return encoded.dictionary.to_pylist(), ints(encoded.indices)


def _margins(table: Any) -> Ints | None:
    """`margin_of` of each row; None where the columns that say it hold more than numbers."""
    there = strength.COLUMNS & set(table.column_names)
    margins = np.full(table.num_rows, np.nan)
    numbers = {}
    for name in there:
        column = table.column(name).combine_chunks()
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
            return None
        numbers[name] = np.array(column.cast(pa.float64()).fill_null(np.nan))
    for one, other, sign in reversed(strength.SCORED):
        if one in numbers and other in numbers:
            difference = sign * (numbers[one] - numbers[other])
            margins = np.where(np.isnan(difference), margins, difference)
    given = numbers.get(strength.MARGIN, np.full(table.num_rows, np.nan))
    return np.where(np.isnan(given), margins, given)


def _words_of(texts: dict[str, Any]) -> dict[str, Ints]:
    return {name: words_in(texts[name]) for name in ("chosen", "rejected")}


def _slow(piece: memoryview, starts: Ints, ends: Ints, conversational: bool) -> LineBlock:
    """The block read line by line, with the reason for each that holds no pair."""
    pairs: list[Pair | None] = []
    problems, unnamed = [], []
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        raw = bytes(piece[start:end])
        pair = None
        if raw.strip():
            try:
                row = decode_object(raw)
                pair = pair_of(row)
                if pair.conversational != conversational:
                    raise UnusableError(f"is {kind_of(pair)}, unlike the first pair; a file is of one kind")
            except UnusableError as error:
                pair = None
                problems.append(Problem(number, str(error)))
        if pair is not None and row.get("id") != pair.id:
            unnamed.append(number)
        pairs.append(pair)
    empty: Text = () if conversational else ""
    texts = {
        name: as_column([getattr(pair, name) if pair else empty for pair in pairs], conversational) for name in TEXTS
    }
    labels = {}
    for name in LABELS:
        values = Vocabulary()
        codes = [values.number((pair and getattr(pair, name)) or LABEL_DEFAULTS[name]) for pair in pairs]
        labels[name] = values.values, np.array(codes, np.int32)
    rows = np.array([pair is not None for pair in pairs], bool)
    ids = [pair.id if pair else "" for pair in pairs]
    words = _words_of(texts)
    for name, counts in words.items():
        # A turn may have words in its other fields and still say nothing.
        answers = [getattr(pair, name) if pair else "" for pair in pairs]
        counts[[bool(text) and not isinstance(text, str) and not has_words(text) for text in answers]] = 0
    margins = np.array([strength.margin_of(pair.extra) if pair else np.nan for pair in pairs], np.float64)
    return LineBlock(starts, rows, ids, texts, labels, words, margins, problems, unnamed)
