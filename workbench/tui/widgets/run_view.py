"""One run, live: where it is, three charts, what to know about it."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.tui.feed import Run
from workbench.tui.widgets import run_lines, run_notes
from workbench.tui.widgets.chart import Chart
from workbench.tui.widgets.log_view import LogView
from workbench.tui.widgets.run_figures import TITLES


class RunView(Vertical):
    """Shows a run handed in with `show`, but for the curves: the screen has them drawn off the UI thread."""

    DEFAULT_CSS = """
    RunView { height: 1fr; }
    RunView > Static { height: auto; padding: 0 1; }
    RunView > #heading, RunView > #progress { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    RunView #charts { height: 1fr; min-height: 7; padding: 0 0 0 1; margin: 0; }
    RunView.-roomy #charts { margin: 1 0; }
    RunView #ending { height: auto; max-height: 60%; padding: 0 1; scrollbar-size-vertical: 1; }
    RunView #ending Static { height: auto; }
    RunView.-zoomed Chart { display: none; }
    RunView.-zoomed Chart.-picked { display: block; }
    RunView LogView { display: none; }
    RunView.-log LogView { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.run_shown: Run | None = None
        self._log: list[str] = []
        self._picked = 0

    def compose(self) -> ComposeResult:
        """Heading, progress, numbers; charts or the log; the end; warnings and facts."""
        for name in ("heading", "progress", "numbers"):
            yield Static("", markup=False, id=name)
        with Horizontal(id="charts"):
            for name, title in TITLES.items():
                yield Chart(name, title)
        yield LogView()
        with VerticalScroll(id="ending", can_focus=False):
            yield Static("", markup=False)
        for name in ("warnings", "facts"):
            yield Static("", markup=False, id=name)

    def on_mount(self) -> None:
        """Marks the first chart."""
        self._pick(0)
        self.query_one("#ending").display = False

    def show(self, run: Run, log: list[str]) -> None:
        """Shows all of the run but its curves. `log`: the last lines of worker.log, safe."""
        self.run_shown, self._log = run, log
        self._texts()

    def _texts(self) -> None:
        run, width = self.run_shown, self.size.width - 2
        if run is None:
            return
        self._line("heading", run_lines.heading(run, width))
        self._line("progress", run_lines.progress(run, width, time.time()))
        self._line("numbers", run_lines.numbers(run.state, width))
        most = 2 if self.size.height < 18 else 4
        self._line("facts", Content("\n").join(run_notes.facts(run, width, most)))
        self._line("warnings", Content("\n").join(run_notes.warnings(run.state.warnings, width, most)))
        drawn = bool(run.state.steps or run.state.evals)
        ending = run_notes.ending(run, self._log[-(6 if drawn else 16) :])
        box = self.query_one("#ending")
        box.display = ending is not None and not self.log_shown
        if ending is not None:
            box.query_one(Static).update(ending)
        self.query_one("#charts").display = (drawn or ending is None) and not self.log_shown
        if self.log_shown:
            self.query_one(LogView).show(self._log)

    def _line(self, name: str, text: Content) -> None:
        line = self.query_one(f"#{name}", Static)
        line.display = bool(text.plain)
        if line.content != text:
            line.update(text)

    @property
    def charts(self) -> list[Chart]:
        """The charts in their order."""
        return list(self.query(Chart))

    def pick(self, steps: int) -> None:
        """Moves the mark by so many charts, around the end."""
        self._pick((self._picked + steps) % len(TITLES))

    def _pick(self, index: int) -> None:
        self._picked = index
        for at, chart in enumerate(self.charts):
            chart.pick(picked=at == index)

    def zoom(self) -> None:
        """Shows the marked chart alone, or all again."""
        self._show_log(shown=False)
        self.toggle_class("-zoomed")

    @property
    def log_shown(self) -> bool:
        """Whether the log is in the place of the charts."""
        return self.has_class("-log")

    def toggle_log(self) -> None:
        """Shows the log in the place of the charts, or the charts again."""
        self._show_log(shown=not self.log_shown)

    def restore(self) -> bool:
        """Back to three charts. Whether anything else was shown."""
        changed = self.log_shown or self.has_class("-zoomed")
        self._show_log(shown=False)
        self.remove_class("-zoomed")
        return changed

    def _show_log(self, *, shown: bool) -> None:
        self.set_class(shown, "-log")
        self._texts()

    def on_chart_picked(self, event: Chart.Picked) -> None:
        """Marks the chart; a click on the marked one zooms it."""
        index = self.charts.index(event.chart)
        if index == self._picked:
            self.zoom()
        else:
            self._pick(index)

    def on_resize(self) -> None:
        """Fits the texts to the new size."""
        self.set_class(self.size.height >= 24, "-roomy")
        self._texts()
