"""The charts of a run, as many at once as can be read; one of them is marked, and can fill the place of all."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Grid

from workbench.tui.widgets.chart import Chart
from workbench.tui.widgets.run_figures import TITLES

_WIDTH, _HEIGHT = 37, 9
"""Columns and lines that a chart needs to be read."""
_COLUMNS = 4


class RunCharts(Grid):
    """Lays out the charts that the run has. Where not all fit, the page with the marked one is shown."""

    DEFAULT_CSS = """
    RunCharts { height: 1fr; min-height: 7; padding: 0 0 0 1; grid-gutter: 0; }
    RunCharts.-roomy { grid-gutter: 1 0; }
    """

    def __init__(self) -> None:
        super().__init__(id="charts")
        self._names: tuple[str, ...] = ()
        self._picked = 0
        self.zoomed = False
        """Whether the marked chart is shown alone."""

    def compose(self) -> ComposeResult:
        """All charts there are."""
        for name, title in TITLES.items():
            yield Chart(name, title)

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
