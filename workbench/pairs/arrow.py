"""Columns of texts in Arrow, and their numbers as NumPy arrays, without a copy and without importing pandas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pyarrow as pa

from workbench.pairs.pair import Message, Text, turn_from

TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
"""The type of a column of plain turns. Where some are more (`Message.whole`), a third field has those as JSON, empty
for the plain ones, and `content` has all that they say."""

Ints = np.ndarray[Any, np.dtype[Any]]


def words_in(column: Any) -> Ints:
    """How many words, parted by ASCII white space, each text of a column has (strings, or lists of turns)."""
    turns = pa.types.is_list(column.type)
    contents = contents_of(column)
    offsets = offsets_of(contents)
    data = contents.buffers()[2]
    inside = np.frombuffer(data, np.uint8)[: int(offsets[-1])] > 32 if data else np.empty(0, bool)
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    first = offsets[:-1][offsets[:-1] < offsets[1:]]
    begins[first] = inside[first]
    counts = np.zeros(len(contents), np.int32)
    if len(first):
        counts[offsets[:-1] < offsets[1:]] = np.add.reduceat(begins.view(np.uint8), first, dtype=np.int32)
    if not turns:
        return counts
    total = np.concatenate([np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)])
    bounds = bounds_of(column)
    return cast("Ints", total[bounds[1:]] - total[bounds[:-1]])


def ints(column: Any) -> Ints:
    """The numbers of an int32 column without nulls. (`to_numpy` would import pandas.)"""
    return cast("Ints", np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column)])


def offsets_of(column: Any) -> Ints:
    """Where each string of a column begins in its data, and the end of the last."""
    return cast("Ints", np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column) + 1])


def bounds_of(column: Any) -> Ints:
    """Where each list of a column begins in what `contents_of` gives, and the end of the last."""
    bounds = ints(column.offsets)
    return cast("Ints", bounds - bounds[0])


def contents_of(column: Any) -> Any:
    """The words of a column of texts: its strings, or the contents of all its turns, one after the other."""
    return column.flatten().field(1) if pa.types.is_list(column.type) else column


def texts_in(column: Any) -> list[Text]:
    """Prompts or responses out of their Arrow column."""
    contents: list[str] = contents_of(column).to_pylist()
    if not pa.types.is_list(column.type):
        return list(contents)
    flat = column.flatten()
    turns = [Message(role, content) for role, content in zip(flat.field(0).to_pylist(), contents, strict=True)]
    if flat.type.num_fields > TURNS.value_type.num_fields:
        for number, whole in enumerate(flat.field(2).to_pylist()):
            if whole:
                turns[number] = turn_from(json.loads(whole))
    return [tuple(turns[begin:end]) for begin, end in pairwise(bounds_of(column).tolist())]


def as_column(texts: Sequence[Text], conversational: bool) -> Any:
    """Prompts or responses as an Arrow column."""
    if not conversational:
        return strings([str(text) for text in texts])
    turns = [turn for text in texts for turn in text if isinstance(turn, Message)]
    parts = [strings([turn.role for turn in turns]), strings([turn.text for turn in turns])]
    names = ["role", "content"]
    if any(turn.whole for turn in turns):
        parts.append(strings([turn.whole for turn in turns]))
        names.append("whole")
    bounds = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    offsets = pa.Array.from_buffers(pa.int32(), len(bounds), [None, pa.py_buffer(bounds)])
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(parts, names=names))


def strings(texts: Sequence[str]) -> Any:
    """Texts as an Arrow array. (`pa.array` would import pandas, where that is installed, which takes half a second.)"""
    encoded = [text.encode() for text in texts]
    bounds = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(bounds), pa.py_buffer(b"".join(encoded))]
    )
