"""The charts of a run: its quantities over the axis of choice, other runs laid over them, as many as can be read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Grid
from textual.content import Content

from workbench.runs.catalog import Run
from workbench.runs.events import Eval, Step
from workbench.runs.quantities import QUANTITIES, quantities
from workbench.runs.series import Axis, Curve, curve, horizon, position, round_up
from workbench.runs.state import RunState
from workbench.tui.widgets.line_chart import Chart, ChartLine, Figure, Palette, draw, palette_of

_SIDES = (("logps/chosen", "✔", "chosen", "success"), ("logps/rejected", "✘", "rejected", "error"))

OWN = ("●", "accent")
"""Sign and colour of the run that is shown, where others are laid over it."""
OVERLAYS = (("◆", "warning"), ("○", "success"), ("□", "foreground"), ("△", "error"), ("☆", "secondary"))
"""Signs and colours of runs that are laid over it, in their order: so many fit on a chart."""

_WIDTH, _HEIGHT = 37, 9
"""Columns and lines that a chart needs to be read."""
_COLUMNS = 4
_SHARE = 0.02
"""The share of a core that drawing may take: where one drawing takes long, the next one waits longer."""


@dataclass(frozen=True, slots=True)
class Look:
    """How curves are drawn: over which axis, how smooth (see `series.smooth`)."""

    axis: Axis = "steps"
    smoothing: float = 0.0


def charts_of(state: RunState) -> tuple[str, ...]:
    """The names of the charts for which the run has values."""
    events: list[Step | Eval] = [*state.steps[:1], *state.steps[-1:], *state.evals[:1], *state.evals[-1:]]
    return quantities({name: value for event in events for name, value in event.metrics.items()})


def _metric(state: RunState, chart: str) -> str:
    """The name under which this run logs the quantity of a chart that has one curve."""
    events: list[Step | Eval] = [*state.steps[-1:], *state.evals[-1:]]
    names = QUANTITIES[chart].metrics
    return next((name for name in names for event in events if name in event.metrics), names[0])


def figures_of(
    state: RunState, look: Look, overlays: Sequence[RunState] = (), only: Sequence[str] = tuple(QUANTITIES)
) -> dict[str, Figure]:
    """The figures of the charts `only`. Takes milliseconds where steps are many: not for the UI thread."""
    end = max([_end(state, look.axis), *(_reached(other, look.axis) for other in overlays)])
    figures = {}
    for chart in only:
        about = QUANTITIES[chart]
        if overlays:
            lines = _compared(chart, [state, *overlays], look.axis)
        elif chart == "logps":
            # Both on one chart, so that displacement is seen.
            lines = tuple(_train_with_marks(state, *side, look.axis) for side in _SIDES)
        else:
            lines = _train_and_eval(state, _metric(state, chart), look.axis)
        figures[chart] = Figure(
            about.title,
            lines,
            end,
            look.axis,
            zero=about.zero,
            smoothing=look.smoothing if about.noisy else 0.0,
            first_on_top=bool(overlays),
            possible=(about.least, about.most),
        )
    return figures


def _train_and_eval(state: RunState, metric: str, axis: Axis) -> tuple[ChartLine, ...]:
    held_out = curve(state.evals, metric, axis)
    return (
        ChartLine(curve(state.steps, metric, axis), "─", "train", "accent"),
        ChartLine(held_out, "●", "eval", "warning", marks=held_out),
    )


def _train_with_marks(state: RunState, metric: str, sign: str, name: str, color: str, axis: Axis) -> ChartLine:
    """The training curve with the held-out values as signs on it; without any, a sign at its end."""
    train, held_out = curve(state.steps, metric, axis), curve(state.evals, metric, axis)
    tip = Curve(train.xs[-1:], train.ys[-1:], train.last, train.broken)
    return ChartLine(train, sign, name, color, marks=held_out or tip)


def _compared(chart: str, states: Sequence[RunState], axis: Axis) -> tuple[ChartLine, ...]:
    """A line a run, or two for the two log-probabilities: training as the curve, held-out values as the run's sign."""
    lines = []
    for state, (sign, color) in zip(states, (OWN, *OVERLAYS), strict=False):
        for metric, tip, _, _ in _SIDES if chart == "logps" else ((_metric(state, chart), "", "", ""),):
            line = _train_with_marks(state, metric, sign, tip, color, axis)
            if not line.curve:
                line = ChartLine(line.marks, sign, tip, color, marks=line.marks)
            lines.append(ChartLine(line.curve, sign, tip, color, marks=line.marks, tip=tip))
    return tuple(lines)


def _reached(state: RunState, axis: Axis) -> float:
    events: list[Step | Eval] = [*state.steps[-1:], *state.evals[-1:]]
    return max((position(event, axis) for event in events), default=0.0)


def _end(state: RunState, axis: Axis) -> float:
    """Where the axis ends: where the run did, or a little ahead of it while it goes on."""
    going = state.status in ("queued", "running", "paused")
    end = horizon(state.step, state.total_steps if going else state.step)
    if axis == "steps":
        return end
    reached = _reached(state, axis)
    return round_up(reached / max(state.step, 1) * end) if going else reached or 1.0


