"""Finds the rows that a query asks for, and puts rows in order, a whole column at a time."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.pairs.arrow import Ints, as_column, bounds_of, contents_of, strings
from workbench.pairs.columns import THREADS
from workbench.pairs.pair import LABELS, STATUSES, TEXTS
from workbench.pairs.query import NONE, UNDRAFTED, Order, Query, Term
from workbench.pairs.rows import Rows

Findings = Mapping[str, set[str]]
"""By id: the names of the checks that found something in a pair."""

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
}
_REMEMBERED = 8
_SORTED_BY = 200
"""How many characters of a prompt tell its place."""


class Search:
    """Finds and sorts rows of one `Rows`; remembers the latest searches through text, and the prompts."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._version = rows.version
        self._prompts: Any = None
        self._prompts_version = -1
        self._remembered: dict[tuple[str, str], Ints] = {}
        self._all_ids: Any = strings([])

    def find(self, query: Query, findings: Findings | None = None) -> Ints:
        """The rows that a query finds, in the order of the file."""
        order = self.rows.order
        if not query.terms:
            return order
        mask = np.ones(len(self.rows), bool)
        # Text last: it costs most. (What came before does not narrow it down: a pass over a column is faster whole.)
        for term in sorted(query.terms, key=lambda term: term.kind == "text"):
            matches = self._mask(term, findings or {})
            mask &= ~matches if term.negated else matches
        return order[mask[order]]

    def sorted(self, rows: Ints, order: Order, margins: Mapping[str, float] | None = None) -> Ints:
        """Rows in another order; by a run's `margins` (by id) or those of the data, those that have none come last."""
        if order.by == "margin" or order.run:
            margins = margins or {}
            keys = (
                np.array([margins.get(identity, np.nan) for identity in self.rows.ids(rows)])
                if order.run
                else self.rows.margins[rows]
            )
            return rows[np.argsort(-keys if order.descending else keys, kind="stable")]
        keys = self._keys(order.by, rows)
        if order.descending:
            # Stable both ways: rows that are equal keep the order of the file.
            return rows[::-1][np.argsort(keys[::-1], kind="stable")][::-1]
        return rows[np.argsort(keys, kind="stable")]

    def _mask(self, term: Term, findings: Findings) -> Ints:
        rows = self.rows
        if term.kind == "length":
            return _SIGNS[term.sign](ratio(rows), term.number)  # type: ignore[no-any-return]
        if term.kind == "margin":
            return _SIGNS[term.sign](rows.margins, term.number)  # type: ignore[no-any-return]
        if term.kind == "finding":
            mask = np.zeros(len(rows), bool)
            rows_found = (rows.row(identity) for identity, names in findings.items() if _named(term.values, names))
            mask[[row for row in rows_found if row is not None]] = True
            return mask
        if term.kind == "label":
            return self._label(term)
        mask = np.zeros(len(rows), bool)
        for field in term.fields:
            mask |= self._text(field, term)
        return mask

    def _label(self, term: Term) -> Ints:
        name = {"tag": "tags"}.get(term.fields[0], term.fields[0])
        values = self.rows.vocabularies[name].values
        if name == "status":
            holds = [value in term.values for value in values]
            asked = np.array(holds, bool)[self.rows.labels[name]]
            return asked | self.rows.undrafted if UNDRAFTED in term.values else asked
        if name == "tags":
            holds = [any(tag.casefold() in term.values for tag in tags or (NONE,)) for tags in values]
        elif name == "source":
            holds = [any(value in source.casefold() for value in term.values) for source in values]
        else:
            holds = [(value or NONE) in term.values for value in values]
        return np.array(holds, bool)[self.rows.labels[name]]

    def _text(self, field: str, term: Term) -> Ints:
        rows = self.rows
        pattern = "(?i)" + (term.value if term.regex else re.escape(term.value))
        if field == "note":
            values = rows.vocabularies["note"].values
            return _bools(pc.match_substring_regex(strings(values), pattern))[rows.labels["note"]]
        if field == "id":
            return _bools(pc.match_substring_regex(self._ids(), pattern))
        if self._version != rows.version:
            self._remembered.clear()
            self._version = rows.version
        key = (field, pattern)
        mask = self._remembered.get(key)
        if mask is None:
            mask = self._remembered[key] = self._in_texts(field, pattern)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
        return mask

    def _ids(self) -> Any:
        if len(self._all_ids) != len(self.rows):
            self._all_ids = strings([self.rows.id(row) for row in range(len(self.rows))])
        return self._all_ids

    def _in_texts(self, field: str, pattern: str) -> Ints:
        rows = self.rows
        mask = self._as_read(field, pattern)
        if field != "prompt" and rows.swapped.any():
            other = "rejected" if field == "chosen" else "chosen"
            mask = np.where(rows.swapped, self._as_read(other, pattern), mask)
        if rows.texts:
            field_number = TEXTS.index(field)
            edited = list(rows.texts)
            kind = bool(rows.conversational)
            column = as_column([rows.texts[row][field_number] for row in edited], kind)
            mask[edited] = _matches(column, pattern)
        return mask

    def _as_read(self, field: str, pattern: str) -> Ints:
        mask = np.zeros(len(self.rows), bool)
        blocks = self.rows.base.blocks
        masks = _pool().map(lambda block: _matches(block.texts[field], pattern), blocks)
        for block, matches in zip(blocks, masks, strict=True):
            mask[block.first : block.first + len(matches)] = matches
        return mask

    def _keys(self, by: str, rows: Ints) -> Ints:
        if by in ("chosen", "rejected"):
            return self.rows.words[by][rows]
        if by == "ratio":
            return ratio(self.rows)[rows]
        if by == "prompt":
            order = pc.sort_indices(self._all_prompts())
            ranks = np.empty(len(self.rows), np.int64)
            ranks[np.frombuffer(order.buffers()[1], np.uint64)[: len(ranks)]] = np.arange(len(ranks))
            return ranks[rows]
        if by in LABELS:
            values = self.rows.vocabularies[by].values
            key = STATUSES.index if by == "status" else None
            ranks = np.empty(len(values), np.int64)
            ranks[sorted(range(len(values)), key=lambda code: key(values[code]) if key else values[code])] = np.arange(
                len(values)
            )
            return ranks[self.rows.labels[by][rows]]
        return self.rows.numbers[rows]

    def _all_prompts(self) -> Any:
        rows = self.rows
        if self._prompts_version != rows.version:
            if self._prompts is None:
                parts = [_last_turns(block.texts["prompt"]) for block in rows.base.blocks]
                self._prompts = pa.chunked_array([*parts], pa.string()).combine_chunks() if parts else strings([])
            self._prompts_version = rows.version
        prompts = self._prompts
        if rows.texts:
            edited = sorted(rows.texts)
            column = as_column([rows.texts[row][0] for row in edited], bool(rows.conversational))
            sources = np.arange(len(rows), dtype=np.int32)
            sources[edited] = np.arange(len(edited), dtype=np.int32) + len(prompts)
            joined = pa.chunked_array([prompts, _last_turns(column)], pa.string()).combine_chunks()
            return joined.take(_numbers(sources))
        return prompts


