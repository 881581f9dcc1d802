"""One run, live: where it is, what is wrong, its curves or its log or its answers, what to know about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.tui.feed import Run
from workbench.tui.widgets import run_lines, run_notes, run_samples
from workbench.tui.widgets.chart import Chart
from workbench.tui.widgets.log_view import LogView
from workbench.tui.widgets.quiet_lines import QuietLines
from workbench.tui.widgets.run_charts import RunCharts
from workbench.tui.widgets.run_figures import OVERLAYS, OWN, Look, charts_of
from workbench.tui.widgets.run_samples import SamplesView

Part = Literal["charts", "log", "samples"]
"""What is in the middle."""

_ROOMY = 18
"""Lines from which on more than the essentials are told in words."""
_TALL = 26
"""Lines from which on there is room for the newest answers below the charts."""


class RunView(Vertical):
    """Shows a run handed in with `show`, but for the curves: the screen has them drawn off the UI thread."""

    DEFAULT_CSS = """
    RunView { height: 1fr; }
    RunView > QuietLines { padding: 0 1; }
    RunView > .-gone { display: none; }
    RunView #no-charts { height: 1fr; content-align: center middle; color: $secondary; }
    RunView #ending { height: auto; max-height: 60%; padding: 0 1; scrollbar-size-vertical: 1; }
    RunView #ending Static { height: auto; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.run_shown: Run | None = None
        self.part: Part = "charts"
        self._log: list[str] = []
        self._machine = ""
        self._look = Look()
        self._overlays: Sequence[str] = ()

    def compose(self) -> ComposeResult:
        """Heading, progress, numbers and alerts; charts, log or answers; the end; what else there is to know."""
        for name in ("heading", "progress", "alerts", "numbers"):
            yield QuietLines(id=name)
        yield RunCharts()
        yield Static("", markup=False, id="no-charts")
        yield LogView()
        yield SamplesView()
        yield QuietLines(id="caption")
        with VerticalScroll(id="ending", can_focus=False):
            yield Static("", markup=False)
        for name in ("answers", "facts"):
            yield QuietLines(id=name)

    def on_mount(self) -> None:
        """Shows nothing before there is a run."""
        self.query_one("#ending").display = False
        self._texts()

    def show(self, run: Run, log: list[str], machine: str, look: Look, overlays: Sequence[str]) -> None:
        """Shows all of the run but its curves.

        `log`: the last lines of worker.log, safe; `machine`: memory and load of the device; `overlays`: names of the
        runs laid over it.
        """
        other = self.run_shown is None or self.run_shown.id != run.id
        self.run_shown, self._log, self._machine, self._look = run, log, machine, look
        self._overlays = overlays
        if other:
            self.query_one(SamplesView).restart()
        self.charts.offer(charts_of(run.state))
        self._texts()

    def _texts(self) -> None:
        run, width = self.run_shown, self.size.width - 2
        middle = self.part
        drawn = run is not None and bool(charts_of(run.state))
        self.charts.display = drawn and middle == "charts"
        self.query_one(LogView).display = middle == "log"
        self.query_one(SamplesView).display = middle == "samples"
        empty = self.query_one("#no-charts", Static)
        if run is None:
            empty.display = False
            return
        roomy = self.size.height >= _ROOMY
        self._lines("heading", [run_lines.heading(run, width)])
        self._lines("progress", [run_lines.progress(run, width, time.time())])
        self._lines("alerts", run_notes.alerts(run, width, 3 if roomy else 1))
        most = 4 if self.size.height >= _TALL else 1 if roomy and middle == "charts" else 0
        self._lines("facts", run_notes.facts(run, width, most) if most else [])
        fits = self.size.height >= _TALL and middle != "samples"
        self._lines("answers", [run_samples.latest(run.state.samples, width)] if fits else [])
        ending = run_notes.ending(run, self._log[-(4 if drawn else 16) :])
        box = self.query_one("#ending")
        box.display = ending is not None and middle == "charts"
        if ending is not None:
            box.query_one(Static).update(ending)
        empty.display = not drawn and ending is None and middle == "charts"
        empty.update("Curves come with the first step." if run.going else "There are no curves: no step was made.")
        if middle == "log":
            self.query_one(LogView).show(self._log)
        elif middle == "samples":
            self.query_one(SamplesView).show(run.state.samples)
        self.caption()

    def caption(self) -> None:
        """Says which charts are in sight, how they are drawn, and which runs are laid over this one."""
        run, width = self.run_shown, max(self.size.width - 2, 0)
        if run is None:
            return
        drawn = self.charts.display
        parts = []
        if drawn and self._look.smoothing:
            parts.append(Content.styled(f"smoothed {self._look.smoothing:g}", "$secondary"))
        if drawn and self.charts.page:
            page = Content.assemble(("[ ]", "bold $accent"), (f" chart {self.charts.page}", "$secondary"))
            parts.append(page)
        right = Content("   ").join(parts)
        left = run_lines.numbers(run.state, width - right.cell_length - 3, self._machine)
        gap = " " * max(width - left.cell_length - right.cell_length, 0)
        self._lines("numbers", [left + gap + right if right.plain else left])
        names = [run_lines.name_of(run), *self._overlays] if drawn and self._overlays else []
        laid = [
            Content.assemble((f"{sign} ", f"${color}"), (name, f"${color}"))
            for (sign, color), name in zip((OWN, *OVERLAYS), names, strict=False)
        ]
        self._lines("caption", [Content("   ").join(laid).truncate(width, ellipsis=True)])

    def _lines(self, name: str, lines: list[Content]) -> None:
        widget = self.query_one(f"#{name}", QuietLines)
        lines = [line for line in lines if line.plain]
        widget.set_class(not lines, "-gone")
        widget.show(lines)

    @property
    def charts(self) -> RunCharts:
        """The charts."""
        return self.query_one(RunCharts)

    def turn_to(self, part: Part) -> None:
        """Shows this in the middle; the charts where it is there already."""
        self.part = "charts" if self.part == part else part
        if self.part == "samples":
            self.query_one(SamplesView).restart()
        self._texts()

    def step(self, steps: int) -> None:
        """Marks another chart, or shows later or earlier answers."""
        if self.part == "samples":
            self.query_one(SamplesView).go(steps)
        elif self.part == "charts":
            self.charts.pick(steps)
            self.caption()

    def zoom(self) -> None:
        """Shows the marked chart alone, or all again."""
        if self.part != "charts":
            self.turn_to("charts")
        self.charts.zoom(zoomed=not self.charts.zoomed)
        self.caption()

    def restore(self) -> bool:
        """Back to all charts. Whether anything else was shown."""
        changed = self.part != "charts" or self.charts.zoomed
        self.part = "charts"
        self.charts.zoom(zoomed=False)
        self._texts()
        return changed

    def on_chart_picked(self, event: Chart.Picked) -> None:
        """Says which charts are in sight now."""
        del event
        self.caption()

    def on_resize(self) -> None:
        """Fits the texts to the new size."""
        self._texts()
