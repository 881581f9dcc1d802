"""A line chart: a title, a legend with the last values, and curves that are drawn elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.message import Message

from workbench.tui.widgets.chart_drawing import Figure, legend
from workbench.tui.widgets.quiet_lines import QuietLines


class Chart(QuietLines):
    """Shows a figure. Whoever owns the chart has it drawn off the UI thread, and hands the result in with `draw`."""

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; padding: 0 1 0 0; }
    Chart:hover { background: $surface; }
    """

    @dataclass
    class Picked(Message):
        """The chart was clicked on."""

        chart: Chart

        @property
        def control(self) -> Chart:
            """The chart."""
            return self.chart

    @dataclass
    class Resized(Message):
        """What the chart shows no longer fits it."""

        chart: Chart

    def __init__(self, name: str, title: str) -> None:
        super().__init__(name=name)
        self.figure = Figure(title)
        self.canvas: Sequence[Content] = ()
        """The lines with the curves."""
        self.picked = False
        """Whether this is the one of the charts that keys go to; its title is in the accent colour."""

    @property
    def canvas_size(self) -> tuple[int, int]:
        """Width and height of the part with the curves, below title and legend, in cells."""
        return self.content_size.width, self.content_size.height - self._header_height

    @property
    def _header_height(self) -> int:
        return 1 if self.content_size.width >= 60 else 2

    def draw(self, figure: Figure, canvas: Sequence[Content]) -> None:
        """Shows `figure`, whose curves are drawn on `canvas`."""
        self.figure, self.canvas = figure, canvas
        self._compose_lines()

    def pick(self, *, picked: bool) -> None:
        """Marks the chart as the one of several that keys go to, or takes the mark away."""
        if picked != self.picked:
            self.picked = picked
            self.set_class(picked, "-picked")
            self._compose_lines()

    def _compose_lines(self) -> None:
        width = self.content_size.width
        title = Content.styled(self.figure.title, "bold $accent" if self.picked else "bold $foreground")
        if self._header_height == 1:
            header = [Content("   ").join([title, legend(self.figure, width - title.cell_length - 3)])]
        else:
            header = [title, legend(self.figure, width)]
        self.show([*header, *self.canvas])

    def on_resize(self) -> None:
        """Asks for new curves."""
        self._compose_lines()
        self.post_message(self.Resized(self))

    def on_click(self) -> None:
        """Tells that it was clicked on."""
        self.post_message(self.Picked(self))