def _draw(
    states: Sequence[RunState], look: Look, sizes: Sequence[tuple[str | None, tuple[int, int]]], palette: Palette
) -> tuple[dict[str, Figure], dict[str, list[Content]], float]:
    """The figures of charts with names and sizes, what they look like, and the seconds of computing that it took."""
    began = time.thread_time()
    figures = figures_of(states[0], look, states[1:], [name or "" for name, _ in sizes])
    canvases = {name or "": draw(figures[name or ""], *size, palette) for name, size in sizes}
    return figures, canvases, time.thread_time() - began


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The states of the run and of those over it that are drawn, and how."""

    states: tuple[RunState, ...]
    how: object


class RunCharts(Grid):
    """Lays out the charts that the run has. Where not all fit, the page with the marked one is shown."""

    DEFAULT_CSS = """
    RunCharts { height: 1fr; min-height: 7; padding: 0 0 0 1; grid-gutter: 0; }
    RunCharts.-roomy { grid-gutter: 1 0; }
    """

    def __init__(self, pace: float) -> None:
        """`pace`: seconds between two drawings of a run that goes on."""
        super().__init__(id="charts")
        self._pace = pace
        self._names: tuple[str, ...] = ()
        self._picked = 0
        self._drawn: _Drawn | None = None
        self._due = 0.0
        self.zoomed = False
        """Whether the marked chart is shown alone."""

    def compose(self) -> ComposeResult:
        """All charts there are."""
        for name, about in QUANTITIES.items():
            yield Chart(name, about.title)

    def on_mount(self) -> None:
        """Shows none before there is a run."""
        self._arrange()

    def offer(self, names: Sequence[str]) -> None:
        """These are the charts to show."""
        if tuple(names) != self._names:
            marked = self._names[self._picked] if self._names else ""
            self._names = tuple(names)
            self._picked = self._names.index(marked) if marked in self._names else 0
            self._arrange()

    @property
    def shown(self) -> list[Chart]:
        """The charts that are in sight, in their order."""
        return [chart for chart in self.query(Chart) if chart.display]

    async def draw(self, run: Run, overlays: Mapping[str, RunState], look: Look) -> None:
        """Draws what is in sight, in a thread, where run, colours, sizes or look are not what they were.

        `overlays` are the states of the runs laid over it, by their ids. A run that goes on is drawn at the pace.
        """
        charts = [chart for chart in self.shown if chart.canvas_size[0] > 8 and chart.canvas_size[1] > 2]
        palette = palette_of(self.app.theme_variables)
        sizes = tuple((chart.name, chart.canvas_size) for chart in charts)
        states, how = (run.state, *overlays.values()), (run.id, tuple(overlays), palette, look, sizes)
        if self._drawn is not None and self._drawn.how == how:
            same = all(new is old for new, old in zip(states, self._drawn.states, strict=True))
            if same or time.monotonic() < self._due:
                return
        began = time.thread_time()
        figures, canvases, cost = await asyncio.to_thread(_draw, states, look, sizes, palette)
        for chart in charts:
            canvas = canvases[chart.name or ""]
            if chart.canvas_size[1] == len(canvas):
                chart.draw(figures[chart.name or ""], canvas)
        cost += time.thread_time() - began
        self._due = time.monotonic() + (max(self._pace, cost / _SHARE) if run.state.status == "running" else 0.0)
        self._drawn = _Drawn(states, how)

    @property
    def page(self) -> str:
        """ "3–4 of 7": which charts are in sight, empty where all are."""
        first, last = self._window()
        if self.zoomed or last - first >= len(self._names):
            return f"{self._picked + 1} of {len(self._names)}" if self.zoomed and self._names else ""
        return f"{first + 1}–{last} of {len(self._names)}"

    def pick(self, steps: int) -> None:
        """Moves the mark by so many charts, around the end."""
        if self._names:
            self._picked = (self._picked + steps) % len(self._names)
            self._arrange()

    def zoom(self, *, zoomed: bool) -> None:
        """Shows the marked chart alone, or all again."""
        self.zoomed = zoomed
        self._arrange()

    def _window(self) -> tuple[int, int]:
        """The first chart of the page with the marked one, and the one after its last. Pages are always full."""
        count = len(self._names)
        if self.zoomed:
            return self._picked, min(self._picked + 1, count)
        columns, rows = self._room()
        fit = min(columns * rows, count)
        first = min(self._picked // fit * fit, count - fit) if fit else 0
        return first, first + fit

    def _room(self) -> tuple[int, int]:
        columns = min(max(self.size.width // _WIDTH, 1), _COLUMNS)
        return columns, max(self.size.height // _HEIGHT, 1)

    def _arrange(self) -> None:
        first, last = self._window()
        shown = self._names[first:last]
        most, _ = self._room()
        rows = -(-len(shown) // most) or 1
        columns = -(-len(shown) // rows) or 1
        # What the last row lacks is given to the chart that has most to tell, then to the last one.
        spare = columns * rows - len(shown)
        wide = [name for name in ("logps", shown[-1] if shown else "") if name in shown][:spare]
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        for chart in self.query(Chart):
            name = chart.name or ""
            chart.display = name in shown
            chart.styles.column_span = 2 if name in wide and columns > 1 else 1
            chart.pick(picked=bool(shown) and name == self._names[self._picked])

    def on_chart_picked(self, event: Chart.Picked) -> None:
        """Marks the chart; a click on the marked one zooms it, or shows all again."""
        index = self._names.index(event.chart.name or "")
        if index == self._picked:
            self.zoom(zoomed=not self.zoomed)
        else:
            self._picked = index
            self._arrange()

    def on_resize(self) -> None:
        """Shows as many as fit now."""
        self.set_class(self.size.height >= 2 * _HEIGHT + 1, "-roomy")
        self._arrange()
