"""The part of the Pairs screen that looks for pairs and checks them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.pairs.query import Order
from workbench.tui.background import background
from workbench.tui.screens.pairs_drafts import PairsDrafts
from workbench.tui.screens.pairs_edit import plural
from workbench.tui.widgets.pair_table import PairTable

if TYPE_CHECKING:
    from workbench.pairs.store import PairStore

_SORTS = {"#": "row"}
_DESCENDING_FIRST = frozenset({"chosen", "rejected", "ratio"})


class PairsTools(PairsDrafts):
    """Search, order, checks, conflicts."""

    # Finding

    def action_search(self) -> None:
        """Lets the user type what to look for."""
        self.browser.open_search()

    def action_filter(self) -> None:
        """Lets the user type a filter, with a list of what can be asked for."""
        self.browser.open_search(filter=True)

    def action_show_all(self) -> None:
        """Clears the search."""
        self.browser.clear_search()

    def action_scroll_text(self, lines: int) -> None:
        """Scrolls the pair under the cursor."""
        self.browser.scroll_text(lines)

    @background("dialog", doing="sorting the pairs", opens=True)
    async def action_sort(self) -> None:
        """Asks for the order that the pairs are shown in."""
        from workbench.tui.dialogs.sort import SortDialog

        store = self.store
        if store is None:
            return
        runs = await asyncio.to_thread(self._runs_with_margins, store)
        order = await self.app.push_screen_wait(SortDialog(self.browser.order, runs))
        if order is not None and store is self.store:
            await self._sort(order)

    def _runs_with_margins(self, store: PairStore) -> Sequence[tuple[str, str]]:
        from workbench.runs.pair_scores import runs_with_scores

        return runs_with_scores(self.workbench.workspace, store.path.stem)

    async def _sort(self, order: Order) -> None:
        margins = None
        if order.run:
            from workbench.runs.pair_scores import read_margins

            folder = self.workbench.workspace.run_folder(order.run)
            scores = await asyncio.to_thread(read_margins, folder)
            margins = {identity: score.margin for identity, score in scores.items()}
        self.browser.set_order(order, margins)

    async def on_pair_table_sorted(self, event: PairTable.Sorted) -> None:
        """Sorts by the column whose heading was clicked; a second click turns the order round."""
        by = _SORTS.get(event.column, event.column)
        order = self.browser.order
        if by == "findings":
            return
        if by == "margin" or by == order.by:
            await self._sort_again(order)
        else:
            await self._sort(Order(by, descending=by in _DESCENDING_FIRST))

    async def _sort_again(self, order: Order) -> None:
        await self._sort(Order(order.by, not order.descending, order.run))

    # Checking

    @background("dialog", doing="checking the pairs", opens=True)
    async def action_checks(self) -> None:
        """Shows what the checks find."""
        from workbench.tui.dialogs.checks import ChecksDialog, DoRepair, ShowFinding

        store, checks = self.store, self.checks
        if store is None or checks is None:
            return

        def peek(identity: str) -> str:
            row = store.row(identity)
            return "" if row is None else store.pair(row).last_user_turn

        answer = await self.app.push_screen_wait(ChecksDialog(checks, store.path.stem, peek=peek))
        if store is not self.store:
            return
        if isinstance(answer, ShowFinding):
            self.browser.search_for(answer.query)
            self.browser.table.focus()
        elif isinstance(answer, DoRepair):
            repair = answer.repair
            ids = [identity for identity in repair.ids if store.row(identity) is not None]
            done = await asyncio.to_thread(store.update, ids, repair.change, repair.description)
            self.changed(texts=True)
            self.workbench.tell(f"{repair.description}: {plural(done)} changed. u takes all of it back.")

    def action_next_finding(self, way: int) -> None:
        """Moves to the next pair, or the one before, that the checks found something in."""
        if self.checks is None or not self.checks.by_id():
            self.workbench.tell("The checks have found nothing. c opens them.")
        elif not self.browser.next_finding(1 if way > 0 else -1):
            self.workbench.tell(f"No finding {'below' if way > 0 else 'above'}.")

    # Others

    @background("dialog", doing="deciding conflicts", opens=True)
    async def action_conflicts(self) -> None:
        """Shows, one after the other, the pairs that another program and the user changed, to choose a version."""
        from workbench.tui.dialogs.conflict import ConflictDialog

        store = self.store
        while store is not None and store is self.store and store.file.conflicts:
            conflict = next(iter(store.file.conflicts.values()))
            which = await self.app.push_screen_wait(ConflictDialog(conflict, len(store.file.conflicts) - 1))
            if which is None:
                break
            count = len(store)
            await asyncio.to_thread(store.resolve, conflict.id, which)
            self.changed(other_rows=len(store) != count)
        else:
            self.workbench.tell("Nothing left to decide.")
        self.show_counts()
