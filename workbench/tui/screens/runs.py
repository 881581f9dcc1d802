"""The Runs screen: the table of runs above, the highlighted one below, live; and what every key does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from workbench import figures
from workbench.config import to_toml
from workbench.evidence.jobs import evaluate, known, write_report
from workbench.runs import actions, labels, watching
from workbench.runs.actions import ACTIONS
from workbench.runs.catalog import Run
from workbench.runs.merging import Done, Merging
from workbench.runs.series import AXES
from workbench.runs.watching import RunWatcher, Snapshot, Wanted
from workbench.tui.background import background, background_loop
from workbench.tui.dialogs.ask import AskDialog, ChooseDialog, ConfirmDialog
from workbench.tui.dialogs.evaluate import EvaluateDialog, MeasuredBesides
from workbench.tui.dialogs.merge import MergeDialog
from workbench.tui.dialogs.new_run import NewRunDialog
from workbench.tui.dialogs.overlay import OverlayDialog
from workbench.tui.dialogs.show import ReadDialog, TomlDialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.line_chart import Chart
from workbench.tui.widgets.run_charts import Look, charts_of
from workbench.tui.widgets.run_table import Listing, RunSearch, RunTable, sortable
from workbench.tui.widgets.run_view import RunView
from workbench.tui.widgets.run_words import alerts_in_full, counted, verdicts_in_full

_SMOOTHING = (0.0, 0.6, 0.9, 0.97)
"""Weights of the past, from none to much."""
_ALWAYS = ("new_run", "back", "next", "sort", "search", "show_archived")
_POSSIBLE: Mapping[str, Callable[[Run], bool]] = {
    "delete": lambda run: not run.going,
    "merge": lambda run: run.folder.has_adapter,
    "evaluate": lambda run: not run.going and run.folder.has_adapter,
    "alerts": lambda run: bool(run.state.warnings),
}
"""When the keys work that do more than `ACTIONS`."""
_EMPTY = """No runs yet.

