"""A data set to look through: the search line, the table of what it finds, and the pair under the cursor."""

from __future__ import annotations

from collections.abc import Sequence

from textual import work
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.worker import get_current_worker

from workbench.errors import WorkbenchError
from workbench.pairs.query import Query, parse
from workbench.tui.pair_edits import PairEdits
from workbench.tui.widgets.pair_table import PairTable
from workbench.tui.widgets.pair_view import PairView
from workbench.tui.widgets.search_line import SearchLine


class PairBrowser(Vertical):
    """Shows the pairs of a `PairEdits`, those that the query finds. The cursor keeps its pair when that changes."""

    DEFAULT_CSS = "PairBrowser { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self._edits: PairEdits | None = None
        self._place: int | None = None
        self._query = ""

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
    def searching(self) -> bool:
        """Whether there is a query."""
        return bool(self._query)

    @property
    def place(self) -> int | None:
        """The place in the data set of the pair under the cursor."""
        return self.table.position

    def show(self, edits: PairEdits, *, place: int | None = None) -> None:
        """Shows a data set, or the same one anew, with the cursor at `place` or else where it was."""
        if place is not None or edits is not self._edits:
            self._place = place
        self._edits = edits
        self._find()

    def show_pair(self, place: int) -> None:
        """Shows the pair at a place anew."""
        self.table.refresh_pair(place)

    def open_search(self) -> None:
        """Lets the user type a query."""
        self.query_one(SearchLine).open()

    def clear_search(self) -> None:
        """Shows all pairs."""
        self.query_one(SearchLine).clear()

    def next_new(self) -> bool:
        """Moves to the next pair that nobody judged, from the top after the last one; whether there is one."""
        if self._edits is None:
            return False
        positions, here = self.table.positions, self.table.cursor
        for line in (*range(here + 1, len(positions)), *range(here)):
            if self._edits.pair(positions[line]).status == "new":
                self.table.go_to(line)
                return True
        return False

    def scroll_text(self, lines: int) -> None:
        """Scrolls the pair under the cursor."""
        self.query_one(PairView).scroll_text(lines)

    def on_search_line_changed(self, event: SearchLine.Changed) -> None:
        """Finds what the new query asks for."""
        self._query = event.query
        self._find()

    def on_search_line_left(self) -> None:
        """Gives the keys to the table."""
        self.table.focus()

    def on_pair_table_highlighted(self, event: PairTable.Highlighted) -> None:
        """Shows the pair under the cursor."""
        event.stop()
        view = self.query_one(PairView)
        if event.position is None or self._edits is None:
            view.show(None)
            return
        self._place = event.position
        view.show(self._edits.pair(event.position), event.position + 1)

    def _find(self) -> None:
        if self._edits is None:
            return
        try:
            query = parse(self._query)
        except WorkbenchError as error:
            self.query_one(SearchLine).tell(f"{error.title}. {error.message}", error=True)
            return
        if query.terms:
            self._search(self._edits, query)
        else:
            self.workers.cancel_group(self, "search")
            self._found(self._edits, range(len(self._edits.pairs)))

    @work(thread=True, group="search", exclusive=True, exit_on_error=False)
    def _search(self, edits: PairEdits, query: Query) -> None:
        worker = get_current_worker()
        found = edits.find(query)
        if not worker.is_cancelled:
            self.app.call_from_thread(self._found, edits, found)

    def _found(self, edits: PairEdits, positions: Sequence[int]) -> None:
        if edits is not self._edits:
            return
        total = len(edits.pairs)
        self.table.show(positions, pair_at=edits.pair, total=total, keep=self._place)
        self.query_one(SearchLine).tell(f"{len(positions):,} of {total:,}" if self._query else "")
