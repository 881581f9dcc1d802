"""A line chart in braille: a title, a legend with the last values, axes with round numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from rich.text import Text
from textual.app import RenderResult
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from workbench.runs.series import Curve, downsample, limits, tick_labels, ticks
from workbench.tui import figures

Palette = Mapping[str, tuple[int, int, int]]
"""Colours by theme variable ("accent"), as red, green and blue."""

_drawing = Lock()
"""plotext keeps state in its modules; one chart is drawn at a time."""


@dataclass(frozen=True, slots=True)
class Line:
    """A curve with what tells it from the others: a sign, that stands at every point of `marks`, a name, a colour."""

    curve: Curve
    sign: str
    name: str
    color: str
    marks: Curve = field(default_factory=Curve)

    @property
    def told(self) -> float | None:
        """The last value, for the legend: that of the marks where there are any, unless the curve is broken."""
        last = self.curve.last
        return self.marks.last if self.marks and (last is None or math.isfinite(last)) else last

    @property
    def broken(self) -> int | None:
        """The step of the first value that cannot be drawn."""
        return self.curve.broken if self.marks.broken is None else self.marks.broken


@dataclass(frozen=True, slots=True)
class Figure:
    """What a chart shows. `end` is the step at the right end of the x axis; `zero` draws a line at 0."""

    title: str
    lines: tuple[Line, ...] = ()
    end: int = 1
    zero: bool = False


def draw(figure: Figure, width: int, height: int, palette: Palette) -> Content:
    """The curves and axes of `figure` in `width` × `height` cells. Slow (2 to 25 ms): not for the UI thread."""
    if not any(line.curve.xs or line.marks.xs for line in figure.lines):
        return Content.styled("\n" * (height // 2) + "nothing to draw yet".center(width), "$secondary")
    low, high = limits(each for line in figure.lines for each in (line.curve, line.marks))
    y_ticks = ticks(low, high, max(3, min(6, height // 2 - 1)))
    labels = tick_labels(y_ticks)
    gutter = max((len(label) for label in labels), default=0) + 1
    x_ticks: list[float] = [0, figure.end // 2, figure.end] if figure.end > 1 else [0, 1]
    from textual_plotext import Plot

    with _drawing:
        plot = Plot()
        plot.theme("clear")
        # plotsize alone leaves the size of the last figure in place (textual-plotext issue 5)
        plot.plotsize(width, height)
        plot._set_size(width, height)
        plot.ticks_color(palette["axis"])
        plot.xaxes(lower=True, upper=False)
        plot.yaxes(left=True, right=False)
        plot.xlim(0, figure.end)
        plot.ylim(low, high)
        plot.yticks(y_ticks, labels)
        plot.xticks(x_ticks, [f"{tick:,}" for tick in x_ticks])
        if figure.zero and low < 0 < high:
            plot.hline(0, palette["border"])
        for line in figure.lines:
            points = downsample(line.curve, width - gutter)
            if len(points.xs) == 1:
                plot.scatter(points.xs, points.ys, marker="•", color=palette[line.color])
            elif points.xs:
                plot.plot(points.xs, points.ys, marker="braille", color=palette[line.color])
        for line in figure.lines:
            points = downsample(line.marks, (width - gutter) // 8)
            if points.xs:
                plot.scatter(points.xs, points.ys, marker=line.sign, color=palette[line.color])
        text = Text.from_ansi(plot.build().rstrip("\n"))
    return Content.from_rich_text(text)


def legend(figure: Figure, width: int) -> Content:
    """Sign, name and last value of every line; where `width` is too small closer together, then without the names."""
    steps = [line.broken for line in figure.lines if line.broken is not None]
    note = Content.styled(f"  ▲ since step {min(steps):,}", "$error") if steps else Content("")
    told = Content("")
    for named, gap, noted in (
        (True, " ", note),
        (True, " ", Content("")),
        (True, "", Content("")),
        (False, " ", Content("")),
    ):
        entries = [_entry(line, line.told, gap, named=named) for line in figure.lines if line.told is not None]
        told = Content("  " if gap else " ").join(entries) + noted
        if told.cell_length <= width:
            break
    return told


def _entry(line: Line, last: float, gap: str, *, named: bool) -> Content:
    return Content.assemble(
        (line.sign + gap, f"${line.color}"),
        (f"{line.name} " if named else "", "$secondary"),
        (figures.value(last), "$foreground" if math.isfinite(last) else "$error"),
    )


class Chart(Widget):
    """Shows a figure. It is drawn elsewhere: whoever owns the chart hands in `draw`'s result with `show`."""

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
        self.picked = False
        """Whether this is the one of the charts that z would zoom; its title is in the accent colour."""
        self._canvas = Content("")

    @property
    def canvas_size(self) -> tuple[int, int]:
        """Width and height of the part with the curves, below title and legend, in cells."""
        return self.content_size.width, self.content_size.height - self._header_height

    @property
    def _header_height(self) -> int:
        return 1 if self.content_size.width >= 60 else 2

    def show(self, figure: Figure, canvas: Content) -> None:
        """Shows `figure`, whose curves are drawn on `canvas`."""
        self.figure, self._canvas = figure, canvas
        self.refresh()

    def pick(self, *, picked: bool) -> None:
        """Marks the chart as the one of several that keys go to, or takes the mark away."""
        if picked != self.picked:
            self.picked = picked
            self.set_class(picked, "-picked")
            self.refresh()

    def render(self) -> RenderResult:
        """Title, legend, curves."""
        width = self.content_size.width
        title = Content.styled(self.figure.title, "bold $accent" if self.picked else "bold $foreground")
        if self._header_height == 1:
            room = width - title.cell_length - 3
            return Content("\n").join([Content("   ").join([title, legend(self.figure, room)]), self._canvas])
        return Content("\n").join([title, legend(self.figure, width), self._canvas])

    def on_resize(self) -> None:
        """Asks for new curves."""
        self.post_message(self.Resized(self))

    def on_click(self) -> None:
        """Tells that it was clicked on."""
        self.post_message(self.Picked(self))
