"""The orders that pairs can be shown in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.pairs.arrow import Ints, as_column, bounds_of, contents_of, strings
from workbench.pairs.history import LABELS
from workbench.pairs.pair import STATUSES
from workbench.pairs.rows import Rows
from workbench.pairs.search import ratio

_SORTED_BY = 200
"""How many characters of a prompt tell its place."""
ORDERS = ("row", "status", "prompt", "chosen", "rejected", "ratio", "tags", "split", "note", "source")


class View:
    """Orders of one `Rows`; remembers the prompts, which seldom change."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._prompts: Any = None
        self._version = -1

    def sorted(
        self, rows: Ints, by: str, *, descending: bool = False, scores: Mapping[str, float] | None = None
    ) -> Ints:
        """Rows in another order: by one of `ORDERS`, or by `scores` (by id; the rows that have none come last)."""
        if scores is not None:
            keys = np.array([scores.get(identity, np.nan) for identity in self._rows.ids(rows)])
            places = np.argsort(-keys if descending else keys, kind="stable")
            return rows[places]
        keys = self._keys(by, rows)
        if descending:
            # Stable both ways: rows that are equal keep the order of the file.
            return rows[::-1][np.argsort(keys[::-1], kind="stable")][::-1]
        return rows[np.argsort(keys, kind="stable")]

    def _keys(self, by: str, rows: Ints) -> Ints:
        if by in ("chosen", "rejected"):
            return self._rows.words[by][rows]
        if by == "ratio":
            return ratio(self._rows)[rows]
        if by == "prompt":
            places = pc.sort_indices(self._all_prompts())
            ranks = np.empty(len(self._rows), np.int64)
            ranks[np.frombuffer(places.buffers()[1], np.uint64)[: len(ranks)]] = np.arange(len(ranks))
            return ranks[rows]
        if by in LABELS:
            values = self._rows.vocabularies[by].values
            key = STATUSES.index if by == "status" else None
            ranks = np.empty(len(values), np.int64)
            ranks[sorted(range(len(values)), key=lambda place: key(values[place]) if key else values[place])] = (
                np.arange(len(values))
            )
            return ranks[self._rows.labels[by][rows]]
        return self._rows.numbers[rows]

    def _all_prompts(self) -> Any:
        rows = self._rows
        if self._version != rows.version:
            if self._prompts is None:
                parts = [_last_turns(block.texts["prompt"]) for block in rows.base.blocks]
                self._prompts = pa.chunked_array([*parts], pa.string()).combine_chunks() if parts else strings([])
            self._version = rows.version
        prompts = self._prompts
        if rows.texts:
            edited = sorted(rows.texts)
            column = as_column([rows.texts[row][0] for row in edited], bool(rows.conversational))
            places = np.arange(len(rows), dtype=np.int32)
            places[edited] = np.arange(len(edited), dtype=np.int32) + len(prompts)
            joined = pa.chunked_array([prompts, _last_turns(column)], pa.string()).combine_chunks()
            return joined.take(_numbers(places))
        return prompts


def _last_turns(column: Any) -> Any:
    """The beginning of the last user turn of each prompt, or of the whole of a plain one."""
    contents = contents_of(column)
    if contents is not column:
        roles = column.flatten().field(0).dictionary_encode()
        known = roles.dictionary.to_pylist()
        users = np.frombuffer(roles.indices.buffers()[1], np.int32)[: len(roles)] if len(roles) else np.empty(0, int)
        places = np.flatnonzero(users == known.index("user")) if "user" in known else np.empty(0, np.int64)
        bounds = bounds_of(column)
        last = np.searchsorted(places, bounds[1:], side="left") - 1
        found = np.where(last >= 0, places[last] if len(places) else -1, -1)
        found = np.where(found >= bounds[:-1], found, -1)
        contents = pa.chunked_array([strings([""]), contents], pa.string()).combine_chunks()
        contents = contents.take(_numbers((found + 1).astype(np.int32)))
    return pc.utf8_slice_codeunits(contents, 0, _SORTED_BY)


def _numbers(values: Ints) -> Any:
    kept = np.ascontiguousarray(values, np.int32)
    return pa.Array.from_buffers(pa.int32(), len(kept), [None, pa.py_buffer(kept)])
