"""The Runs screen: the list of runs above, the one that is highlighted below, live."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.worker import Worker, WorkerState

from workbench.errors import WorkbenchError
from workbench.runs import process
from workbench.runs.state import RunState
from workbench.tui.dialogs.confirm import ConfirmDialog
from workbench.tui.dialogs.new_run import NewRunDialog
from workbench.tui.feed import Feed, Run
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.chart import Chart, Figure, Palette, draw
from workbench.tui.widgets.log_view import tail
from workbench.tui.widgets.run_figures import figures_of
from workbench.tui.widgets.run_list import RunList
from workbench.tui.widgets.run_view import RunView

_BEAT, _SLOW_BEAT = 0.5, 2.5
"""Seconds between two looks at the run that is shown."""
_LIST_BEAT = 1.0
"""Seconds between two looks at all runs."""
_LOG_LINES = 400
_EMPTY = """No runs yet.

A run trains an adapter on your preference pairs, in the background:
it goes on when you close this screen, and shows here when you come back."""

Canvases = list[tuple[Chart, Figure, Content]]


class RunsScreen(WorkbenchScreen):
    """Runs, live or past."""

    MODE = "runs"
    AUTO_FOCUS = "RunList"
    DEFAULT_CSS = """
    RunsScreen #divider { width: 100%; height: 1; color: $border; text-wrap: nowrap; text-overflow: clip; }
    RunsScreen #empty { height: 1fr; align: center middle; display: none; }
    RunsScreen #empty Static { width: auto; color: $secondary; text-align: center; }
    RunsScreen.-empty #empty { display: block; }
    RunsScreen.-empty RunList, RunsScreen.-empty #divider, RunsScreen.-empty RunView { display: none; }
    RunsScreen.-open RunList, RunsScreen.-open #divider { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new_run", "New run"),
        Binding("p", "stop", "Stop"),
        Binding("l", "log", "Log"),
        Binding("z", "zoom", "Zoom chart"),
        Binding("c", "compare", "Compare"),
        Binding("left_square_bracket", "pick(-1)", "Previous chart", key_display="[", show=False),
        Binding("right_square_bracket", "pick(1)", "Next chart", key_display="]", show=False),
        Binding("j,down", "next(1)", "Next run", show=False),
        Binding("k,up", "next(-1)", "Previous run", show=False),
        Binding("D", "delete", "Delete", show=False),
        Binding("escape", "back", "Back to the list", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._awake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._list_due = 0.0
        self._runs: list[Run] = []
        self._drawn: tuple[RunState, Palette, tuple[tuple[int, int], ...]] | None = None

    def compose_body(self) -> ComposeResult:
        """List, divider, the run that is shown; or what to do when there is none."""
        yield RunList()
        yield Static("─" * 500, markup=False, id="divider")
        yield RunView()
        with Vertical(id="empty"):
            yield Static(Content.assemble(_EMPTY, "\n\n", ("n", "bold $accent"), " starts one."), markup=False)

    def on_mount(self) -> None:
        """Begins to look at the files."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._look_now())
        self._watch()

    def on_screen_suspend(self) -> None:
        """Looks at nothing while another screen is shown."""
        self._awake.clear()

    def on_screen_resume(self) -> None:
        """Looks again."""
        self._awake.set()
        self._look_now(at_list=True)

    @work(group="watch", exclusive=True, exit_on_error=False)
    async def _watch(self) -> None:
        """Reads in a thread and shows, again and again, for as long as the screen lives."""
        feed = Feed(self.workbench.workspace.runs)
        beat = _SLOW_BEAT if self.workbench.slow else _BEAT
        while True:
            await self._awake.wait()
            self._hurry.clear()
            await self._look(feed)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), beat)
                await asyncio.sleep(0.03)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tells of an error in the background."""
        error = event.worker.error
        if event.state is WorkerState.ERROR and error is not None:
            told = (
                error if isinstance(error, WorkbenchError) else WorkbenchError("The runs cannot be read", repr(error))
            )
            self.workbench.show_error(told)

    def _look_now(self, *, at_list: bool = False) -> None:
        if at_list:
            self._list_due = 0.0
        self._hurry.set()

    async def _look(self, feed: Feed) -> None:
        if time.monotonic() >= self._list_due:
            self._list_due = time.monotonic() + _LIST_BEAT
            self._show_list(await asyncio.to_thread(feed.all))
        current = self.run_list.current
        if current is None:
            return
        run, log = await asyncio.to_thread(self._read, feed, current, with_log=self.view.log_shown)
        if run.id == self.run_list.current:
            self.view.show(run, log)
            await self._draw(run.state)
            self.top_bar.status = run.state.started.device if run.state.started else ""

    @staticmethod
    def _read(feed: Feed, run_id: str, *, with_log: bool) -> tuple[Run, list[str]]:
        run = feed.one(run_id)
        return run, tail(run.folder.log, _LOG_LINES) if with_log or run.status in ("failed", "lost") else []

    async def _draw(self, state: RunState) -> None:
        """Draws the charts anew where the run, the colours or the sizes are not what they were."""
        charts = [chart for chart in self.view.charts if chart.canvas_size[0] > 8 and chart.canvas_size[1] > 2]
        sizes = tuple(chart.canvas_size if chart in charts else (0, 0) for chart in self.view.charts)
        palette = self._palette()
        if self._drawn is not None and self._drawn[0] is state and self._drawn[1:] == (palette, sizes):
            return
        canvases = await asyncio.to_thread(_draw_all, charts, state, palette)
        for chart, figure, canvas in canvases:
            chart.show(figure, canvas)
        self._drawn = state, palette, sizes

    def _palette(self) -> Palette:
        colors = self.app.theme_variables
        palette = {name: Color.parse(colors[name]).rgb for name in ("accent", "warning", "success", "error", "border")}
        axis = Color.parse(colors["background"]).blend(Color.parse(colors["secondary"]), 0.7)
        return {**palette, "axis": axis.rgb}

    def _show_list(self, runs: list[Run]) -> None:
        went = {run.id for run in self._runs if run.going}
        for run in runs:
            if run.id in went and run.status == "finished":
                self.workbench.tell(f"{run.id} has finished. c shows it beside the base.")
        self._runs = runs
        self.set_class(not runs, "-empty")
        self.run_list.show(runs)
        wanted, self.workbench.run_to_open = self.workbench.run_to_open, None
        if wanted is not None:
            self.run_list.go_to(wanted)
        count = Counter(run.status if run.going else "done" for run in runs)
        told = [f"{count[word]} {word}" for word in ("running", "queued", "done") if count[word]]
        self.top_bar.context = " · ".join(told)
        self.refresh_bindings()

    @property
    def run_list(self) -> RunList:
        """The list."""
        return self.query_one(RunList)

    @property
    def view(self) -> RunView:
        """The run that is shown."""
        return self.query_one(RunView)

    @property
    def current(self) -> Run | None:
        """The highlighted run as the list knows it."""
        return next((run for run in self._runs if run.id == self.run_list.current), None)

    @on(OptionList.OptionHighlighted)
    @on(Chart.Resized)
    def _show_anew(self) -> None:
        self._look_now()
        self.refresh_bindings()

    @on(OptionList.OptionSelected)
    def _open(self) -> None:
        self.add_class("-open")
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Dims the keys that would do nothing now."""
        del parameters
        run = self.current
        if action == "stop":
            return True if run is not None and run.status == "running" and not run.stopping else None
        if action == "delete":
            return True if run is not None and not run.going else None
        return True if run is not None or action not in ("log", "zoom", "compare") else None

    def action_back(self) -> None:
        """From the zoomed chart or the log to the run, from the run to the list."""
        if not self.view.restore():
            self.remove_class("-open")
            self.run_list.focus()

    def action_next(self, steps: int) -> None:
        """Shows the next or the previous run, while the list is hidden too."""
        move = self.run_list.action_cursor_down if steps > 0 else self.run_list.action_cursor_up
        move()

    def action_pick(self, steps: int) -> None:
        """Marks the next or the previous chart."""
        self.view.pick(steps)

    def action_zoom(self) -> None:
        """Shows the marked chart alone, or all three."""
        self.view.zoom()

    def action_log(self) -> None:
        """Shows the worker's log in the place of the charts, or the charts again."""
        self.view.toggle_log()
        self._look_now()

    async def action_compare(self) -> None:
        """Compares the run with its base model."""
        run = self.current
        if run is None:
            return
        if not run.folder.adapter.is_dir():
            self.workbench.tell("This run has saved no adapter yet: there is nothing to compare.")
            return
        await self.workbench.compare(run=run.id)

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_new_run(self) -> None:
        """Asks what to train, and starts it."""
        started = await self.app.push_screen_wait(NewRunDialog(self.workbench.workspace))
        if started is not None:
            self.workbench.run_to_open = started
            self.view.restore()
            self._look_now(at_list=True)

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_stop(self) -> None:
        """Asks the worker to stop and to save what it has."""
        run = self.current
        if run is None:
            return
        question = ConfirmDialog(
            f"Stop {run.id}?",
            "It finishes the step it is at, saves a checkpoint and the adapter, and ends.",
            yes="Stop and save",
            no="Let it run",
        )
        if await self.app.push_screen_wait(question):
            await asyncio.to_thread(process.request_stop, run.folder)
            self.workbench.tell("Stopping after this step …")
            self._look_now(at_list=True)

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_delete(self) -> None:
        """Deletes the run's folder."""
        run = self.current
        if run is None:
            return
        question = ConfirmDialog(
            f"Delete {run.id}?",
            "Its adapter, checkpoints, events and log go with it. This cannot be undone.",
            yes="Delete",
            no="Keep",
        )
        if await self.app.push_screen_wait(question):
            try:
                await asyncio.to_thread(shutil.rmtree, run.folder.path)
            except OSError as error:
                raise WorkbenchError(
                    "The run could not be deleted", str(error), "Delete the folder by hand."
                ) from error
            self.remove_class("-open")
            self.run_list.focus()
            self._look_now(at_list=True)


def _draw_all(charts: list[Chart], state: RunState, palette: Palette) -> Canvases:
    figures = figures_of(state)
    return [
        (chart, figures[chart.name or ""], draw(figures[chart.name or ""], *chart.canvas_size, palette))
        for chart in charts
    ]
