"""The half of the Runs screen that looks: it reads the run folders again and again, and shows what it finds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from workbench.runs import machine, process
from workbench.runs.state import RunState
from workbench.runs.watching import Feed, Run, tail
from workbench.tui import figures
from workbench.tui.background import background_loop
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.line_chart import Chart, Figure, Palette, draw, palette_of
from workbench.tui.widgets.run_charts import Look, figures_of
from workbench.tui.widgets.run_table import RunSearch, RunTable, arrange, matches
from workbench.tui.widgets.run_view import RunView
from workbench.tui.widgets.run_words import name_of

_BEAT, _SLOW_BEAT = 1.0, 5.0
"""Seconds between two looks at the run that is shown."""
_LIST_BEAT, _SLOW_LIST_BEAT = 2.0, 10.0
"""Seconds between two looks at all runs."""
_CHART_BEAT, _SLOW_CHART_BEAT = 2.0, 15.0
"""Seconds between two drawings of the curves of a run that goes on."""
_SHARE = 0.02
"""The share of a core that drawing curves may take: where one drawing takes long, the next one waits longer."""
_MACHINE_BEAT = 5.0
_LOG_LINES = 400
_EMPTY = """No runs yet.

A run trains an adapter on your preference pairs, in the background:
it goes on when you close this screen, and shows here when you come back."""

_Drawn = tuple[RunState, tuple[RunState, ...], object]
"""What was drawn: the run, those laid over it, and how (colours, sizes, look)."""


class RunsWatch(WorkbenchScreen):
    """The table of runs above, the highlighted one below, live."""

    MODE = "runs"
    AUTO_FOCUS = "RunTable"
    DEFAULT_CSS = """
    RunsWatch #divider { width: 100%; height: 1; color: $border; text-wrap: nowrap; text-overflow: clip; }
    RunsWatch #empty, RunsWatch #hidden { height: 1fr; align: center middle; display: none; }
    RunsWatch #empty Static, RunsWatch #hidden Static { width: auto; color: $secondary; text-align: center; }
    RunsWatch.-empty #empty, RunsWatch.-hidden #hidden { display: block; }
    RunsWatch.-hidden RunView { display: none; }
    RunsWatch.-empty RunTable, RunsWatch.-empty #divider, RunsWatch.-empty RunView { display: none; }
    RunsWatch.-open RunTable, RunsWatch.-open #divider { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.look = Look()
        self.overlaid: list[str] = []
        """The ids of the runs that are laid over the charts."""
        self.sort, self.upwards = "date", False
        self.with_archived = False
        self.query_text = ""
        self.runs: list[Run] = []
        """All runs in short, newest first."""
        self.discarded: set[str] = set()
        """Runs that this screen moved away itself."""
        self._awake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._list_due = self._charts_due = self._machine_due = 0.0
        self._drawn: _Drawn | None = None
        self._machine = ""
        self._told: object = None

    def compose_body(self) -> ComposeResult:
        """Table, divider, the run that is shown; or what to do when there is none."""
        yield RunSearch()
        yield RunTable()
        yield Static("─" * 500, markup=False, id="divider")
        yield RunView()
        with Vertical(id="empty"):
            yield Static(Content.assemble(_EMPTY, "\n\n", ("n", "bold $accent"), " starts one."), markup=False)
        with Vertical(id="hidden"):
            keys = (("a", "bold $accent"), " shows archived runs, ", ("esc", "bold $accent"), " takes the filter away.")
            yield Static(Content.assemble("No run is left to show: ", *keys), markup=False)

    def on_mount(self) -> None:
        """Begins to look at the files."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self.look_now())
        self._watch(Feed(self.workbench.workspace.runs))

    def on_screen_suspend(self) -> None:
        """Looks at nothing while another screen is shown."""
        self._awake.clear()

    def on_screen_resume(self) -> None:
        """Looks again."""
        self._awake.set()
        self.look_now(at_list=True)

    @background_loop("watch", doing="following the runs")
    async def _watch(self, feed: Feed) -> None:
        """Reads in a thread and shows."""
        await self._awake.wait()
        self._hurry.clear()
        await self._look(feed)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), _SLOW_BEAT if self.workbench.slow else _BEAT)
            await asyncio.sleep(0.03)

    def look_now(self, *, at_list: bool = False) -> None:
        """Looks at the run that is shown at once, and with `at_list` at all runs."""
        if at_list:
            self._list_due = 0.0
        self._charts_due = 0.0
        self._hurry.set()

    async def _look(self, feed: Feed) -> None:
        if time.monotonic() >= self._list_due:
            self._list_due = time.monotonic() + (_SLOW_LIST_BEAT if self.workbench.slow else _LIST_BEAT)
            self._show_list(await asyncio.to_thread(feed.all))
        current = self.table.current
        if current is None:
            return
        laid = [run for run in self.overlaid if run != current]
        run, log, others = await asyncio.to_thread(self._read, feed, current, laid)
        if run.id != self.table.current:
            return
        names = {each.id: name_of(each) for each in self.runs}
        self.view.show(run, log, self._machine, self.look, [names.get(each, each) for each in laid])
        await self._draw(run.state, tuple(others))
        self.top_bar.status = run.state.started.device if run.state.started else ""
        self._bindings_may_differ()

    def _read(self, feed: Feed, current: str, laid: list[str]) -> tuple[Run, list[str], list[RunState]]:
        """In a thread: the run, the end of its log where that is shown, the runs laid over it."""
        feed.keep([current, *laid])
        run = feed.one(current)
        if time.monotonic() >= self._machine_due:
            self._machine_due = time.monotonic() + _MACHINE_BEAT
            self._machine = _device_of(run)
        wanted = self.view.part == "log" or run.status in ("failed", "lost", "stopped")
        return run, tail(run.folder.log, _LOG_LINES) if wanted else [], feed.states(laid)

    async def _draw(self, state: RunState, others: tuple[RunState, ...]) -> None:
        """Draws the charts anew where the run, the colours, the sizes or the look are not what they were."""
        charts = [chart for chart in self.view.charts.shown if chart.canvas_size[0] > 8 and chart.canvas_size[1] > 2]
        palette = palette_of(self.app.theme_variables)
        how = (palette, self.look, tuple((chart.name, chart.canvas_size) for chart in charts))
        if self._drawn is not None and self._drawn[2] == how:
            same = all(
                new is old for new, old in zip((state, *others), (self._drawn[0], *self._drawn[1]), strict=False)
            )
            if len(others) == len(self._drawn[1]) and (same or time.monotonic() < self._charts_due):
                return
        began = time.thread_time()
        canvases, cost = await asyncio.to_thread(_draw_all, charts, state, others, self.look, palette)
        for chart, figure, canvas in canvases:
            if chart.canvas_size[1] == len(canvas):
                chart.draw(figure, canvas)
        cost += time.thread_time() - began
        beat = _SLOW_CHART_BEAT if self.workbench.slow else _CHART_BEAT
        self._charts_due = time.monotonic() + (max(beat, cost / _SHARE) if state.status == "running" else 0.0)
        self._drawn = state, others, how

    def _show_list(self, runs: list[Run]) -> None:
        self._tell_what_happened(runs)
        self.runs = runs
        self.set_class(not runs, "-empty")
        self.arrange_table()
        wanted, self.workbench.run_to_open = self.workbench.run_to_open, None
        if wanted is not None:
            self.table.go_to(wanted)
        count = Counter(run.status if run.going else "done" for run in runs)
        told = [f"{count[word]} {word}" for word in ("running", "paused", "queued", "done") if count[word]]
        self.top_bar.context = " · ".join(told)

    def arrange_table(self) -> None:
        """Shows the runs that the filter leaves, in the chosen order."""
        shown = [run for run in self.runs if (self.with_archived or not run.labels.archived) and _found(run, self)]
        if self.sort != "date" or self.upwards:
            shown = arrange(shown, self.sort, upwards=self.upwards)
        self.table.fill(shown, self.sort, upwards=self.upwards)
        self.set_class(bool(self.runs) and not shown, "-hidden")
        hidden = sum(run.labels.archived for run in self.runs) if not self.with_archived else 0
        self.query_one(RunSearch).tell(
            f"{len(shown)} of {len(self.runs)}" + (f" · {hidden} archived" if hidden else "") if self.query_text else ""
        )

    def _tell_what_happened(self, runs: list[Run]) -> None:
        """Tells of runs that ended since the last look, and of folders that are gone."""
        now = {run.id: run for run in runs}
        for was in self.runs:
            run = now.get(was.id)
            if run is None:
                if was.id not in self.discarded:
                    self.workbench.tell(f"{name_of(was)} is gone: its folder was deleted or moved.")
            elif was.going and run.status == "finished":
                self.workbench.tell(f"{name_of(run)} has finished. c shows it beside the base.")
            elif was.going and run.status in ("failed", "lost"):
                self.workbench.tell(f"{name_of(run)}: {run.status}. It can be resumed with r.")
        self.discarded &= set(now)

    def _bindings_may_differ(self) -> None:
        """The footer is written anew only where a key changed: it costs a line."""
        run = self.current
        told = (run.status, run.stopping, bool(run.state.warnings), bool(self.overlaid)) if run is not None else None
        if told != self._told:
            self._told = told
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
        shown = self.view.run_shown
        if shown is not None and shown.id == self.table.current and shown.id in {run.id for run in self.runs}:
            return shown
        return next((run for run in self.runs if run.id == self.table.current), None)

    @on(RunTable.Highlighted)
    @on(Chart.Resized)
    @on(Chart.Picked)
    def _show_anew(self) -> None:
        self.look_now()

    @on(RunSearch.Changed)
    def _filter(self, event: RunSearch.Changed) -> None:
        self.query_text = event.query
        self.arrange_table()

    @on(RunSearch.Left)
    def _leave_search(self) -> None:
        self.table.focus()


def _found(run: Run, screen: RunsWatch) -> bool:
    return matches(run, screen.query_text)


def _device_of(run: Run) -> str:
    """Memory and load of the GPU that the run's worker is on; empty where it is on none, or not there."""
    if run.status not in ("running", "paused") or run.state.started is None or run.state.started.device == "CPU":
        return ""
    pid, gpus = process.worker_pid(run.folder), machine.gpus()
    ours = [gpu for gpu in gpus if any(holder.pid == pid for holder in gpu.holders)]
    # In a container the driver knows our processes by other PIDs.
    ours = ours or [gpu for gpu in gpus if gpu.name == run.state.started.device]
    if not ours:
        return ""
    used = f"{figures.memory(ours[0].total - ours[0].free)} of {figures.memory(ours[0].total)}"
    busy = ours[0].utilization
    return f"GPU {used}" + (f" · {figures.share(busy)}" if busy is not None else "")


def _draw_all(
    charts: Iterable[Chart], state: RunState, others: tuple[RunState, ...], look: Look, palette: Palette
) -> tuple[list[tuple[Chart, Figure, list[Content]]], float]:
    """The charts with what they are to show, and the seconds of computing that it took."""
    began = time.thread_time()
    figures_ = figures_of(state, look, others, [chart.name or "" for chart in charts])
    drawn = [
        (chart, figure, draw(figure, *chart.canvas_size, palette))
        for chart in charts
        if (figure := figures_.get(chart.name or "")) is not None
    ]
    return drawn, time.thread_time() - began
