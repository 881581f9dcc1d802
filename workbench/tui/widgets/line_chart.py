"""A line chart in braille: what it shows, its curves, axes and legend as text, and the widget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from rich.text import Text
from textual.color import Color
from textual.content import Content
from textual.message import Message

from workbench import figures
from workbench.runs.series import Curve, downsample, limits, smooth, tick_labels, ticks
from workbench.tui.theme import DRAWING, readable
from workbench.tui.widgets.quiet_lines import QuietLines

Palette = Mapping[str, tuple[int, int, int]]
"""Colours by theme variable ("accent"), as red, green and blue; with "dim " before the name those of raw curves."""

COLORS = ("accent", "warning", "success", "error", "foreground", "secondary")
"""The theme variables that lines may have."""

_drawing = Lock()
"""plotext keeps state in its modules; one chart is drawn at a time."""


@dataclass(frozen=True, slots=True)
class ChartLine:
    """A curve with what tells it from the others: a sign, that stands at every point of `marks`, a name, a colour.

    `tip` is another sign, that stands at the curve's end.
    """

    curve: Curve
    sign: str
    name: str
    color: str
    marks: Curve = field(default_factory=Curve)
    tip: str = ""

    @property
    def latest(self) -> float | None:
        """The last value, for the legend: that of the marks where there are any, unless the curve is broken."""
        last = self.curve.last
        return self.marks.last if self.marks and (last is None or math.isfinite(last)) else last

    @property
    def broken(self) -> int | None:
        """The step of the first value that cannot be drawn."""
        return self.curve.broken if self.marks.broken is None else self.marks.broken


@dataclass(frozen=True, slots=True)
class Figure:
    """What a chart shows: curves over `unit` from 0 to `end`. `zero` draws a line at 0; `smoothing` as in `smooth`.

    Where curves meet, the last one is seen, or with `first_on_top` the first one. The axis names no value that is not
    `possible`, from the least to the most.
    """

    title: str
    lines: tuple[ChartLine, ...] = ()
    end: float = 1
    unit: str = "steps"
    zero: bool = False
    smoothing: float = 0.0
    first_on_top: bool = False
    possible: tuple[float, float] = (-math.inf, math.inf)


def palette_of(variables: Mapping[str, str]) -> dict[str, tuple[int, int, int]]:
    """The colours of a theme, by its variables."""
    background = Color.parse(variables["background"])
    colors = {name: Color.parse(variables[name]) for name in COLORS}
    palette = {name: color.rgb for name, color in colors.items()}
    for name, color in colors.items():
        palette[f"dim {name}"] = readable(background.blend(color, 0.38), [background], DRAWING).rgb
    palette["border"] = Color.parse(variables["border"]).rgb
    palette["axis"] = colors["secondary"].rgb
    return palette


def draw(figure: Figure, width: int, height: int, palette: Palette) -> list[Content]:
    """The curves and axes of `figure` as `height` lines of `width` cells. Slow (2 to 25 ms): not for the UI thread."""
    if not any(line.curve.xs or line.marks.xs for line in figure.lines):
        blank = [Content("")] * height
        blank[height // 2] = Content.styled("nothing to draw yet".center(width), "$secondary")
        return blank
    low, high = limits(curve for line in figure.lines for curve in (line.curve, line.marks))
    least, most = figure.possible
    y_ticks = [tick for tick in ticks(low, high, max(3, min(6, height // 2 - 1))) if least <= tick <= most]
    labels = tick_labels(y_ticks)
    gutter = max((len(label) for label in labels), default=0) + 1
    from textual_plotext import Plot

    with _drawing:
        plot: Any = Plot()
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
        plot.xticks(*_x_ticks(figure, width - gutter))
        if figure.zero and low < 0 < high:
            plot.hline(0, palette["border"])
        lines = figure.lines[::-1] if figure.first_on_top else figure.lines
        for line in lines:
            smoothed = figure.smoothing > 0 and len(line.curve.xs) > 1 and line.curve is not line.marks
            _plot(plot, line.curve, width - gutter, palette[f"dim {line.color}" if smoothed else line.color])
        for line in lines:
            if figure.smoothing > 0 and len(line.curve.xs) > 1 and line.curve is not line.marks:
                _plot(plot, smooth(line.curve, figure.smoothing), width - gutter, palette[line.color])
        for line in lines:
            points = downsample(line.marks, (width - gutter) // 8)
            if points.xs:
                plot.scatter(points.xs, points.ys, marker=line.sign, color=palette[line.color])
            if line.tip and line.curve.xs:
                plot.scatter(line.curve.xs[-1:], line.curve.ys[-1:], marker=line.tip, color=palette[line.color])
        text = Text.from_ansi(plot.build().rstrip("\n"))
        # plotext's figure refers to itself all over, with its canvas of a list a cell: 80 kB that only a full look for
        # garbage would free, which among a screen's objects comes every few hundred drawings.
        for part in (plot._dummy, plot):
            part.__dict__.clear()
    drawn = [Content.from_rich_text(line) for line in text.split("\n", allow_blank=True)]
    return [*drawn, *[Content("")] * (height - len(drawn))][:height]


def _plot(plot: object, points: Curve, columns: int, color: tuple[int, int, int]) -> None:
    points = downsample(points, columns)
    if len(points.xs) == 1:
        plot.scatter(points.xs, points.ys, marker="•", color=color)  # type: ignore[attr-defined]
    elif points.xs:
        plot.plot(points.xs, points.ys, marker="braille", color=color)  # type: ignore[attr-defined]


def _x_ticks(figure: Figure, width: int) -> tuple[list[float], list[str]]:
    """Begin, middle and end of the axis; the end names the unit."""
    end = max(figure.end, 1e-9)
    if figure.unit == "steps":
        ticks: list[float] = [0, int(end) // 2, int(end)] if end > 1 else [0, 1]
    else:
        ticks = [0, end / 2, end]
    labels = [f"{tick:,.4g}" if tick < 1000 else f"{tick:,.0f}" for tick in ticks]
    named = f"{labels[-1]} {figure.unit}"
    if len(named) < width // 3:
        labels[-1] = named
    return ticks, labels


def legend(figure: Figure, width: int) -> Content:
    """Sign, name and last value of every line; where `width` is too small closer together, then without the names."""
    steps = [line.broken for line in figure.lines if line.broken is not None]
    note = Content.styled(f"  ▲ since step {min(steps):,}", "$error") if steps else Content("")
    told, text = figures.difference if figure.zero else figures.value, Content("")
    for named, gap, noted in (
        (True, " ", note),
        (True, " ", Content("")),
        (True, "", Content("")),
        (False, " ", Content("")),
    ):
        entries = [
            _entry(line, line.latest, told, gap, named=named) for line in figure.lines if line.latest is not None
        ]
        text = Content("  " if gap else " ").join(entries) + noted
        if text.cell_length <= width:
            break
    return text


def _entry(line: ChartLine, last: float, told: Callable[[float], str], gap: str, *, named: bool) -> Content:
    return Content.assemble(
        (line.sign + gap, f"${line.color}"),
        (f"{line.name} " if named and line.name else "", "$secondary"),
        (told(last), "$foreground" if math.isfinite(last) else "$error"),
    )


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
