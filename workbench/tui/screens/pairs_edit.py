"""The part of the Pairs screen that changes pairs: one at a time, or all that the filter shows."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.pairs.pair import Message, Pair, Status
from workbench.text import one_line
from workbench.tui.background import background
from workbench.tui.dialogs.confirm import ConfirmDialog
from workbench.tui.screens.pairs_data import PairsData
from workbench.tui.widgets.review_bar import ReviewBar

if TYPE_CHECKING:
    from workbench.pairs.arrow import Ints
    from workbench.pairs.store import PairStore
    from workbench.tui.dialogs.bulk import BulkChange

_QUOTED = 60
FROM_COMPARE = "pair from Compare"
"""What undo says of a pair that was made on the Compare screen."""


class PairsEditing(PairsData):
    """An edit is written down before it shows; it takes less than a repaint, so the keys need not wait for threads."""

    def __init__(self) -> None:
        super().__init__()
        self._reviewed: set[str] = set()
        """The ids of the pairs that were judged in this session; once each, however often one changes one's mind."""

    # Judging

    def action_judge(self, status: Status) -> None:
        """Gives the pair under the cursor a status and moves on to the next."""
        if self._set_status(status):
            self.browser.table.action_move(1)

    def action_flag(self) -> None:
        """Flags the pair under the cursor, or takes the flag away."""
        if self.store is not None and (row := self.browser.row) is not None:
            self._set_status("new" if self.store.status(row) == "flagged" else "flagged")

    def action_next_new(self) -> None:
        """Moves to the next pair that nobody judged."""
        if self.store is not None and not self.browser.next_new():
            self.workbench.tell("All of these are reviewed.")

    def _set_status(self, status: Status) -> bool:
        store, row = self.store, self.browser.row
        if store is None or row is None:
            return False
        before = store.status(row)
        if store.set_status([row], status):
            identity = store.id(row)
            if before == "new" and identity not in self._reviewed:
                self._reviewed.add(identity)
                bar = self.query_one(ReviewBar)
                bar.pace = bar.pace.after(time.monotonic())
            self.changed()
        return True

    # One pair

    def action_swap(self) -> None:
        """Exchanges chosen and rejected."""
        store, row = self.store, self.browser.row
        if store is not None and row is not None:
            store.swap([row])
            self.changed(texts=True)

    @background("dialog", doing="editing a pair", opens=True)
    async def action_edit(self) -> None:
        """Edits the texts of the pair under the cursor."""
        from workbench.tui.dialogs.edit import EditDialog

        if (pair := self.pair) is not None:
            after = await self.app.push_screen_wait(EditDialog(pair, "Edit the pair"))
            self._replace(pair, after)

    @background("dialog", doing="editing a pair in $EDITOR", opens=True)
    async def action_edit_outside(self) -> None:
        """Edits the pair under the cursor in $EDITOR."""
        from workbench.tui.external_editor import edit_pair

        if (pair := self.pair) is not None:
            self._replace(pair, await edit_pair(self.app, pair))

    def _replace(self, before: Pair, after: Pair | None) -> None:
        store = self.store
        if after is not None and after != before and store is not None and store.row(before.id) is not None:
            store.replace(before.id, after)
            self.changed(texts=True)

    @background("dialog", doing="changing the tags", opens=True)
    async def action_tags(self) -> None:
        """Asks for the tags of the pair under the cursor."""
        from workbench.tui.dialogs.tags import TagsDialog

        store, pair = self.store, self.pair
        if store is None or pair is None:
            return
        tags = await self.app.push_screen_wait(TagsDialog(pair.tags, store.values("tags")))
        if tags is not None and tags != pair.tags:
            store.update([pair.id], lambda pair: replace(pair, tags=tags), "tags")
            self.changed()

    @background("dialog", doing="changing the note", opens=True)
    async def action_note(self) -> None:
        """Asks for a note on the pair under the cursor."""
        from workbench.tui.dialogs.ask import AskDialog

        store, pair = self.store, self.pair
        if store is None or pair is None:
            return
        note = await self.app.push_screen_wait(AskDialog("Note", pair.note))
        if note is not None and note != pair.note:
            store.update([pair.id], lambda pair: replace(pair, note=note), "note")
            self.changed()

    @background("dialog", doing="writing a new pair", opens=True)
    async def action_new(self) -> None:
        """Writes a new pair."""
        from workbench.tui.dialogs.edit import EditDialog

        store = self.store
        if store is None:
            return
        blank = _blank(conversational=store.conversational is not False)
        pair = await self.app.push_screen_wait(EditDialog(blank, "New pair"))
        if pair is not None:
            store.add([pair], "new pair")
            self.changed(pair.id, other_rows=True)

    def action_duplicate(self) -> None:
        """Writes a copy of the pair under the cursor below it."""
        from workbench.pairs.transfer import duplicate

        store, row = self.store, self.browser.row
        if store is not None and row is not None:
            self.changed(duplicate(store, row), other_rows=True)
            self.workbench.tell("A copy, below its original. e edits it.")

    @background("dialog", doing="deleting a pair", opens=True)
    async def action_delete(self) -> None:
        """Takes the pair under the cursor out of the file, after a question."""
        store, pair = self.store, self.pair
        if store is None or pair is None:
            return
        question = ConfirmDialog(
            "Take this pair out of the file?",
            f"“{one_line(pair.last_user_turn, _QUOTED)}” will not be in {store.path.name} any more. u brings it back. "
            "(x drops a pair: it stays in the file and never trains.)",
            yes="Take it out",
            no="Keep it",
        )
        if await self.app.push_screen_wait(question):
            store.remove([pair.id])
            self.changed(other_rows=True)

    @property
    def open_name(self) -> str:
        """The name of the data set that is open; empty where none is."""
        return self.store.path.stem if self.store is not None else ""

    def take_up(self, path: Path, pair: Pair) -> bool:
        """Adds a pair that comes from another screen, if this data set is open; whether it is.

        Raises `WorkbenchError` where it is open but cannot be written to.
        """
        if self.store is None or self.store.path != path:
            return False
        self.store.add([pair], FROM_COMPARE)
        self.changed(pair.id, other_rows=True)
        return True

    # Taking back

    def action_undo(self) -> None:
        """Takes the latest change back."""
        if self.store is not None:
            self._turn(self.store.undo, "undone", "Nothing to undo.")

    def action_redo(self) -> None:
        """Does again what was undone last."""
        if self.store is not None:
            self._turn(self.store.redo, "redone", "Nothing to redo.")

    def _turn(self, turn: Callable[[], str], what: str, nothing: str) -> None:
        # Not in a thread: the next key is meant for the pair that the cursor is then on.
        store = self.store
        assert store is not None
        count = len(store)
        description = turn()
        if not description:
            self.workbench.tell(nothing)
            return
        there = [row for row in store.touched[:1] if row in store.rows]
        self.changed(store.id(there[0]) if there else None, other_rows=len(store) != count, texts=True)
        self.workbench.tell(f"{what}: {description}")

    # All that the filter shows

    @background("dialog", doing="changing all that is shown", opens=True)
    async def action_bulk(self) -> None:
        """Asks what to do to everything that is shown, and does it as one step."""
        from workbench.tui.dialogs.bulk import BulkDialog

        store, rows = self.store, self.browser.rows
        if store is None or rows is None or not len(rows):
            return
        dialog = BulkDialog(len(rows), len(store), self.browser.searched_for, store.values("tags"))
        change = await self.app.push_screen_wait(dialog)
        if change is None or store is not self.store:
            return
        count = len(store)
        done = await asyncio.to_thread(_done, store, rows, change)
        self.changed(other_rows=len(store) != count, texts=change.kind == "swap")
        self.workbench.tell(f"{change.description}: {plural(done)} changed. u takes all of it back.")

    def changed(self, identity: str | None = None, *, other_rows: bool = False, texts: bool = False) -> None:
        """Shows what an edit did, with the cursor on a pair or else where it was.

        `other_rows`: pairs came or went; `texts`: what the checks look at was changed.
        """
        store, checks = self.store, self.checks
        if store is None or not self.is_attached:
            return
        if checks is not None:
            checks.touch((store.id(row) for row in store.touched), texts=texts or other_rows)
        if other_rows:
            self.show(identity)
            if identity is not None:
                self.browser.go_to(identity)
            return
        if identity is not None:
            self.browser.go_to(identity)
        if len(store.touched) == 1:
            self.browser.refresh_row(store.touched[0])
        else:
            self.browser.refresh_pairs()
        self.show_counts()


def plural(pairs: int) -> str:
    """ "1 pair" or "1,234 pairs"."""
    return "1 pair" if pairs == 1 else f"{pairs:,} pairs"


def _done(store: PairStore, rows: Ints, change: BulkChange) -> int:
    """Makes a change to many pairs, one step of undo; returns how many it changed."""
    value = change.value or ""
    match change.kind:
        case "status":
            return store.set_status(rows, value)  # type: ignore[arg-type]
        case "split":
            return store.set_split(rows, value or None)  # type: ignore[arg-type]
        case "tag":
            return store.add_tag(rows, value)
        case "untag":
            return store.remove_tag(rows, value)
        case "note":
            return store.set_note(rows, value)
        case "swap":
            return store.swap(rows)
        case "remove":
            store.remove([store.id(row) for row in rows.tolist()])
            return len(rows)


def _blank(*, conversational: bool) -> Pair:
    identity = uuid.uuid4().hex[:12]
    if not conversational:
        return Pair(identity, "", "", "")
    answer = (Message("assistant", ""),)
    return Pair(identity, (Message("user", ""),), answer, answer)
