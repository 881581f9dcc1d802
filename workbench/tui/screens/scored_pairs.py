"""Every pair of a data set under the columns of a comparison, worst first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import Static

from workbench.compare.client import ScorerClient
from workbench.compare.measures import pair_margin, summarize
from workbench.compare.messages import Column, PairBatch, ScoredPair
from workbench.errors import WorkbenchError
from workbench.pairs.query import QueryError, parse
from workbench.tui.background import background
from workbench.tui.dialogs.choose import ChooseDialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.pair_table import PairTable, Shown
from workbench.tui.widgets.score_cells import SummaryView, score_cells, score_columns
from workbench.tui.widgets.search_line import SearchLine

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from workbench.pairs.arrow import Ints
    from workbench.pairs.rows import Rows

    Floats = npt.NDArray[np.float64]

_FLUSH, _SLOW_FLUSH = 0.25, 1.0
_SUMMED_EVERY = 3.0
"""Seconds between two looks at what came, and between two sums over all of it."""
_ORDERS = ("margin", "shift", "")


class ScoredPairsScreen(WorkbenchScreen):
    """Scores in the background, behind whatever else is asked of the scorer; known scores come from the cache.

    Enter leaves the pair under the cursor to the Compare screen.
    """

    MODE = "compare"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("S", "sort", "Sort"),
        Binding("tab", "next_column", "Next column"),
        Binding("d", "data_set", "Data set"),
        Binding("escape", "back", "Cancel, back"),
    ]
    DEFAULT_CSS = """
    ScoredPairsScreen {
        #progress { height: 1; padding: 0 1; color: $secondary; }
        SummaryView { margin-bottom: 1; }
        PairTable { height: 1fr; }
    }
    """

    def __init__(
        self, scorer: Callable[[], Awaitable[ScorerClient]], asked: Sequence[Column], current: int, name: str
    ) -> None:
        """`scorer` gives the scorer of the columns' base; `name` is the data set to begin with."""
        super().__init__()
        self._scorer, self._asked, self._current, self._name = scorer, list(asked), current, name
        self._rows: Rows | None = None
        self._found: Ints | None = None
        self._scores: dict[str, ScoredPair] = {}
        self._margins: Floats | None = None
        """Columns by rows of the store: NaN where there is no number. What the order is told by, at any size."""
        self._by = "margin"
        self._progress = ""
        self._scoring = False
        self._summed = 0.0
        self._flush: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """What the columns make of it all; then pair by pair."""
        yield SearchLine()
        yield Static(id="progress", markup=False)
        yield SummaryView()
        yield PairTable()

    def on_mount(self) -> None:
        """Begins to score."""
        self.query_one(PairTable).focus()
        self._open(self._name or "")

    @background("open", doing="scoring the pairs", exclusive=True)
    async def _open(self, name: str) -> None:
        import numpy as np

        from workbench.pairs.store import load_rows

        self._name, self._rows, self._found, self._scores = name, None, None, {}
        self._tell(f"Reading {name} …")
        path = self.workbench.workspace.existing_pairs_file(name)
        rows = await asyncio.to_thread(load_rows, path)
        self._rows, self._margins = rows, np.full((len(self._asked), len(rows)), np.nan)
        self.top_bar.context = f"{name} · {len(rows.order):,} pairs"
        self._find(self.query_one(SearchLine).value)
        began = time.monotonic()
        self._scoring = True
        try:
            self._tell("◌ waiting for the model …")
            client = await self._scorer()
            end = await client.score_pairs(path, self._asked, cache=self.workbench.workspace.scores, on_rows=self._hear)
        except WorkbenchError:
            self._tell("not scored")
            raise
        except asyncio.CancelledError:
            self._tell(f"cancelled · {len(self._scores):,} pairs scored")
            raise
        else:
            problems = f" · {end.problems:,} without numbers" if end.problems else ""
            taken = time.monotonic() - began
            self._tell(f"{end.total:,} pairs in {taken:.1f} s · {end.cached:,} scores were known{problems}")
        finally:
            self._scoring = False
            if self.is_attached:
                self._show()
                self._sum()

    def _hear(self, part: PairBatch) -> None:
        for row in part.rows:
            self._scores[row.pair] = row
            place = self._rows.row(row.pair) if self._rows is not None else None
            if self._margins is not None and place is not None and not row.problem:
                self._margins[:, place] = [pair_margin(row, column) for column in range(len(self._asked))]
        self._progress = f"◌ scored {part.done:,} of {part.total:,} · esc cancels"
        if self._flush is None:
            self._flush = self.set_timer(_SLOW_FLUSH if self.workbench.slow else _FLUSH, self._look)

    def _look(self) -> None:
        self._flush = None
        if self._scoring:
            self._tell(self._progress)
            self._show()
            if time.monotonic() - self._summed > _SUMMED_EVERY:
                self._sum()

    def _tell(self, words: str) -> None:
        if self.is_attached:
            self.query_one("#progress", Static).update(words)

    # Showing

    @background("search", doing="searching the pairs", exclusive=True)
    async def _find(self, text: str) -> None:
        from workbench.pairs.search import Search

        line, rows = self.query_one(SearchLine), self._rows
        if rows is None:
            return
        try:
            query = parse(text)
        except QueryError as error:
            line.show_error(error)
            return
        found = await asyncio.to_thread(lambda: Search(rows).find(query))
        if rows is self._rows:
            self._found = found
            line.tell(f"{len(found):,} of {len(rows.order):,}" if query.terms else "")
            self._show()

    def _show(self) -> None:
        """Shows the pairs in their order, the cursor where its pair went."""
        import numpy as np

        rows, found, margins = self._rows, self._found, self._margins
        if rows is None or found is None or margins is None:
            return
        table = self.query_one(PairTable)
        order = self._sorted(found, margins)
        # At the top the cursor stays there: what is worst may still come.
        lines = np.flatnonzero(order == table.row) if table.cursor else order[:0]
        awaited = self._scoring
        shown = Shown(
            order,
            rows.pair,
            lambda row, pair: score_cells(
                int(rows.numbers[row]), pair, self._scores.get(pair.id), self._current, awaited=awaited
            ),
            partial(score_columns, pairs=len(rows.order), both=self._current > 0),
            self._by,
        )
        table.show(shown, line=int(lines[0]) if len(lines) else 0)

    @background("sum", doing="summing the scores up", exclusive=True)
    async def _sum(self) -> None:
        """Sums up what was scored, beside the keys."""
        self._summed = time.monotonic()
        every, asked = list(self._scores.values()), self._asked
        told = await asyncio.to_thread(lambda: [(each.name, summarize(every, at)) for at, each in enumerate(asked)])
        self.query_one(SummaryView).show(told, self._current)

    def _sorted(self, found: Ints, margins: Floats) -> Ints:
        """Worst first; pairs without numbers after the others, in the order of the file."""
        import numpy as np

        if not self._by:
            return found
        values = margins[self._current][found]
        if self._by == "shift":
            values = values - margins[0][found]
        return found[np.argsort(values, kind="stable")]

    # Keys and clicks

    def action_search(self) -> None:
        """Lets the user type what to look for, as on the Pairs screen."""
        self.query_one(SearchLine).open()

    @on(SearchLine.Changed)
    def _sought(self, event: SearchLine.Changed) -> None:
        self._find(event.query)

    @on(SearchLine.Left)
    def _left(self) -> None:
        self.query_one(PairTable).focus()

    def action_sort(self) -> None:
        """By margin, by shift, or as in the file."""
        self._by = _ORDERS[(_ORDERS.index(self._by) + 1) % len(_ORDERS)]
        self._show()

    @on(PairTable.Sorted)
    def _heading_clicked(self, event: PairTable.Sorted) -> None:
        self._by = event.column if event.column in _ORDERS else ""
        self._show()

    def action_next_column(self) -> None:
        """Looks at the pairs under the next of the columns."""
        if len(self._asked) > 1:
            self._current = self._current % (len(self._asked) - 1) + 1
            self._show()
            self._sum()

    @background("dialog", doing="choosing a data set", exclusive=True, opens=True)
    async def action_data_set(self) -> None:
        """Asks for another data set."""
        names = self.workbench.workspace.datasets()
        name = await self.app.push_screen_wait(
            ChooseDialog("Score", [(each, "") for each in names], current=self._name)
        )
        if name is not None and name != self._name:
            self._open(name)

    @on(PairTable.Opened)
    def _opened(self, event: PairTable.Opened) -> None:
        if self._rows is not None:
            self.workbench.pair_to_compare = self._rows.pair(event.row)
            self.dismiss()

    def action_back(self) -> None:
        """Cancels what is being scored, or clears the search; else goes back."""
        if self._scoring:
            self.workers.cancel_group(self, "open")
        elif self.query_one(SearchLine).value:
            self.query_one(SearchLine).clear()
        else:
            self.dismiss()