def ratio(rows: Rows) -> Ints:
    """Words of chosen ÷ words of rejected, of each row; 1 where both have none."""
    chosen, rejected = rows.words["chosen"], rows.words["rejected"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = chosen / rejected
    ratios[(chosen == 0) & (rejected == 0)] = 1.0
    return ratios


def _last_turns(column: Any) -> Any:
    """The beginning of the last user turn of each prompt, or of the whole of a plain one."""
    contents = contents_of(column)
    if contents is not column:
        roles = column.flatten().field(0).dictionary_encode()
        known = roles.dictionary.to_pylist()
        users = np.frombuffer(roles.indices.buffers()[1], np.int32)[: len(roles)] if len(roles) else np.empty(0, int)
        user_turns = np.flatnonzero(users == known.index("user")) if "user" in known else np.empty(0, np.int64)
        bounds = bounds_of(column)
        nearest = np.searchsorted(user_turns, bounds[1:], side="left") - 1
        last_turn = np.where(nearest >= 0, user_turns[nearest] if len(user_turns) else -1, -1)
        last_turn = np.where(last_turn >= bounds[:-1], last_turn, -1)
        contents = pa.chunked_array([strings([""]), contents], pa.string()).combine_chunks()
        contents = contents.take(_numbers((last_turn + 1).astype(np.int32)))
    return pc.utf8_slice_codeunits(contents, 0, _SORTED_BY)


def _numbers(values: Ints) -> Any:
    kept = np.ascontiguousarray(values, np.int32)
    return pa.Array.from_buffers(pa.int32(), len(kept), [None, pa.py_buffer(kept)])


def _named(values: tuple[str, ...], names: set[str]) -> bool:
    return any(name.casefold().startswith(values) for name in names)


def _matches(column: Any, pattern: str) -> Ints:
    """Whether the pattern occurs in each text of a column, in one of its turns."""
    matches = _bools(pc.match_substring_regex(contents_of(column), pattern))
    if contents_of(column) is column:
        return matches
    mask = np.zeros(len(column), bool)
    mask[np.searchsorted(bounds_of(column), np.flatnonzero(matches), side="right") - 1] = True
    return mask


def _bools(column: Any) -> Ints:
    if not len(column):
        return np.empty(0, bool)
    bits = np.frombuffer(column.buffers()[1], np.uint8)
    return np.unpackbits(bits, bitorder="little")[column.offset :][: len(column)].view(bool)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="search")
