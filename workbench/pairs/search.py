"""Finds the rows that a query asks for, a whole column at a time."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pyarrow.compute as pc

from workbench.pairs.arrow import Ints, as_column, bounds_of, contents_of, strings
from workbench.pairs.columns import THREADS
from workbench.pairs.history import TEXTS
from workbench.pairs.query import NONE, Query, Term
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


class Search:
    """Finds rows of one `Rows`; remembers the latest searches through text, which other terms do not change."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._version = rows.version
        self._remembered: dict[tuple[str, str], Ints] = {}
        self._all_ids: Any = strings([])

    def find(self, query: Query, findings: Findings | None = None) -> Ints:
        """The rows that a query finds, in the order of the file."""
        order = self._rows.order
        if not query.terms:
            return order
        mask = np.ones(len(self._rows), bool)
        # Text last: it costs most. (What came before does not narrow it down: a pass over a column is faster whole.)
        for term in sorted(query.terms, key=lambda term: term.kind == "text"):
            found = self._mask(term, findings or {})
            mask &= ~found if term.negated else found
        return order[mask[order]]

    def _mask(self, term: Term, findings: Findings) -> Ints:
        rows = self._rows
        if term.kind == "length":
            return _SIGNS[term.sign](ratio(rows), term.number)  # type: ignore[no-any-return]
        if term.kind == "finding":
            mask = np.zeros(len(rows), bool)
            found = (rows.row(identity) for identity, names in findings.items() if _named(term.values, names))
            mask[[row for row in found if row is not None]] = True
            return mask
        if term.kind == "label":
            return self._label(term)
        mask = np.zeros(len(rows), bool)
        for field in term.fields:
            mask |= self._text(field, term)
        return mask

    def _label(self, term: Term) -> Ints:
        name = {"tag": "tags"}.get(term.fields[0], term.fields[0])
        values = self._rows.vocabularies[name].values
        if name == "tags":
            holds = [any(tag.casefold() in term.values for tag in tags or (NONE,)) for tags in values]
        elif name == "source":
            holds = [any(value in source.casefold() for value in term.values) for source in values]
        else:
            holds = [(value or NONE) in term.values for value in values]
        return np.array(holds, bool)[self._rows.labels[name]]

    def _text(self, field: str, term: Term) -> Ints:
        rows = self._rows
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
        found = self._remembered.get(key)
        if found is None:
            found = self._remembered[key] = self._in_texts(field, pattern)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
        return found

    def _ids(self) -> Any:
        if len(self._all_ids) != len(self._rows):
            self._all_ids = strings([self._rows.id(row) for row in range(len(self._rows))])
        return self._all_ids

    def _in_texts(self, field: str, pattern: str) -> Ints:
        rows = self._rows
        mask = self._as_read(field, pattern)
        if field != "prompt" and rows.swapped.any():
            other = "rejected" if field == "chosen" else "chosen"
            mask = np.where(rows.swapped, self._as_read(other, pattern), mask)
        if rows.texts:
            place = TEXTS.index(field)
            edited = list(rows.texts)
            kind = bool(rows.conversational)
            column = as_column([rows.texts[row][place] for row in edited], kind)
            mask[edited] = _matches(column, pattern)
        return mask

    def _as_read(self, field: str, pattern: str) -> Ints:
        mask = np.zeros(len(self._rows), bool)
        blocks = self._rows.base.blocks
        found = _pool().map(lambda block: _matches(block.texts[field], pattern), blocks)
        for block, each in zip(blocks, found, strict=True):
            mask[block.first : block.first + len(each)] = each
        return mask


def ratio(rows: Rows) -> Ints:
    """Words of chosen ÷ words of rejected, of each row; 1 where both have none."""
    chosen, rejected = rows.words["chosen"], rows.words["rejected"]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = chosen / rejected
    found[(chosen == 0) & (rejected == 0)] = 1.0
    return found


def _named(values: tuple[str, ...], names: set[str]) -> bool:
    return any(name.casefold().startswith(values) for name in names)


def _matches(column: Any, pattern: str) -> Ints:
    """Whether the pattern occurs in each text of a column, in one of its turns."""
    found = _bools(pc.match_substring_regex(contents_of(column), pattern))
    if contents_of(column) is column:
        return found
    mask = np.zeros(len(column), bool)
    mask[np.searchsorted(bounds_of(column), np.flatnonzero(found), side="right") - 1] = True
    return mask


def _bools(column: Any) -> Ints:
    if not len(column):
        return np.empty(0, bool)
    bits = np.frombuffer(column.buffers()[1], np.uint8)
    return np.unpackbits(bits, bitorder="little")[column.offset :][: len(column)].view(bool)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="search")