A run trains an adapter on your preference pairs, in the background:
it goes on when you close this screen, and shows here when you come back."""


class RunsScreen(WorkbenchScreen):
    """Shows the watcher's snapshots. What is done to a run are the functions of `runs.actions`."""

    MODE = "runs"
    AUTO_FOCUS = "RunTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new_run", "New run"),
        Binding("enter", "open", "Open, then zoom the chart", show=False),
        Binding("p", "act('stop')", "Stop"),
        Binding("space,P", "act('pause')", "Pause, continue", show=False),
        Binding("r", "act('resume')", "Resume"),
        Binding("K", "act('kill')", "Kill at once", show=False),
        Binding("plus", "overlay", "Overlay", key_display="+"),
        Binding("minus", "overlay_less", "Remove the last overlay", key_display="-", show=False),
        Binding("s", "samples", "Samples"),
        Binding("h", "alerts", "Alerts in full", show=False),
        Binding("l", "log", "Log"),
        Binding("c", "compare", "Compare"),
        Binding("e", "evaluate", "Evaluate: does it hold?", show=False),
        Binding("m", "merge", "Merge into the base", show=False),
        Binding("i", "settings", "Settings as TOML", show=False),
        Binding("w", "report", "Write the report", show=False),
        Binding("x", "axis", "Axis: steps, epochs, pairs, minutes", show=False),
        Binding("y", "smooth", "Smoothing", show=False),
        Binding("z", "zoom", "Zoom the chart", show=False),
        Binding("left_square_bracket,left", "step(-1)", "Previous chart, earlier samples", key_display="[", show=False),
        Binding("right_square_bracket,right", "step(1)", "Next chart, later samples", key_display="]", show=False),
        Binding("j,down", "next(1)", "Next run", show=False),
        Binding("k,up", "next(-1)", "Previous run", show=False),
        Binding("S", "sort", "Sort by", show=False),
        Binding("slash", "search", "Filter", key_display="/", show=False),
        Binding("t", "label", "Name, tags and note", show=False),
        Binding("A", "act('archive')", "Archive", show=False),
        Binding("a", "show_archived", "Show archived runs", show=False),
        Binding("less_than_sign", "act('earlier')", "Earlier in the queue", key_display="<", show=False),
        Binding("greater_than_sign", "act('later')", "Later in the queue", key_display=">", show=False),
        Binding("D", "delete", "Delete", show=False),
        Binding("escape", "back", "Back to the list", show=False),
    ]
    DEFAULT_CSS = """
    RunsScreen #divider { width: 100%; height: 1; color: $border; text-wrap: nowrap; text-overflow: clip; }
    RunsScreen #empty, RunsScreen #hidden { height: 1fr; align: center middle; display: none; }
    RunsScreen #empty Static, RunsScreen #hidden Static { width: auto; color: $secondary; text-align: center; }
    RunsScreen.-empty #empty, RunsScreen.-hidden #hidden { display: block; }
    RunsScreen.-hidden RunView { display: none; }
    RunsScreen.-empty RunTable, RunsScreen.-empty #divider, RunsScreen.-empty RunView { display: none; }
    RunsScreen.-open RunTable, RunsScreen.-open #divider { display: none; }
    """
    watcher: RunWatcher
    """Reads the run folders, from the moment on that the screen is there."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: tuple[Run, ...] = ()
        """All runs in short, newest first."""
        self.listing, self.look = Listing(), Look()
        self.overlaid: list[str] = []
        """The ids of the runs that are laid over the charts."""
        self.merging: Merging | None = None
        """The latest merge, which goes on while its dialog is closed."""
        self.evaluating: Run | None = None
        """The run that is being measured."""
        self._to_show: str | None = None
        """The run to highlight as soon as it is in the list."""
        self._deleted: set[str] = set()
        """Runs that this screen moved away itself."""
        self._keys_shown: object = None

    def compose_body(self) -> ComposeResult:
        """Table, divider, the run that is shown; or what to do when there is none."""
        yield RunSearch()
        yield RunTable()
        yield Static("─" * 500, markup=False, id="divider")
        yield RunView(watching.pace(slow=self.workbench.slow).charts)
        with Vertical(id="empty"):
            yield Static(Content.assemble(_EMPTY, "\n\n", ("n", "bold $accent"), " starts one."), markup=False)
        with Vertical(id="hidden"):
            keys = (("a", "bold $accent"), " shows archived runs, ", ("esc", "bold $accent"), " takes the filter away.")
            yield Static(Content.assemble("No run is left to show: ", *keys), markup=False)

    # Watching

    def on_mount(self) -> None:
        """Begins to watch."""
        self.watcher = RunWatcher(self.workbench.workspace.runs, watching.pace(slow=self.workbench.slow))
        self.app.theme_changed_signal.subscribe(self, lambda _: self.watcher.hurry())
        self._watch()

    def on_screen_suspend(self) -> None:
        """Looks at nothing while another screen is shown."""
        self.watcher.sleep()

    def on_screen_resume(self) -> None:
        """Looks again."""
        self.watcher.wake()

    def show_run(self, run: str) -> None:
        """Highlights the run with this id as soon as it is in the list, which is read at once."""
        self._to_show = run
        self.watcher.hurry(at_list=True)

    @background_loop("watch", doing="following the runs")
    async def _watch(self) -> None:
        await self.show(await self.watcher.next(self._wanted))

    def _wanted(self) -> Wanted:
        current = self.table.current
        return Wanted(current, tuple(run for run in self.overlaid if run != current), self.view.part == "log")

    async def show(self, snapshot: Snapshot) -> None:
        """Shows what the watcher saw: the list where it was read, and the run if it is the highlighted one still."""
        if snapshot.listed:
            self._tell_what_happened(snapshot)
            self.runs = snapshot.runs
            self.set_class(not self.runs, "-empty")
            self._fill_table()
            if self._to_show is not None and self.table.go_to(self._to_show):
                self._to_show = None
            count = Counter(run.status if run.going else "done" for run in self.runs)
            words = (f"{count[word]} {word}" for word in ("running", "paused", "queued", "done") if count[word])
            self.top_bar.context = " · ".join(words)
        run = snapshot.run
        if run is not None and run.id == self.table.current:
            await self.view.show(snapshot, self.look)
            self.top_bar.status = run.state.started.device if run.state.started else ""
            self._refresh_keys(run)

    def _tell_what_happened(self, snapshot: Snapshot) -> None:
        """Tells of runs that ended since the last look, and of folders that are gone."""
        now = {run.id: run for run in snapshot.runs}
        for before in snapshot.before:
            run = now.get(before.id)
            if run is None:
                if before.id not in self._deleted:
                    self.workbench.tell(f"{before.name} is gone: its folder was deleted or moved.")
            elif before.going and run.status == "finished":
                self.workbench.tell(f"{run.name} has finished. c shows it beside the base.")
            elif before.going and run.status in ("failed", "lost"):
                self.workbench.tell(f"{run.name}: {run.status}. It can be resumed with r.")
        self._deleted &= set(now)

    def _fill_table(self) -> None:
        """Shows the runs that the filter leaves, in the chosen order."""
        shown = self.listing.of(self.runs)
        self.table.fill(shown, self.listing)
        self.set_class(bool(self.runs) and not shown, "-hidden")
        hidden = sum(run.labels.archived for run in self.runs) if not self.listing.archived else 0
        count = f"{len(shown)} of {len(self.runs)}" + (f" · {hidden} archived" if hidden else "")
        self.query_one(RunSearch).tell(count if self.listing.query else "")

    def _refresh_keys(self, run: Run) -> None:
        """The footer is written anew only where a key changed: it costs a line."""
        keys = run.status, run.stopping, bool(run.state.warnings), bool(self.overlaid)
        if keys != self._keys_shown:
            self._keys_shown = keys
            self.refresh_bindings()

    @property
    def table(self) -> RunTable:
        """The table."""
        return self.query_one(RunTable)

    @property
    def view(self) -> RunView:
        """The run that is shown."""
        return self.query_one(RunView)

    @property
    def current(self) -> Run | None:
        """The highlighted run, as fresh as it is known."""
        listed = next((run for run in self.runs if run.id == self.table.current), None)
        shown = self.view.run_shown
        return shown if listed is not None and shown is not None and shown.id == listed.id else listed

    @on(RunTable.Highlighted)
    @on(Chart.Resized)
    @on(Chart.Picked)
    def _show_anew(self) -> None:
        self.watcher.hurry()

    # What is shown, and how

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Dims the keys that would do nothing now."""
        if not self.is_mounted:
            return None
        run = self.current
        if action == "overlay_less":
            return True if self.overlaid else None
        possible = ACTIONS[str(parameters[0])].possible if action == "act" else _POSSIBLE.get(action)
        if possible is not None:
            return True if run is not None and possible(run) else None
        own = {key.action.partition("(")[0] for key in self.BINDINGS if isinstance(key, Binding)}
        return True if run is not None or action in _ALWAYS or action not in own else None

    @on(RunTable.Opened)
    def action_open(self) -> None:
        """Gives the run the whole screen; there, zooms the marked chart."""
        if self.has_class("-open"):
            self.view.zoom()
        else:
            self.add_class("-open")
        self.watcher.hurry()

    def action_back(self) -> None:
        """From the zoomed chart, the log or the answers to the run, from the run to the table, then to all runs."""
        if self.view.restore():
            self.watcher.hurry()
        elif self.has_class("-open"):
            self.remove_class("-open")
            self.table.focus()
        else:
            self.query_one(RunSearch).clear()

    def _show_table(self) -> None:
        self.view.restore()
        self.remove_class("-open")

    def action_next(self, runs: int) -> None:
        """Shows the next or the previous run, while the table is hidden too."""
        self.table.move(runs)

    def action_step(self, steps: int) -> None:
        """Marks the next or the previous chart, or shows later or earlier answers."""
        self.view.step(steps)
        self.watcher.hurry()

    def action_zoom(self) -> None:
        """Shows the marked chart alone, or all."""
        self.view.zoom()
        self.watcher.hurry()

    def action_log(self) -> None:
        """Shows the worker's log in the place of the charts, or the charts again."""
        self.view.turn_to("log")
        self.watcher.hurry()

    def action_samples(self) -> None:
        """Shows what base and aligned model answered, or the charts again."""
        self.view.turn_to("samples")
        self.watcher.hurry()

    def action_axis(self) -> None:
        """Draws the curves over the next axis."""
        self.look = replace(self.look, axis=AXES[(AXES.index(self.look.axis) + 1) % len(AXES)])
        self.watcher.hurry()

    def action_smooth(self) -> None:
        """Smooths the curves more, or not at all."""
        weight = _SMOOTHING[(_SMOOTHING.index(self.look.smoothing) + 1) % len(_SMOOTHING)]
        self.look = replace(self.look, smoothing=weight)
        self.watcher.hurry()

    @background("ask", doing="choosing overlays", exclusive=True, opens=True)
    async def action_overlay(self) -> None:
        """Asks which runs to lay over the charts."""
        others = [run for run in self.runs if run.id != self.table.current and charts_of(run.state)]
        if not others:
            self.workbench.tell("There is no other run to lay over this one.")
            return
        chosen = await self.app.push_screen_wait(OverlayDialog(others, self.overlaid))
        if chosen is not None:
            self.overlaid = chosen
            self.watcher.hurry()

    def action_overlay_less(self) -> None:
        """Takes the last run off the charts again."""
        self.overlaid = self.overlaid[:-1]
        self.watcher.hurry()

    def action_alerts(self) -> None:
        """Shows every alert with its reason and remedy."""
        run = self.current
        if run is not None and run.state.warnings:
            title = f"{figures.plural(len(run.state.warnings), 'alert')} · {run.name}"
            self.app.push_screen(ReadDialog(title, alerts_in_full(run.state.warnings)))

    def on_click(self, event: events.Click) -> None:
        """A click on an alert shows all of it."""
        if event.widget is not None and event.widget.id == "alerts":
            self.action_alerts()

    def action_settings(self) -> None:
        """Shows the run's settings."""
        run = self.current
        if run is None:
            return
        if run.config is None:
            self.workbench.tell("The run's settings cannot be read: run.toml is missing or damaged.")
            return
        self.app.push_screen(TomlDialog(f"Settings · {run.name}", to_toml(run.config)))

    # Which runs are in the table, in which order

    @background("ask", doing="sorting the runs", exclusive=True, opens=True)
    async def action_sort(self) -> None:
        """Asks for the column to sort by; the one that is chosen already turns the order around."""
        columns = sortable(self.runs)
        now = next((number for number, column in enumerate(columns) if column.key == self.listing.sort), None)
        arrow = "▴ upwards" if self.listing.upwards else "▾ downwards"
        choices = [(column.name, arrow if number == now else "") for number, column in enumerate(columns)]
        number = await self.app.push_screen_wait(ChooseDialog("Sort by", choices, current=now))
        if number is not None:
            self._list(self.listing.sorted_by(columns[number].key))

    def on_run_table_sort_asked(self, event: RunTable.SortAsked) -> None:
        """A click on a title sorts."""
        self._list(self.listing.sorted_by(event.key))

    def _list(self, listing: Listing) -> None:
        self.listing = listing
        self._fill_table()

    def action_search(self) -> None:
        """Opens the line that filters."""
        self._show_table()
        self.query_one(RunSearch).open()

    @on(RunSearch.Changed)
    def _filter(self, event: RunSearch.Changed) -> None:
        self._list(replace(self.listing, query=event.query))

    @on(RunSearch.Left)
    def _leave_search(self) -> None:
        self.table.focus()

    def action_show_archived(self) -> None:
        """Shows archived runs as well, or hides them again."""
        self._list(replace(self.listing, archived=not self.listing.archived))
        hidden = sum(run.labels.archived for run in self.runs)
        self.workbench.tell(f"{hidden} archived {'shown' if self.listing.archived else 'hidden'}.")

    # What is done to a run

    async def _ask(self, question: str, detail: str, /, *, yes: str, no: str) -> bool:
        return await self.app.push_screen_wait(ConfirmDialog(question, detail, yes=yes, no=no))

    def _done(self, told: str) -> None:
        if told:
            self.workbench.tell(told)
        self.watcher.hurry(at_list=True)

    @background("ask", doing="acting on a run", exclusive=True, opens=True)
    async def action_act(self, name: str) -> None:
        """Does one of `ACTIONS` to the run, which may ask first."""
        if self.current is not None:
            self._done(await ACTIONS[name].do(self.current, self._ask))

    @background("ask", doing="deleting the run", exclusive=True, opens=True)
    async def action_delete(self) -> None:
        """Moves the run's folder to the trash."""
        run = self.current
        if run is None:
            return
        self._deleted.add(run.id)  # Before it is gone: the watcher may be quicker.
        told = await actions.delete(run, self._ask, self.workbench.workspace)
        if not told:
            self._deleted.discard(run.id)
            return
        self.overlaid = [other for other in self.overlaid if other != run.id]
        self.remove_class("-open")
        self.table.focus()
        self._done(told)

    @background("ask", doing="naming the run", exclusive=True, opens=True)
    async def action_label(self) -> None:
        """Asks for name, tags and note."""
        run = self.current
        if run is None:
            return
        fields = (
            ("name", run.labels.name, "shown instead of the id"),
            ("tags", " ".join(run.labels.tags), "words, apart by spaces"),
            ("note", run.labels.note, ""),
        )
        answers = await self.app.push_screen_wait(AskDialog(run.id, fields))
        if answers is not None and (edited := run.labels.edited(*answers)) != run.labels:
            await asyncio.to_thread(labels.write, run.folder, edited)
            self._done("")

    @background("ask", doing="starting a run", exclusive=True, opens=True)
    async def action_new_run(self) -> None:
        """Asks what to train, and starts it."""
        started = await self.app.push_screen_wait(NewRunDialog(self.workbench.workspace))
        if started is not None:
            self._show_table()
            self.show_run(started)

    @background("ask", doing="opening Compare", exclusive=True, opens=True)
    async def action_compare(self) -> None:
        """Compares the run with its base model."""
        run = self.current
        if run is None:
            return
        if not run.folder.has_adapter:
            self.workbench.tell("This run has saved no adapter yet: there is nothing to compare.")
            return
        if await actions.trusted(run, self._ask):
            await self.workbench.compare(run=run.id)

    @background("report", doing="writing the report", exclusive=True)
    async def action_report(self) -> None:
        """Writes the page about the run into its folder."""
        run, workspace = self.current, self.workbench.workspace
        if run is None:
            return
        self.workbench.tell(f"Writing the report of {run.name} …")
        headline = await write_report(run.folder)
        self.workbench.tell(f"{headline} {run.folder.report.relative_to(workspace.root)}")

    @background("ask", doing="opening the merge", exclusive=True, opens=True)
    async def action_merge(self) -> None:
        """Merges the run's adapter into its base, in a process of its own; while one does, shows how far it is."""
        run = self.current
        if run is not None and (self.merging is None or not self.merging.running):
            if not await actions.trusted(run, self._ask):
                return
            self.merging = Merging(run.folder)
        if self.merging is not None:
            self.app.push_screen(MergeDialog(self.merging, self.workbench.workspace))

    @background("ask", doing="asking about the evaluation", exclusive=True, opens=True)
    async def action_evaluate(self) -> None:
        """Shows the verdicts about the run, measures it, or gives up measuring."""
        run = self.current
        if self.evaluating is not None:
            detail = "What was measured before stays as it is."
            if await self._ask(f"Give up measuring {self.evaluating.name}?", detail, yes="Give up", no="Go on"):
                self.workers.cancel_group(self, "evaluate")
            return
        if run is None:
            return
        if run.folder.evidence.exists():
            detail = "Its verdicts can be shown as they are, or everything measured again on the suites of now."
            if not await self._ask(f"Measure {run.name} again?", detail, yes="Measure again", no="Show them"):
                evidence = await asyncio.to_thread(known, run.folder)
                self.app.push_screen(ReadDialog(f"{run.name}: {counted(evidence)}", verdicts_in_full(evidence)))
                return
        if not await actions.trusted(run, self._ask):
            return
        besides = await self.app.push_screen_wait(EvaluateDialog(run.folder, self._merged_of(run)))
        if besides is not None:
            self._evaluate(run, besides)

    def _merged_of(self, run: Run) -> Path | None:
        """Where the run's merged model is: where it was merged to just now, or where merging puts it by itself."""
        folders = [self.workbench.workspace.merged / run.id]
        if self.merging is not None and self.merging.folder.id == run.id and isinstance(self.merging.state, Done):
            folders.insert(0, Path(self.merging.state.merged.path))
        return next((folder for folder in folders if (folder / "config.json").is_file()), None)

    @background("evaluate", doing="evaluating the run", exclusive=True)
    async def _evaluate(self, run: Run, besides: MeasuredBesides) -> None:
        self.evaluating = run

        def tell(text: str) -> None:
            self.workbench.tell(f"{run.name}: {text} …")

        try:
            merged, tasks = besides.merged, besides.tasks
            evidence = await evaluate(self.workbench.workspace, run.folder, tell, merged=merged, tasks=tasks)
        finally:
            self.evaluating = None
        self.app.push_screen(ReadDialog(f"{run.name}: {counted(evidence)}", verdicts_in_full(evidence)))
