"""The Pairs screen: browse, mend and triage preference pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from workbench import figures
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Pair, Status
from workbench.text import one_line
from workbench.tui.background import background, let_keys_go_on
from workbench.tui.dialogs.ask import ConfirmDialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.screens.pair_browser import PairBrowser
from workbench.tui.widgets.pair_table import PairTable
from workbench.tui.widgets.review_bar import EmptyPairs, ReviewBar

if TYPE_CHECKING:
    from workbench.compare.tuned_runs import Drafter
    from workbench.pairs.session import DataSetSession, Edited

LOOK_AGAIN = 1.0
"""Seconds between two looks at the file."""
_QUOTED = 60
_ON_A_DATA_SET = frozenset({"new", "undo", "redo"})
_ON_A_PAIR = frozenset(
    {
        "judge",
        "flag",
        "next_new",
        "swap",
        "edit",
        "edit_outside",
        "edit_json",
        "tags",
        "note",
        "duplicate",
        "delete",
        "draft",
    }
    | {"bulk", "checks", "export"}
)


class PairsScreen(WorkbenchScreen):
    """One data set at a time: a table, the pair under its cursor, and the keys that judge it.

    Every edit is a method of the session that the app holds, and what it returns is shown by `show_edit`. An edit of
    one pair takes less than a repaint, so the keys need not wait for threads; what takes longer is done in one.
    """

    MODE = "pairs"
    HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (140, "-beside")]  # noqa: RUF012 (Textual declares it so)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "judge('accepted')", "Accept"),
        Binding("x", "judge('dropped')", "Drop"),
        Binding("space", "next_new", "Next new"),
        Binding("e", "edit", "Edit"),
        Binding("c", "checks", "Checks"),
        Binding("u", "undo", "Undo"),
        Binding("m", "flag", "Flag", show=False),
        Binding("s", "swap", "Swap the responses", show=False),
        Binding("t", "tags", "Tags", show=False),
        Binding("o", "note", "Note", show=False),
        Binding("E", "edit_outside", "Edit in $EDITOR", show=False),
        Binding("R", "edit_json", "Edit turns and tools as JSON", show=False),
        Binding("n", "new", "New pair", show=False),
        Binding("N", "duplicate", "New pair like this one", show=False),
        Binding("r", "draft", "Draft answers, rank them", show=False),
        Binding("D", "delete", "Delete from the file", show=False),
        Binding("ctrl+r", "redo", "Redo", show=False),
        Binding("v", "bulk", "Change all that is shown", show=False),
        Binding("d", "data_sets", "Data sets, copy, merge", show=False),
        Binding("i", "import", "Import", show=False),
        Binding("w", "export", "Export", show=False),
        Binding("C", "conflicts", "Decide conflicts", show=False),
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
        self._awaiting_data = False
        """Whether there was no data set in the workspace yet."""
        self._opening = asyncio.Lock()
        self._taking_in = False
        self._keys_for: tuple[bool, bool, bool] | None = None
        self._shown_edit: Edited | None = None

    def compose_body(self) -> ComposeResult:
        """Progress, table and pair; or what to do where there is nothing yet."""
        yield ReviewBar()
        yield PairBrowser()
        yield EmptyPairs()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offers no key that has nothing to work on."""
        del parameters
        if action == "conflicts":
            return self.data_set is not None and bool(self.data_set.store.file.conflicts)
        if action in _ON_A_DATA_SET:
            return self.data_set is not None
        return action not in _ON_A_PAIR or not self.has_class("-empty")

    @property
    def data_set(self) -> DataSetSession | None:
        """The data set that is open; the app holds it, for other screens."""
        return self.workbench.data_set

    @property
    def browser(self) -> PairBrowser:
        """Search line, table and pair."""
        return self.query_one(PairBrowser)

    @property
    def pair(self) -> Pair | None:
        """The pair under the cursor."""
        row = self.browser.row
        return None if self.data_set is None or row is None else self.data_set.store.rows.pair(row)

    # Opening, and what others do to the file

    def on_mount(self) -> None:
        """Opens the data set that was written last."""
        self.browser.table.focus()
        self.set_interval(LOOK_AGAIN, self.look_again)
        self._open_latest()

    def on_screen_resume(self) -> None:
        """Shows what was edited from another screen, and sees what happened on disk in the meantime."""
        data_set = self.data_set
        if data_set is not None and data_set.latest is not self._shown_edit:
            self.show_edit(data_set.latest)
        self.look_again()

    def _open_latest(self) -> None:
        workspace = self.workbench.workspace
        names = workspace.datasets()
        self._awaiting_data = not names
        if names:
            self.open(max(names, key=lambda name: workspace.pairs_file(name).stat().st_mtime))
        else:
            self.add_class("-empty")
            self.query_one(EmptyPairs).show_no_data(str(workspace.pairs))

    @background("open", doing="opening a data set", opens=True)
    async def open(self, name: str) -> None:
        """Opens a data set, once no other is being opened: one that is given up half-way would stay locked."""
        self._awaiting_data = False
        async with self._opening:
            self.top_bar.context = f"{name} · reading …"
            before, self.workbench.data_set = self.workbench.data_set, None
            if before is None:
                self.add_class("-empty")
                self.query_one(EmptyPairs).show_reading(name)
            elif (trouble := await asyncio.to_thread(before.close)) is not None:
                # Closed first: it may be the same, and is then held by nobody.
                self.workbench.show_error(trouble)
            try:
                path = self.workbench.workspace.existing_pairs_file(name)
                data_set = self.workbench.data_set = await asyncio.to_thread(_opened, path, self._checks_changed)
                self._shown_edit = data_set.latest
            finally:
                self.show()
        if data_set.store.file.conflicts:
            self.workbench.tell("Another program and you changed the same pairs: C decides which version stays.")

    def _checks_changed(self) -> None:
        """Called in the thread of the checks."""
        self.app.call_later(self._show_findings)

    def _show_findings(self) -> None:
        if self.is_attached:
            self.browser.refresh_findings()
            self.show_counts()

    def look_again(self) -> None:
        """Sees whether there is something new on disk."""
        if self._awaiting_data:
            self._open_latest()
        data_set = self.data_set
        if data_set is None:
            return
        if (trouble := data_set.trouble) is not None:
            self.show_counts()
            self.workbench.show_error(trouble)
        if data_set.store.file.disk_changed() and not self._taking_in:
            self._take_in(data_set)

    @background("disk", doing="taking in what another program changed")
    async def _take_in(self, data_set: DataSetSession) -> None:
        self._taking_in = True
        try:
            taken_in = await asyncio.to_thread(data_set.take_in)
        finally:
            self._taking_in = False
        if data_set is not self.data_set or taken_in is None:
            return
        if isinstance(taken_in, WorkbenchError):
            self._offer_to_restore(data_set, taken_in)
        else:
            self.show_edit(taken_in)

    @background("dialog", doing="writing the file anew", opens=True)
    async def _offer_to_restore(self, data_set: DataSetSession, trouble: WorkbenchError) -> None:
        question = ConfirmDialog(trouble.title, str(trouble.message), yes="Write it anew", no="Leave it")
        if await self.app.push_screen_wait(question):
            self.show_edit(await asyncio.to_thread(data_set.restore))

    # Showing

    def show(self, identity: str | None = None) -> None:
        """Shows the data set anew, with the cursor on a pair or else where it was."""
        data_set = self.data_set
        if data_set is None:
            self.add_class("-empty")
            self.query_one(EmptyPairs).show_unread()
        else:
            empty = not len(data_set.store)
            self.set_class(empty, "-empty")
            if empty:
                self.query_one(EmptyPairs).show_no_pairs(data_set.name)
            self.browser.show(data_set, identity=identity)
        self.show_counts()

    def show_edit(self, edited: Edited) -> None:
        """Shows what an edit did."""
        if not self.is_attached:
            return
        self._shown_edit = edited
        if edited.other_rows:
            self.show(edited.go_to)
        if edited.go_to is not None:
            self.browser.go_to(edited.go_to)
        if not edited.other_rows:
            if len(edited.rows) == 1:
                self.browser.refresh_row(edited.rows[0])
            elif edited.rows:
                self.browser.refresh_pairs()
            self.show_counts()
        if edited.notice:
            self.workbench.tell(edited.notice)

    def show_counts(self) -> None:
        """Shows how many pairs there are, the pace of the review, and what is the matter with the file."""
        data_set = self.data_set
        conflicts = data_set is not None and bool(data_set.store.file.conflicts)
        state = (data_set is None, self.has_class("-empty"), conflicts)
        if state != self._keys_for:
            # Not at every key: the footer is built anew.
            self._keys_for = state
            self.refresh_bindings()
        if data_set is None:
            self.top_bar.context = self.top_bar.status = ""
            return
        bar = self.query_one(ReviewBar)
        bar.counts, bar.pace, bar.notice = data_set.store.counts(), data_set.pace, data_set.notice
        self.top_bar.context = f"{data_set.name} · {figures.plural(len(data_set.store), 'pair')}"
        self.top_bar.status = data_set.status

    # Judging

    def action_judge(self, status: Status) -> None:
        """Gives the pair under the cursor a status and moves on to the next."""
        row = self.browser.row
        if self._edit_row(lambda data_set, row: data_set.judge(row, status)):
            # One without any answer is not accepted: the cursor stays, and a notice says what to do.
            rows = self.data_set.store.rows if self.data_set is not None else None
            if rows is not None and row is not None and rows.label(row, "status") == status:
                self.browser.table.action_move(1)

    def action_flag(self) -> None:
        """Flags the pair under the cursor, or takes the flag away."""
        self._edit_row(lambda data_set, row: data_set.flag(row))

    def action_next_new(self) -> None:
        """Moves to the next pair that nobody judged."""
        if self.data_set is not None and not self.browser.next_new():
            self.workbench.tell("All of these are reviewed.")

    def _edit_row(self, edit: Callable[[DataSetSession, int], Edited]) -> bool:
        """Edits the pair under the cursor; whether there is one."""
        data_set, row = self.data_set, self.browser.row
        if data_set is None or row is None:
            return False
        self.show_edit(edit(data_set, row))
        return True

    def action_undo(self) -> None:
        """Takes the latest change back."""
        # Not in a thread: the next key is meant for the pair that the cursor is then on.
        if self.data_set is not None:
            self.show_edit(self.data_set.undo())

    def action_redo(self) -> None:
        """Does again what was undone last."""
        if self.data_set is not None:
            self.show_edit(self.data_set.redo())

    # One pair

    def action_swap(self) -> None:
        """Exchanges chosen and rejected."""
        self._edit_row(lambda data_set, row: data_set.swap(row))

    @background("dialog", doing="editing a pair", opens=True)
    async def action_edit(self) -> None:
        """Edits the texts of the pair under the cursor."""
        from workbench.tui.dialogs.edit import EditDialog

        data_set, pair = self.data_set, self.pair
        if data_set is not None and pair is not None:
            after = await self.app.push_screen_wait(EditDialog(pair, "Edit the pair"))
            if after is not None:
                self.show_edit(data_set.replace(pair, after))

    @background("dialog", doing="editing a pair as JSON", opens=True)
    async def action_edit_json(self) -> None:
        """Edits the turns of the pair under the cursor, and what the chat template is given with them, as JSON."""
        from workbench.tui.dialogs.edit_json import EditJsonDialog

        data_set, pair = self.data_set, self.pair
        if data_set is not None and pair is not None:
            after = await self.app.push_screen_wait(EditJsonDialog(pair))
            if after is not None:
                self.show_edit(data_set.replace(pair, after))

    @background("dialog", doing="editing a pair in $EDITOR", opens=True)
    async def action_edit_outside(self) -> None:
        """Edits the pair under the cursor in $EDITOR."""
        from workbench.tui.dialogs.edit import edit_pair

        data_set, pair = self.data_set, self.pair
        if data_set is not None and pair is not None:
            after = await edit_pair(self.app, pair)
            if after is not None:
                self.show_edit(data_set.replace(pair, after))

    @background("dialog", doing="changing the tags", opens=True)
    async def action_tags(self) -> None:
        """Asks for the tags of the pair under the cursor."""
        from workbench.tui.dialogs.ask import TagsDialog

        data_set, pair = self.data_set, self.pair
        if data_set is not None and pair is not None:
            tags = await self.app.push_screen_wait(TagsDialog(pair.tags, data_set.store.values("tags")))
            if tags is not None:
                self.show_edit(data_set.set_tags(pair.id, tags))

    @background("dialog", doing="changing the note", opens=True)
    async def action_note(self) -> None:
        """Asks for a note on the pair under the cursor."""
        from workbench.tui.dialogs.ask import AskDialog

        data_set, pair = self.data_set, self.pair
        if data_set is not None and pair is not None:
            answers = await self.app.push_screen_wait(AskDialog("Note", [("", pair.note, "")]))
            if answers is not None:
                self.show_edit(data_set.set_note(pair.id, answers[0]))

    @background("dialog", doing="writing a new pair", opens=True)
    async def action_new(self) -> None:
        """Writes a new pair."""
        from workbench.tui.dialogs.edit import EditDialog

        data_set = self.data_set
        if data_set is not None:
            pair = await self.app.push_screen_wait(EditDialog(data_set.blank(), "New pair"))
            if pair is not None:
                self.show_edit(data_set.add(pair, "new pair"))

    def action_duplicate(self) -> None:
        """Writes a copy of the pair under the cursor below it."""
        self._edit_row(lambda data_set, row: data_set.duplicate(row))

    @background("dialog", doing="deleting a pair", opens=True)
    async def action_delete(self) -> None:
        """Takes the pair under the cursor out of the file, after a question."""
        data_set, pair = self.data_set, self.pair
        if data_set is None or pair is None:
            return
        question = ConfirmDialog(
            "Take this pair out of the file?",
            f"“{one_line(pair.last_user_turn, _QUOTED)}” will not be in {data_set.store.path.name} any more. "
            "u brings it back. (x drops a pair: it stays in the file and never trains.)",
            yes="Take it out",
            no="Keep it",
        )
        if await self.app.push_screen_wait(question):
            self.show_edit(data_set.remove(pair.id))

    @background("dialog", doing="drafting answers", opens=True)
    async def action_draft(self) -> None:
        """Has a model answer the prompt of the pair under the cursor; ranked answers make pairs."""
        from workbench.behaviours.reading import behaviours_of
        from workbench.compare.ranking import save
        from workbench.tui.dialogs.draft import DraftDialog

        data_set, pair = self.data_set, self.pair
        if data_set is None or pair is None:
            return
        drafters = await asyncio.to_thread(self._drafters)
        find_behaviours = partial(behaviours_of, self.workbench.workspace)
        dialog = DraftDialog(pair, drafters, self.workbench.scorers.of, find_behaviours, slow=self.workbench.slow)
        made = await self.app.push_screen_wait(dialog)
        if made is None:
            return
        if data_set.store.rows.row(pair.id) is None:
            self.workbench.tell("The pair is not there any more: nothing was saved.")
            return
        rows = save(data_set.store, pair.id, made)
        if made.new:
            notice = f"{figures.plural(len(made.new), 'pair')} added below. u takes it back."
            edited = data_set.edited(rows, go_to=made.new[0].id, notice=notice)
        else:
            notice = "This pair has a drafted answer now. u takes it back."
            edited = data_set.edited(rows, go_to=pair.id, notice=notice)
        self.show_edit(edited)

    def _drafters(self) -> Sequence[Drafter]:
        from workbench.compare.tuned_runs import drafters, tuned_runs
        from workbench.runs.catalog import Catalog

        return drafters(tuned_runs(Catalog(self.workbench.workspace.runs).summaries()))

    @background("dialog", doing="deciding a conflict", opens=True)
    async def action_conflicts(self) -> None:
        """Shows, one after the other, the pairs that another program and the user changed, to choose a version."""
        from workbench.tui.dialogs.conflict import ConflictDialog

        data_set = self.data_set
        while data_set is not None and (conflicts := data_set.store.file.conflicts):
            conflict = next(iter(conflicts.values()))
            which = await self.app.push_screen_wait(ConflictDialog(conflict, len(conflicts) - 1))
            if which is None:
                return
            self.show_edit(await asyncio.to_thread(data_set.resolve, conflict.id, which))
        self.workbench.tell("Nothing left to decide.")

    async def on_pair_table_opened(self, event: PairTable.Opened) -> None:
        """Opens the pair in Compare."""
        if self.data_set is not None:
            await self.workbench.compare(pair=self.data_set.store.rows.pair(event.row))

    # All that is shown

    @background("dialog", doing="changing all that is shown", opens=True)
    async def action_bulk(self) -> None:
        """Asks what to do to everything that is shown, and does it as one step."""
        from workbench.tui.dialogs.bulk import BulkDialog

        data_set, rows = self.data_set, self.browser.rows
        if data_set is None or rows is None or not len(rows):
            return
        store = data_set.store
        dialog = BulkDialog(len(rows), len(store), self.browser.searched_for, store.values("tags"))
        change = await self.app.push_screen_wait(dialog)
        if change is not None:
            self.show_edit(await asyncio.to_thread(data_set.change_all, rows, change))

    @background("dialog", doing="checking the pairs", opens=True)
    async def action_checks(self) -> None:
        """Shows what the checks find."""
        from workbench.tui.dialogs.checks import ChecksDialog, DoRepair, ShowFinding

        data_set = self.data_set
        if data_set is None:
            return
        store = data_set.store

        def peek(identity: str) -> str:
            row = store.rows.row(identity)
            return "" if row is None else store.rows.pair(row).last_user_turn

        answer = await self.app.push_screen_wait(ChecksDialog(data_set.checks, data_set.name, peek=peek))
        if isinstance(answer, ShowFinding):
            self.browser.search_for(answer.query)
        elif isinstance(answer, DoRepair):
            self.show_edit(await asyncio.to_thread(data_set.repair, answer.repair))

    # Other files

    @background("dialog", doing="importing pairs", opens=True)
    async def action_import(self) -> None:
        """Brings pairs in from a file."""
        from workbench.tui.dialogs.pair_files import ImportDialog

        workspace, data_set = self.workbench.workspace, self.data_set

        def existing(name: str) -> Sequence[Pair]:
            from workbench.pairs.session import pairs_in

            return pairs_in(data_set, workspace.pairs_file(name))

        answer = await self.app.push_screen_wait(ImportDialog(existing, workspace.datasets()))
        if answer is None:
            return

        def add() -> str:
            from workbench.pairs.session import add_pairs, imported

            path = workspace.pairs_file(answer.name)
            add_pairs(data_set, path, answer.imported.pairs, f"import {answer.path.name}")
            return imported(answer.imported, answer.name)

        self.workbench.tell(await asyncio.to_thread(add))
        if data_set is not None and data_set.name == answer.name:
            self.show_edit(data_set.latest)
        else:
            self.open(answer.name)

    @background("dialog", doing="exporting pairs", opens=True)
    async def action_export(self) -> None:
        """Writes pairs to a file of another kind or place."""
        from workbench.pairs.outward import READERS
        from workbench.tui.dialogs.pair_files import ExportDialog

        data_set, rows = self.data_set, self.browser.rows
        if data_set is None or rows is None:
            return
        counts = {shape: data_set.export_counts(rows, shape) for shape in READERS}
        dialog = ExportDialog(self.workbench.workspace, data_set.name, counts, self.browser.searched_for)
        answer = await self.app.push_screen_wait(dialog)
        if answer is not None:
            let_keys_go_on()
            export = partial(data_set.export, raw=answer.raw)
            told = await asyncio.to_thread(export, rows, answer.path, answer.form, answer.which, answer.shape)
            self.workbench.tell(told)

    @background("dialog", doing="changing data sets", opens=True)
    async def action_data_sets(self) -> None:
        """Shows the data sets: opens another, copies or moves pairs, merges, begins a new one."""
        from workbench.tui.dialogs.data_sets import CopyTo, DataSetsDialog, MergeFrom, NewSet, OpenSet

        workspace, data_set, rows = self.workbench.workspace, self.data_set, self.browser.rows
        current = data_set.name if data_set is not None else None
        shown = len(rows) if rows is not None and data_set is not None else 0
        match await self.app.push_screen_wait(DataSetsDialog(workspace, current, shown)):
            case OpenSet(name) if name != current:
                self.open(name)
            case NewSet(name):
                await asyncio.to_thread(_begin, workspace.pairs_file(name))
                self.open(name)
            case CopyTo(name, move) if data_set is not None and rows is not None:
                path = workspace.pairs_file(name)
                self.show_edit(await asyncio.to_thread(data_set.copy_into, path, rows, move_them=move))
            case MergeFrom(name) if data_set is not None:
                path = workspace.existing_pairs_file(name)
                self.show_edit(await asyncio.to_thread(data_set.merge_from, path))


# The first screen is painted before Arrow is there.


def _opened(path: Path, checks_changed: Callable[[], None]) -> DataSetSession:
    from workbench.pairs.session import DataSetSession

    return DataSetSession(path, checks_changed=checks_changed)


def _begin(path: Path) -> None:
    from workbench.pairs.session import begin

    begin(path)
