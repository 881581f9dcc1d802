"""The Pairs screen: browse, mend and triage preference pairs."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import ClassVar, TypeVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair, Status
from workbench.tui.pair_edits import Change, PairEdits
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.empty_pairs import EmptyPairs
from workbench.tui.widgets.pair_browser import PairBrowser
from workbench.tui.widgets.pair_table import PairTable
from workbench.tui.widgets.review_bar import Pace, ReviewBar

_LOOK_AGAIN = 2.0
_ON_A_PAIR = frozenset({"judge", "flag", "next_new", "edit", "search", "swap", "tags", "note", "scroll_text"})
_ON_A_DATA_SET = frozenset({"new", "undo", "redo", "reload"})
_COUNTED = 8 << 20
_T = TypeVar("_T")


class PairsScreen(WorkbenchScreen):
    """One data set at a time: a table, the pair under its cursor, and the keys that judge it."""

    MODE = "pairs"
    HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (140, "-beside")]  # noqa: RUF012 (Textual declares it so)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "judge('accepted')", "Accept"),
        Binding("x", "judge('dropped')", "Drop"),
        Binding("space", "next_new", "Next new"),
        Binding("e", "edit", "Edit"),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("u", "undo", "Undo"),
        Binding("m", "flag", "Flag", show=False),
        Binding("s", "swap", "Swap chosen and rejected", show=False),
        Binding("t", "tags", "Tags", show=False),
        Binding("o", "note", "Note", show=False),
        Binding("n", "new", "New pair", show=False),
        Binding("ctrl+r", "redo", "Redo", show=False),
        Binding("d", "choose", "Open another data set", show=False),
        Binding("R", "reload", "Read the file again", show=False),
        Binding("J,shift+down", "scroll_text(3)", "Scroll the pair down", show=False),
        Binding("K,shift+up", "scroll_text(-3)", "Scroll the pair up", show=False),
        Binding("escape", "show_all", "Clear the search", show=False),
    ]
    DEFAULT_CSS = """
    PairsScreen {
        #panes { height: 1fr; layout: vertical; }
        PairTable { height: 38%; min-height: 5; }
        PairView { height: 1fr; }
        &.-beside {
            #panes { layout: horizontal; }
            PairTable { width: 44%; height: 1fr; }
            PairView { width: 1fr; }
        }
        EmptyPairs { display: none; }
        &.-empty { PairBrowser, ReviewBar { display: none; } EmptyPairs { display: block; } }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._edits: PairEdits | None = None
        self._awaiting_data = False

    def compose_body(self) -> ComposeResult:
        """Progress, table and pair; or what to do where there is nothing yet."""
        yield ReviewBar()
        yield PairBrowser()
        yield EmptyPairs()

    def on_mount(self) -> None:
        """Opens the data set that was written last."""
        self._browser.table.focus()
        self.set_interval(_LOOK_AGAIN, self._look_again)
        self._open_latest()

    def on_unmount(self) -> None:
        """Has the file saved."""
        if self._edits is not None:
            self._edits.close(wait=True)

    def on_screen_resume(self) -> None:
        """Sees what happened on disk in the meantime."""
        self._look_again()

    async def on_pair_table_opened(self, event: PairTable.Opened) -> None:
        """Opens the pair in Compare."""
        if self._edits is not None:
            await self.workbench.compare(pair=self._edits.pair(event.position))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offers no key that has nothing to work on."""
        del parameters
        if action in _ON_A_DATA_SET:
            return self._edits is not None
        return action not in _ON_A_PAIR or not self.has_class("-empty")

    # Judging

    def action_judge(self, status: Status) -> None:
        """Gives the pair under the cursor a status and moves on to the next."""
        if self._set_status(status):
            self._browser.table.action_move(1)

    def action_flag(self) -> None:
        """Flags the pair under the cursor, or takes the flag away."""
        pair = self._pair
        if pair is not None:
            self._set_status("new" if pair.status == "flagged" else "flagged")

    def action_next_new(self) -> None:
        """Moves to the next pair that nobody judged."""
        if self._edits is not None and not self._browser.next_new():
            self.workbench.tell("Every pair that is shown has been reviewed.")

    def _set_status(self, status: Status) -> bool:
        pair = self._pair
        if pair is None:
            return False
        if pair.status == "new" and status != "new":
            bar = self.query_one(ReviewBar)
            bar.pace = bar.pace.after(time.monotonic())
        if pair.status != status:
            self._change(lambda pair: replace(pair, status=status), status)
        return True

    # Changing

    def action_swap(self) -> None:
        """Exchanges chosen and rejected."""
        if self._pair is not None:
            self._change(Pair.swapped, "swap")

    @work(group="dialog")
    async def action_edit(self) -> None:
        """Edits the texts of the pair under the cursor."""
        from workbench.tui.dialogs.edit import EditDialog

        pair = self._pair
        if pair is None:
            return
        after = await self.app.push_screen_wait(EditDialog(pair, "Edit the pair"))
        if after is not None:
            self._change(
                lambda pair: replace(pair, prompt=after.prompt, chosen=after.chosen, rejected=after.rejected), "edit"
            )

    @work(group="dialog")
    async def action_tags(self) -> None:
        """Asks for the tags of the pair under the cursor."""
        from workbench.tui.dialogs.ask import AskDialog

        pair = self._pair
        if pair is None:
            return
        answer = await self.app.push_screen_wait(AskDialog("Tags", ", ".join(pair.tags), hint="a comma between two"))
        if answer is not None:
            tags = tuple(dict.fromkeys(tag.strip() for tag in answer.split(",") if tag.strip()))
            self._change(lambda pair: replace(pair, tags=tags), "tags")

    @work(group="dialog")
    async def action_note(self) -> None:
        """Asks for a note on the pair under the cursor."""
        from workbench.tui.dialogs.ask import AskDialog

        pair = self._pair
        if pair is None:
            return
        note = await self.app.push_screen_wait(AskDialog("Note", pair.note))
        if note is not None:
            self._change(lambda pair: replace(pair, note=note), "note")

    @work(group="dialog")
    async def action_new(self) -> None:
        """Writes a new pair."""
        from workbench.tui.dialogs.edit import EditDialog

        edits = self._edits
        if edits is None:
            return
        blank = _blank(conversational=not edits.pairs or edits.pairs[0].conversational)
        pair = await self.app.push_screen_wait(EditDialog(blank, "New pair"))
        if pair is not None:
            self._browser.clear_search()
            self._save(edits, edits.add(pair), lambda _: self._show(len(edits.pairs) - 1))

    def action_undo(self) -> None:
        """Takes the latest change back."""
        if self._edits is not None:
            self._save(self._edits, self._edits.undo(), lambda done: self._told(done, "undone", "Nothing to undo."))

    def action_redo(self) -> None:
        """Does again what was undone last."""
        if self._edits is not None:
            self._save(self._edits, self._edits.redo(), lambda done: self._told(done, "redone", "Nothing to redo."))

    def _told(self, done: tuple[str, int | None], what: str, nothing: str) -> None:
        description, place = done
        self._show(place)
        self.workbench.tell(f"{what}: {description}" if description else nothing)

    def _change(self, change: Change, description: str) -> None:
        place = self._browser.place
        if self._edits is None or place is None:
            return
        future = self._edits.change(place, change, description)
        self._browser.show_pair(place)
        self._count()
        self._save(self._edits, future, None)

    @work(group="save")
    async def _save(self, edits: PairEdits, future: Future[_T], then: Callable[[_T], None] | None) -> None:
        try:
            # Shielded: what waits to be saved is saved even when the screen goes away before.
            result = await asyncio.shield(asyncio.wrap_future(future))
        except WorkbenchError as error:
            edits.settle()
            if self.is_attached:
                self._show()
                self.workbench.show_error(error)
            return
        edits.settle()
        if edits is self._edits and self.is_attached:
            if then is not None:
                then(result)
            self._count()

    # Looking

    def action_search(self) -> None:
        """Lets the user type a query."""
        self._browser.open_search()

    def action_show_all(self) -> None:
        """Clears the search."""
        self._browser.clear_search()

    def action_scroll_text(self, lines: int) -> None:
        """Scrolls the pair under the cursor."""
        self._browser.scroll_text(lines)

    @work(group="dialog")
    async def action_choose(self) -> None:
        """Asks which data set to open."""
        from workbench.tui.dialogs.choose import ChooseDialog

        names = self.workbench.workspace.datasets()
        if not names:
            return
        current = self._edits.name if self._edits else None
        choices = [(name, self._extent(name)) for name in names]
        name = await self.app.push_screen_wait(ChooseDialog("Data sets", choices, current=current))
        if name is not None and name != current:
            self._open(name)

    def action_reload(self) -> None:
        """Reads the file again."""
        edits, pair = self._edits, self._pair
        if edits is None:
            return
        identity = pair.id if pair else None

        def show(_: None) -> None:
            place = next((at for at, each in enumerate(edits.pairs) if each.id == identity), None)
            self._show(place)
            self.workbench.tell(f"{edits.name} read again.")

        self._save(edits, edits.reload(), show)

    # Opening

    @property
    def _browser(self) -> PairBrowser:
        return self.query_one(PairBrowser)

    @property
    def _pair(self) -> Pair | None:
        place = self._browser.place
        return None if self._edits is None or place is None else self._edits.pair(place)

    def _open_latest(self) -> None:
        workspace = self.workbench.workspace
        names = workspace.datasets()
        self._awaiting_data = not names
        if names:
            self._open(max(names, key=lambda name: workspace.pairs_file(name).stat().st_mtime))
        else:
            self.add_class("-empty")
            self.query_one(EmptyPairs).show_no_data(str(workspace.pairs))

    @work(group="open", exclusive=True)
    async def _open(self, name: str) -> None:
        self.top_bar.context = f"{name} · reading …"
        if self._edits is None:
            self.add_class("-empty")
            self.query_one(EmptyPairs).show_reading(name)
        try:
            path = self.workbench.workspace.existing_pairs_file(name)
            edits = await asyncio.to_thread(PairEdits.open, path)
        except WorkbenchError as error:
            self.workbench.show_error(error)
            self._show()
            return
        if self._edits is not None:
            self._edits.close()
        self._edits = edits
        bar = self.query_one(ReviewBar)
        bar.pace, bar.notice = Pace(), ""
        self._browser.clear_search()
        self._show(0)

    def _show(self, place: int | None = None) -> None:
        """Shows the data set anew, with the cursor at `place` or else where it was."""
        if self._edits is None:
            self.query_one(EmptyPairs).show_unread()
            self._count()
            return
        empty = not self._edits.pairs
        self.set_class(empty, "-empty")
        if empty:
            self.query_one(EmptyPairs).show_no_pairs(self._edits.name)
        self._browser.show(self._edits, place=place)
        self._count()

    def _count(self) -> None:
        self.refresh_bindings()
        if self._edits is None:
            self.top_bar.context = ""
            return
        counts, problems = self._edits.counts, self._edits.problems
        self.query_one(ReviewBar).counts = dict(counts)
        self.top_bar.context = f"{self._edits.name} · {sum(counts.values()):,} pairs"
        unusable = "line is no pair" if problems == 1 else "lines are no pairs"
        self.top_bar.status = f"▲ {problems:,} {unusable}" if problems else ""

    def _look_again(self) -> None:
        if self._awaiting_data:
            self._open_latest()
        if self._edits is not None:
            changed = self._edits.changed_on_disk()
            self.query_one(ReviewBar).notice = "▲ changed on disk · R reads it again" if changed else ""

    def _extent(self, name: str) -> str:
        path = self.workbench.workspace.pairs_file(name)
        size = path.stat().st_size
        if size > _COUNTED:
            return f"{size / 2**20:,.0f} MiB"
        lines = path.read_bytes().count(b"\n")
        return f"{lines:,} pair{'s' if lines != 1 else ''}"


def _blank(*, conversational: bool) -> Pair:
    identity = uuid.uuid4().hex[:12]
    if not conversational:
        return Pair(identity, "", "", "")
    answer = (Message("assistant", ""),)
    return Pair(identity, (Message("user", ""),), answer, answer)
