"""A data set to look through: the search line, the table of what it finds, and the pair under the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.message import Message

from workbench.pairs.pair import Pair, Status
from workbench.pairs.query import Order, Query, QueryError, parse
from workbench.tui.background import background
from workbench.tui.widgets.pair_cells import Known, cells, columns
from workbench.tui.widgets.pair_table import PairTable, Shown
from workbench.tui.widgets.pair_view import PairView
from workbench.tui.widgets.search_line import SearchLine

if TYPE_CHECKING:
    from workbench.pairs.arrow import Ints
    from workbench.pairs.checks.running import PairChecks
    from workbench.pairs.store import PairStore

_NO_MARGINS: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class _Sought:
    """What is looked for, and in which order."""

    query: Query
    order: Order
    margins: Mapping[str, float]


class PairBrowser(Vertical):
    """Shows the pairs of a store that the query finds. The cursor keeps its pair when query or order change.

    A pair that was edited stays where it is, found or not, until there is another query: nothing jumps under the keys.
    """

    DEFAULT_CSS = "PairBrowser { height: 1fr; }"

    class Found(Message):
        """There is now something else to see in the table."""

    def __init__(self) -> None:
        super().__init__()
        self._store: PairStore | None = None
        self._checks: PairChecks | None = None
        self._identity = ""
        self._sought = _Sought(parse(""), Order(), _NO_MARGINS)
        self._rows: Ints | None = None

    def compose(self) -> ComposeResult:
        """Search line, table, pair."""
        yield SearchLine()
        with Container(id="panes"):
            yield PairTable()
            yield PairView()

    @property
    def table(self) -> PairTable:
        """The table of what the query finds."""
        return self.query_one(PairTable)

    @property
    def row(self) -> int | None:
        """The row in the store of the pair under the cursor."""
        return self.table.row

    @property
    def rows(self) -> Ints | None:
        """The rows that are shown, from top to bottom."""
        return self._rows

    @property
    def searched_for(self) -> str:
        """The query; empty where all is shown."""
        return self._sought.query.text if self._sought.query.terms else ""

    @property
    def order(self) -> Order:
        """The order that the pairs are in."""
        return self._sought.order

    def show(self, store: PairStore, checks: PairChecks, *, identity: str | None = None) -> None:
        """Shows a data set, or the same one anew, with the cursor on the pair `identity` or else where it was."""
        if store is not self._store:
            self._sought = _Sought(parse(""), Order(), _NO_MARGINS)
            self._identity = ""
            self._store, self._checks, self._rows = store, checks, None
            self.query_one(SearchLine).clear()
        if identity is not None:
            self._identity = identity
        self._find()

    def refresh_pairs(self) -> None:
        """Shows anew the pairs that are on the screen."""
        self.table.refresh_pairs()
        self._show_pair()

    def refresh_row(self, row: int) -> None:
        """Shows one pair anew."""
        self.table.refresh_pair(row)
        if row == self.table.row:
            self._show_pair()

    def refresh_findings(self) -> None:
        """Takes up what the checks have found."""
        if self._store is None or self._rows is None:
            return
        if "finding:" in self.searched_for.casefold():
            self._find()
        else:
            self.table.show(self._shown(self._store, self._rows), line=self.table.cursor)
            self._show_pair()

    def go_to(self, identity: str) -> bool:
        """Puts the cursor on a pair; all are shown again where the query does not find it. False: there is none."""
        if self._store is None or (row := self._store.row(identity)) is None:
            return False
        line = self._line_of(row)
        if line is not None:
            self.table.go_to(line)
        else:
            self._identity = identity
            self.clear_search()
            self._find()
        return True

    def set_order(self, order: Order, margins: Mapping[str, float] | None = None) -> None:
        """Puts the pairs in another order; for a run's, `margins` has what it gave to pairs, by id."""
        self._sought = _Sought(self._sought.query, order, margins or _NO_MARGINS)
        self._find()

    def open_search(self, *, filter: bool = False) -> None:  # noqa: A002
        """Lets the user type a query; `filter`: with the list of what can be asked for."""
        if self._store is not None:
            line = self.query_one(SearchLine)
            found = sorted({name for names in self._checks.by_id().values() for name in names}) if self._checks else []
            line.known = {"tag": self._store.values("tags"), "source": self._store.values("source"), "finding": found}
            line.open(filter=filter)

    def search_for(self, query: str) -> None:
        """Shows what a query finds, as though it had been typed."""
        self.query_one(SearchLine).set_query(query)

    def clear_search(self) -> None:
        """Shows all pairs."""
        self.query_one(SearchLine).clear()

    def next_new(self) -> bool:
        """Moves to the next pair that nobody judged, from the top after the last one; whether there is one."""
        return self._next("new")

    def _next(self, status: Status) -> bool:
        if self._store is None or self._rows is None:
            return False
        line = self._store.next_with_status(self._rows, self.table.cursor, status)
        if line is None:
            return False
        self.table.go_to(line)
        return True

    def next_finding(self, way: Literal[1, -1]) -> bool:
        """Moves to the next pair, or the one before, that the checks found something in; whether there is one."""
        if self._store is None or self._rows is None or self._checks is None:
            return False
        import numpy as np

        rows = {self._store.row(identity) for identity in self._checks.by_id()}
        lines = np.flatnonzero(np.isin(self._rows, [row for row in rows if row is not None]))
        ahead = lines[lines > self.table.cursor] if way > 0 else lines[lines < self.table.cursor][::-1]
        if len(ahead):
            self.table.go_to(int(ahead[0]))
        return bool(len(ahead))

    def scroll_text(self, lines: int) -> None:
        """Scrolls the pair under the cursor."""
        self.query_one(PairView).scroll_text(lines)

    def on_search_line_changed(self, event: SearchLine.Changed) -> None:
        """Finds what the new query asks for."""
        line = self.query_one(SearchLine)
        try:
            query = parse(event.query)
        except QueryError as error:
            line.show_error(error)
            return
        if query != self._sought.query:
            self._sought = _Sought(query, self._sought.order, self._sought.margins)
            self._find()

    def on_search_line_left(self) -> None:
        """Gives the keys to the table."""
        self.table.focus()

    def on_mount(self) -> None:
        """Follows the cursor at once, not by message: the table's line and the pair are painted in one go."""
        self.watch(self.table, "cursor", self._show_pair, init=False)

    def _show_pair(self) -> None:
        """Shows the pair under the cursor."""
        view = self.query_one(PairView)
        row, store = self.table.row, self._store
        if row is None or store is None:
            view.show(None)
            return
        pair = store.pair(row)
        self._identity = pair.id
        view.show(pair, self._known(row, pair))

    def _find(self) -> None:
        if self._store is None:
            return
        self.workers.cancel_group(self, "search")
        if self._sought.query.terms or self._sought.order != Order():
            self._search(self._store, self._sought)
        else:
            self._found(self._store, self._sought, self._store.rows)

    @background("search", doing="searching the pairs", exclusive=True)
    async def _search(self, store: PairStore, sought: _Sought) -> None:
        findings = self._checks.by_id() if self._checks else {}
        self._found(store, sought, await asyncio.to_thread(_rows, store, sought, findings))

    def _found(self, store: PairStore, sought: _Sought, rows: Ints) -> None:
        if store is not self._store or sought is not self._sought:
            return
        self._rows = rows
        row = store.row(self._identity) if self._identity else None
        line = self._line_of(row) if row is not None else None
        if line is None:
            line = self._line_near(store, row)
        self.table.show(self._shown(store, rows), line=line)
        self._show_pair()
        total = len(store)
        self.query_one(SearchLine).tell(f"{len(rows):,} of {total:,}" if sought.query.terms else "")
        self.post_message(self.Found())

    def _line_of(self, row: int) -> int | None:
        import numpy as np

        if self._rows is None:
            return None
        lines = np.flatnonzero(self._rows == row)
        return int(lines[0]) if len(lines) else None

    def _line_near(self, store: PairStore, row: int | None) -> int:
        """Where a pair that is not shown would be in the file's order; where it is gone, the line of the cursor."""
        import numpy as np

        if not self._identity or self._rows is None:
            return 0
        if row is None or self._sought.order != Order():
            return self.table.cursor if row is None else 0
        order = store.rows
        return int(np.isin(order[: store.number(row)], self._rows).sum())

    def _shown(self, store: PairStore, rows: Ints) -> Shown:
        findings, order = self._checks is not None and bool(self._checks.by_id()), self._sought.order
        return Shown(
            rows,
            store.pair,
            lambda row, pair: cells(pair, self._known(row, pair)),
            partial(columns, pairs=len(store), findings=findings, margin=bool(order.run)),
            _column_of(order),
            order.descending,
        )

    def _known(self, row: int, pair: Pair) -> Known:
        assert self._store is not None
        checks = self._checks
        return Known(
            self._store.number(row),
            finding=checks.sign(pair.id) if checks else "",
            tokens=checks.tokens_of(pair.id) if checks else None,
            margin=self._sought.margins.get(pair.id),
        )


def _rows(store: PairStore, sought: _Sought, findings: Mapping[str, Iterable[str]]) -> Ints:
    """The rows that are looked for, in their order."""
    rows = store.find(sought.query, {identity: set(names) for identity, names in findings.items()})
    return rows if sought.order == Order() else store.sorted(rows, sought.order, sought.margins)


def _column_of(order: Order) -> str:
    """The column that says which order it is; none for the order of the file."""
    if order == Order():
        return ""
    return "margin" if order.run else {"row": "#"}.get(order.by, order.by)
