"""The part of the Pairs screen that has a data set open: opens it, counts it, and sees what others do to its file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.pairs.checks.running import PairChecks
from workbench.pairs.pair import Pair
from workbench.tui.background import background
from workbench.tui.dialogs.confirm import ConfirmDialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.empty_pairs import EmptyPairs
from workbench.tui.widgets.pair_browser import PairBrowser
from workbench.tui.widgets.review_bar import Pace, ReviewBar

if TYPE_CHECKING:
    from workbench.pairs.open_file import DiskChange
    from workbench.pairs.store import PairStore

LOOK_AGAIN = 1.0
"""Seconds between two looks at the file."""


class PairsData(WorkbenchScreen):
    """One data set at a time. What blocks (reading, taking in another's version, closing) is done in threads."""

    def __init__(self) -> None:
        super().__init__()
        self.store: PairStore | None = None
        self.checks: PairChecks | None = None
        self._awaiting_data = False
        self._taking = False
        self._keys_for: tuple[bool, bool, bool] | None = None
        self._told_trouble: WorkbenchError | None = None

    def on_mount(self) -> None:
        """Opens the data set that was written last."""
        self.browser.table.focus()
        self.set_interval(LOOK_AGAIN, self.look_again)
        self._open_latest()

    def on_unmount(self) -> None:
        """Has the file saved."""
        if self.checks is not None:
            self.checks.close()
        if self.store is not None:
            # What cannot be saved now is in the journal, and is told when the data set is next opened.
            _close(self.store)

    def on_screen_resume(self) -> None:
        """Sees what happened on disk in the meantime."""
        self.look_again()

    @property
    def browser(self) -> PairBrowser:
        """Search line, table and pair."""
        return self.query_one(PairBrowser)

    @property
    def pair(self) -> Pair | None:
        """The pair under the cursor."""
        row = self.browser.row
        return None if self.store is None or row is None else self.store.pair(row)

    # Opening

    def _open_latest(self) -> None:
        workspace = self.workbench.workspace
        names = workspace.datasets()
        self._awaiting_data = not names
        if names:
            self.open(max(names, key=lambda name: workspace.pairs_file(name).stat().st_mtime))
        else:
            self.add_class("-empty")
            self.query_one(EmptyPairs).show_no_data(str(workspace.pairs))

    @background("open", doing="opening a data set", exclusive=True, opens=True)
    async def open(self, name: str, *, identity: str | None = None) -> None:
        """Opens a data set, with the cursor on a pair of it."""
        self.top_bar.context = f"{name} · reading …"
        if self.store is None:
            self.add_class("-empty")
            self.query_one(EmptyPairs).show_reading(name)
        else:
            # The old one first: it may be the same, and is then held by nobody.
            await self._let_go()
        try:
            path = self.workbench.workspace.existing_pairs_file(name)
            store = await asyncio.to_thread(_opened, path)
        except Exception:
            self.show()
            raise
        self.store, self._told_trouble = store, None
        self.checks = PairChecks(path, changed=self._checks_changed)
        self.query_one(ReviewBar).pace = Pace()
        self.show(identity)
        if store.file.conflicts:
            self.workbench.tell("Another program and you changed the same pairs: C decides which version stays.")

    async def _let_go(self) -> None:
        store, checks = self.store, self.checks
        self.store = self.checks = None
        if checks is not None:
            checks.close()
        if store is not None:
            error = await asyncio.to_thread(_close, store)
            if error is not None:
                self.workbench.show_error(error)

    def _checks_changed(self) -> None:
        """Called in the thread of the checks."""
        self.workbench.call_later(self._show_findings)

    def _show_findings(self) -> None:
        if self.is_attached:
            self.browser.refresh_findings()
            self.show_counts()

    # Showing

    def show(self, identity: str | None = None) -> None:
        """Shows the data set anew, with the cursor on a pair or else where it was."""
        if self.store is None or self.checks is None:
            self.add_class("-empty")
            self.query_one(EmptyPairs).show_unread()
        else:
            empty = not len(self.store)
            self.set_class(empty, "-empty")
            if empty:
                self.query_one(EmptyPairs).show_no_pairs(self.store.path.stem)
            self.browser.show(self.store, self.checks, identity=identity)
        self.show_counts()

    def show_counts(self) -> None:
        """Shows how many pairs there are and what is the matter with the file."""
        state = (self.store is None, self.has_class("-empty"), bool(self.store and self.store.file.conflicts))
        if state != self._keys_for:
            # Not at every key: the footer is built anew.
            self._keys_for = state
            self.refresh_bindings()
        if self.store is None:
            self.top_bar.context = self.top_bar.status = ""
            return
        bar = self.query_one(ReviewBar)
        bar.counts = self.store.counts()
        bar.notice = self._notice(self.store)
        self.top_bar.context = f"{self.store.path.stem} · {len(self.store):,} pairs"
        problems = len(self.store.problems)
        unusable = "line is no pair" if problems == 1 else "lines are no pairs"
        checking = self.checks.summary if self.checks is not None else ""
        self.top_bar.status = f"▲ {problems:,} {unusable}" if problems else checking

    def _notice(self, store: PairStore) -> str:
        if store.file.read_only:
            return f"▲ read only: {store.file.read_only}"
        if store.file.conflicts:
            count = len(store.file.conflicts)
            return f"▲ {count:,} conflict{'s' if count > 1 else ''} · C decides"
        if store.file.trouble is not None:
            return "▲ not saved; every edit is in the journal"
        return ""

    # Others

    def look_again(self) -> None:
        """Sees whether there is something new on disk."""
        if self._awaiting_data:
            self._open_latest()
        store = self.store
        if store is None:
            return
        if store.file.trouble is not None and store.file.trouble is not self._told_trouble:
            self._told_trouble = store.file.trouble
            self.show_counts()
            self.workbench.show_error(store.file.trouble)
        if store.file.disk_changed() and not self._taking:
            self._take_in(store)

    @background("disk", doing="taking in what another program changed")
    async def _take_in(self, store: PairStore) -> None:
        self._taking = True
        try:
            change = await asyncio.to_thread(store.file.check_disk)
        finally:
            self._taking = False
        if change is not None and store is self.store and self.is_attached:
            self._taken_in(store, change)

    def _taken_in(self, store: PairStore, change: DiskChange) -> None:
        if change.trouble is not None:
            if self._told_trouble is None or self._told_trouble.title != change.trouble.title:
                self._told_trouble = change.trouble
                self._offer_to_restore(store, change.trouble)
            return
        if self.checks is not None:
            self.checks.touch()
        self.show()
        if change.conflicts:
            count = len(change.conflicts)
            what = "a pair that you changed too" if count == 1 else f"{count:,} pairs that you changed too"
            self.workbench.tell(f"Another program changed {what}: C decides which version stays.")
        elif change.changed:
            pairs = "1 pair" if change.changed == 1 else f"{change.changed:,} pairs"
            self.workbench.tell(f"Another program changed {pairs} of {store.path.stem}: taken in.")

    @background("dialog", doing="writing the file anew", opens=True)
    async def _offer_to_restore(self, store: PairStore, trouble: WorkbenchError) -> None:
        question = ConfirmDialog(trouble.title, str(trouble.message), yes="Write it anew", no="Leave it")
        if await self.app.push_screen_wait(question):
            await asyncio.to_thread(store.file.restore)
            self._told_trouble = None
            self.workbench.tell(f"{store.path.name} is written anew.")


def _opened(path: Path) -> PairStore:
    # Imported here: the first screen is painted before Arrow is there.
    from workbench.pairs.store import PairStore

    return PairStore(path)


def _close(store: PairStore) -> WorkbenchError | None:
    """Saves; returns why it could not be saved. The edits are then in the journal."""
    try:
        store.close()
    except WorkbenchError as error:
        return error
    return None
