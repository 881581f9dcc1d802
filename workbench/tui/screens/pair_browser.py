"""A data set to look through: search line, order, the table of what is found, and the pair under the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical

from workbench.pairs.query import Order, Query, QueryError, parse
from workbench.text import cut, one_line
from workbench.tui.background import background
from workbench.tui.dialogs.ask import ChooseDialog
from workbench.tui.screens.base import Workbench, workbench_of
from workbench.tui.widgets.pair_table import Known, PairTable, Shown, cells, columns
from workbench.tui.widgets.pair_view import PairView
from workbench.tui.widgets.search_line import SearchLine

if TYPE_CHECKING:
    from workbench.pairs.arrow import Ints
    from workbench.pairs.session import DataSetSession

_LONGEST_FIRST = frozenset({"chosen", "rejected", "ratio"})
"""The columns that a first click sorts in descending order."""


@dataclass(frozen=True, slots=True)
class _View:
    """What is looked for, and in which order; `margins`, by id, where that is a run's."""

    query: Query
    order: Order
    margins: Mapping[str, float] | None = None


class PairBrowser(Vertical):
    """Shows the pairs that the query finds. The cursor keeps its pair when query or order change.

    A pair that was edited stays where it is, found or not, until there is another query: nothing jumps under the keys.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("f", "search(True)", "Filter", show=False),
        Binding("S", "sort", "Sort", show=False),
        Binding("right_square_bracket", "next_finding(1)", "Next finding", show=False, key_display="]"),
        Binding("left_square_bracket", "next_finding(-1)", "Previous finding", show=False, key_display="["),
        Binding("J,shift+down", "scroll_text(3)", "Scroll the pair down", show=False),
        Binding("K,shift+up", "scroll_text(-3)", "Scroll the pair up", show=False),
        Binding("z", "fold", "Open reasoning and calls, or fold them", show=False),
        Binding("escape", "show_all", "Clear the search", show=False),
    ]
    DEFAULT_CSS = "PairBrowser { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self._data_set: DataSetSession | None = None
        self._identity = ""
        """The id of the pair under the cursor, or of the one that it goes to as soon as that is shown."""
        self._view = _View(parse(""), Order())
        self._rows: Ints | None = None

    def compose(self) -> ComposeResult:
        """Search line, table, pair."""
        yield SearchLine()
        with Container(id="panes"):
            yield PairTable()
            yield PairView()

    def on_mount(self) -> None:
        """Follows the cursor at once, not by message: the table's line and the pair are painted in one go."""
        self.watch(self.table, "cursor", self._show_pair, init=False)

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
        return self._view.query.text if self._view.query.terms else ""

    # Showing

    def show(self, data_set: DataSetSession, *, identity: str | None = None) -> None:
        """Shows a data set, or the same one anew, with the cursor on the pair `identity` or else where it was."""
        if data_set is not self._data_set:
            self._data_set, self._rows, self._identity = data_set, None, ""
            self._view = _View(parse(""), Order())
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
        if self._data_set is None or self._rows is None:
            return
        if "finding:" in self.searched_for.casefold():
            self._find()
        else:
            self.table.show(self._shown(self._data_set, self._rows), line=self.table.cursor)
            self._show_pair()

    def go_to(self, identity: str) -> None:
        """Puts the cursor on a pair, where there is one; all are shown again where the query does not find it."""
        row = self._data_set.store.rows.row(identity) if self._data_set is not None else None
        if row is None:
            return
        line = self._line_of(row)
        if line is not None:
            self.table.go_to(line)
        else:
            self._identity = identity
            self.action_show_all()
            self._find()

    def next_new(self) -> bool:
        """Moves to the next pair that nobody judged, from the top after the last one; whether there is one."""
        if self._data_set is None or self._rows is None:
            return False
        line = self._data_set.store.next_with_status(self._rows, self.table.cursor, "new")
        if line is not None:
            self.table.go_to(line)
        return line is not None

    def _show_pair(self) -> None:
        """Shows the pair under the cursor."""
        view = self.query_one(PairView)
        row, data_set = self.table.row, self._data_set
        if row is None or data_set is None:
            view.show(None)
            return
        pair = data_set.store.rows.pair(row)
        self._identity = pair.id
        view.show(pair, self._known(data_set, row, pair.id))

    # Keys and clicks

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offers no key while there are no pairs."""
        del action, parameters
        return self._data_set is not None and self.display

    def action_search(self, filter: bool = False) -> None:  # noqa: A002
        """Lets the user type a query; `filter`: with the list of what can be asked for."""
        if self._data_set is not None:
            line, store = self.query_one(SearchLine), self._data_set.store
            findings = sorted({name for names in self._data_set.checks.by_id().values() for name in names})
            line.known = {"tag": store.values("tags"), "source": store.values("source"), "finding": findings}
            line.open(filter=filter)

    def action_show_all(self) -> None:
        """Clears the search."""
        self.query_one(SearchLine).clear()

    def search_for(self, query: str) -> None:
        """Shows what a query finds, as though it had been typed, and takes the keys."""
        self.query_one(SearchLine).set_query(query)
        self.table.focus()

    def action_next_finding(self, way: int) -> None:
        """Moves to the next pair, or the one before, that the checks found something in."""
        import numpy as np

        data_set = self._data_set
        if data_set is None or self._rows is None:
            return
        if not data_set.checks.by_id():
            self._tell("The checks have found nothing. c opens them.")
            return
        rows = {data_set.store.rows.row(identity) for identity in data_set.checks.by_id()}
        lines = np.flatnonzero(np.isin(self._rows, [row for row in rows if row is not None]))
        ahead = lines[lines > self.table.cursor] if way > 0 else lines[lines < self.table.cursor][::-1]
        if len(ahead):
            self.table.go_to(int(ahead[0]))
        else:
            self._tell(f"No finding {'below' if way > 0 else 'above'}.")

    def action_scroll_text(self, lines: int) -> None:
        """Scrolls the pair under the cursor."""
        self.query_one(PairView).scroll_text(lines)

    def action_fold(self) -> None:
        """Opens what the turns have beside their text, or folds it."""
        if not self.query_one(PairView).fold():
            self._tell("The turns of this pair are text alone: nothing is folded.")

    @background("dialog", doing="sorting the pairs", opens=True)
    async def action_sort(self) -> None:
        """Asks for the order that the pairs are shown in."""
        from workbench.runs.pair_scores import runs_with_scores

        data_set = self._data_set
        if data_set is not None:
            runs = await asyncio.to_thread(runs_with_scores, self._workbench.workspace, data_set.name)
            offers, current = sort_offers(self._view.order, runs), self._view.order
            number = await self.app.push_screen_wait(
                ChooseDialog(
                    "Sort by",
                    [(name, first) for _, name, first in offers],
                    current=next((at for at, (order, _, _) in enumerate(offers) if _is_of(order, current)), None),
                    hint="enter sorts, and turns the marked order round · esc gives up" + ("" if runs else _NO_RUN),
                )
            )
            if number is not None:
                await self._sort(offers[number][0])

    async def on_pair_table_sorted(self, event: PairTable.Sorted) -> None:
        """Sorts by the column whose heading was clicked; a second click turns the order round."""
        event.stop()
        by, order = {"#": "row"}.get(event.column, event.column), self._view.order
        if by == order.by:
            await self._sort(replace(order, descending=not order.descending))
        elif by != "findings":
            await self._sort(Order(by, descending=by in _LONGEST_FIRST))

    async def _sort(self, order: Order) -> None:
        margins = None
        if order.run:
            from workbench.runs.pair_scores import read_margins

            scores = await asyncio.to_thread(read_margins, self._workbench.workspace.run_folder(order.run))
            margins = {identity: score.margin for identity, score in scores.items()}
        self._view = _View(self._view.query, order, margins)
        self._find()

    def on_search_line_changed(self, event: SearchLine.Changed) -> None:
        """Finds what the new query asks for."""
        event.stop()
        try:
            query = parse(event.query)
        except QueryError as error:
            self.query_one(SearchLine).show_error(error)
            return
        if query != self._view.query:
            self._view = replace(self._view, query=query)
            self._find()

    def on_search_line_left(self, event: SearchLine.Left) -> None:
        """Gives the keys to the table."""
        event.stop()
        self.table.focus()

    # Finding

    def _find(self) -> None:
        data_set, view = self._data_set, self._view
        if data_set is None:
            return
        self.workers.cancel_group(self, "search")
        if view.query.terms or view.order != Order():
            self._search(data_set, view)
        else:
            self._found(data_set, view, data_set.store.rows.order)

    @background("search", doing="searching the pairs", exclusive=True)
    async def _search(self, data_set: DataSetSession, view: _View) -> None:
        rows = await asyncio.to_thread(_rows_of, data_set, view)
        self._found(data_set, view, rows)

    def _found(self, data_set: DataSetSession, view: _View, rows: Ints) -> None:
        if data_set is not self._data_set or view is not self._view:
            return
        self._rows = rows
        row = data_set.store.rows.row(self._identity) if self._identity else None
        line = self._line_of(row) if row is not None else None
        if line is None:
            line = self._line_near(data_set, row)
        self.table.show(self._shown(data_set, rows), line=line)
        self._show_pair()
        total = len(data_set.store)
        self.query_one(SearchLine).tell(f"{len(rows):,} of {total:,}" if view.query.terms else "")

    def _line_of(self, row: int) -> int | None:
        import numpy as np

        if self._rows is None:
            return None
        lines = np.flatnonzero(self._rows == row)
        return int(lines[0]) if len(lines) else None

    def _line_near(self, data_set: DataSetSession, row: int | None) -> int:
        """Where a pair that is not shown would be in the file's order; where it is gone, the line of the cursor."""
        import numpy as np

        if not self._identity or self._rows is None:
            return 0
        if row is None or self._view.order != Order():
            return self.table.cursor if row is None else 0
        order = data_set.store.rows.order
        return int(np.isin(order[: data_set.store.rows.number(row)], self._rows).sum())

    def _shown(self, data_set: DataSetSession, rows: Ints) -> Shown:
        order = self._view.order
        return Shown(
            rows,
            lambda row: data_set.store.rows.pair(row),
            lambda row, pair: cells(pair, self._known(data_set, row, pair.id)),
            partial(
                columns,
                pairs=len(data_set.store),
                findings=bool(data_set.checks.by_id()),
                margin=bool(order.run) or data_set.store.rows.has_margins,
            ),
            _column_of(order),
            order.descending,
        )

    def _known(self, data_set: DataSetSession, row: int, identity: str) -> Known:
        checks, margins = data_set.checks, self._view.margins
        return Known(
            data_set.store.rows.number(row),
            finding=checks.sign(identity),
            tokens=checks.tokens_of(identity),
            margin=data_set.store.rows.margin(row) if margins is None else margins.get(identity),
        )

    @property
    def _workbench(self) -> Workbench:
        return workbench_of(self)

    def _tell(self, text: str) -> None:
        self._workbench.tell(text)


def _rows_of(data_set: DataSetSession, view: _View) -> Ints:
    """What a view shows, from top to bottom."""
    findings = {identity: set(names) for identity, names in data_set.checks.by_id().items()}
    rows = data_set.store.find(view.query, findings)
    return rows if view.order == Order() else data_set.store.sorted(rows, view.order, view.margins)


def _column_of(order: Order) -> str:
    """The column that says which order it is; none for the order of the file."""
    if order == Order():
        return ""
    return "margin" if order.run else {"row": "#"}.get(order.by, order.by)


_NAME = 26
_MARGIN = ("lowest margin first", "highest margin first")
_COLUMNS: tuple[tuple[str, Order, tuple[str, str]], ...] = (
    ("the file", Order(), ("as it is on disk", "from the end")),
    ("length ratio", Order("ratio", descending=True), ("chosen much shorter first", "chosen much longer first")),
    ("length of chosen", Order("chosen", descending=True), ("shortest first", "longest first")),
    ("length of rejected", Order("rejected", descending=True), ("shortest first", "longest first")),
    ("status", Order("status"), ("new first", "flagged first")),
    ("prompt", Order("prompt"), ("A to Z", "Z to A")),
    ("tags", Order("tags"), ("none, then A to Z", "Z to A, then none")),
    ("split", Order("split"), ("none, holdout, train", "train, holdout, none")),
    ("note", Order("note"), ("none, then A to Z", "Z to A, then none")),
    ("source", Order("source"), ("A to Z", "Z to A")),
    ("margin in the data", Order("margin"), _MARGIN),
)
_NO_RUN = "\nA run that trains on these pairs adds its margins here."


def sort_offers(current: Order, runs: Sequence[tuple[str, str]]) -> list[tuple[Order, str, str]]:
    """The orders to choose from, each with its name and what comes first; the `current` one is marked, and offered
    the other way round. `runs`: id and name of those with margins."""
    margins = ((f"margin: {one_line(name)}", Order("margin", run=run), _MARGIN) for run, name in runs)
    offers = []
    for name, order, firsts in (*_COLUMNS, *margins):
        sign, descending = "  ", order.descending
        if _is_of(order, current):
            sign, descending = ("▼ " if current.descending else "▲ "), current.descending
            order = replace(order, descending=not descending)
        offers.append((order, f"{sign}{cut(name, _NAME)}", firsts[descending]))
    return offers


def _is_of(order: Order, other: Order) -> bool:
    """Whether both sort by the same."""
    return (order.by, order.run) == (other.by, other.run)
