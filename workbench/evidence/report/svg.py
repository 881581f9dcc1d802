"""Charts as inline SVG: pure functions from numbers to markup.

Colours are the page's: shapes bear classes, so that one drawing serves light, dark and print. Every drawing has a
`<title>` and a `<desc>` that say what it shows; lines are told apart by dashes, dots and names, never by colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from workbench.evidence.report.html import element
from workbench.figures import number
from workbench.runs.series import Curve, limits, tick_labels, ticks

_WIDTH, _HEIGHT = 360.0, 208.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 64.0, 10.0, 34.0
_APART = 12.0
"""Between the names of two lines, at least."""

_Scale = Callable[[float], float]
Interval = tuple[float, float, float]
"""A value with the bounds of its interval: value, low, high."""


@dataclass(frozen=True, slots=True)
class NamedCurve:
    """A curve with its name. `look` is a class of the page's style: base, run, chosen, rejected, with or without train.

    `dots` marks every point, for curves of few.
    """

    name: str
    curve: Curve
    look: str
    dots: bool = False


def line_chart(
    identity: str, title: str, lines: Sequence[NamedCurve], *, x_name: str, bounds: tuple[float, float] | None = None
) -> Markup:
    """Curves over one axis, each with its name at its end. `identity` is the element's id, unique on the page.

    `bounds` are those of the vertical axis; by default they are the curves'. Lines without a point are left out.
    """
    drawn = [line for line in lines if line.curve.xs]
    low, high = bounds or limits(line.curve for line in drawn)
    first = min((line.curve.xs[0] for line in drawn), default=0.0)
    last = max((line.curve.xs[-1] for line in drawn), default=1.0)
    span = last - first or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - first) / span * (_WIDTH - _LEFT - _RIGHT)
        return across, _TOP + (high - min(max(y, low), high)) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts: list[Markup] = []
    rows = ticks(low, high, 5)
    for y, label in zip(rows, tick_labels(rows), strict=True):
        height = at(first, y)[1]
        parts.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=height, y2=height, class_="grid"))
        parts.append(_text(_LEFT - 6, height + 3.5, label.strip(), "tick", anchor="end"))
    columns = ticks(first, last, 5)
    for x, label in zip(columns, tick_labels(columns), strict=True):
        parts.append(_text(at(x, low)[0], _HEIGHT - _BOTTOM + 15, label.strip(), "tick", anchor="middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 3, x_name, "tick", anchor="middle"))
    for line in drawn:
        points = [at(x, y) for x, y in zip(line.curve.xs, line.curve.ys, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(element("polyline", points=path, class_=f"line {line.look}"))
        if line.dots:
            parts += [element("circle", cx=x, cy=y, r=2.6, class_=f"dot {line.look}") for x, y in points]
    named = [line for line in drawn if line.name]
    ends = [at(line.curve.xs[-1], line.curve.ys[-1])[1] for line in named]
    for line, height in zip(named, _spread(ends), strict=True):
        parts.append(_text(_WIDTH - _RIGHT + 6, height + 3.5, line.name, f"name {line.look}"))
    description = " ".join(_description(line, x_name) for line in drawn) or "There are no points."
    return _drawing(identity, title, description, _WIDTH, _HEIGHT, parts, "plot")


def interval_plot(
    identity: str,
    title: str,
    before: Interval,
    after: Interval,
    *,
    axis: tuple[float, float],
    threshold: float | None = None,
) -> Markup:
    """From before to after: two dots with whiskers, the base's hollow, the run's filled; the threshold is dashed."""
    width, height, room = 200.0, 26.0, 8.0
    low, high = axis

    def at(x: float) -> float:
        return room + (min(max(x, low), high) - low) / ((high - low) or 1.0) * (width - 2 * room)

    middle = height / 2
    parts = [element("line", x1=room, x2=width - room, y1=middle, y2=middle, class_="grid")]
    parts += [element("line", x1=at(x), x2=at(x), y1=middle - 3, y2=middle + 3, class_="grid") for x in axis]
    sentences = [
        f"{name}: {number(value[0])}, 95% interval {number(value[1])} to {number(value[2])}."
        for name, value in (("Before", before), ("After", after))
    ]
    if threshold is not None:
        parts.append(element("line", x1=at(threshold), x2=at(threshold), y1=2, y2=height - 2, class_="threshold"))
        sentences.append(f"Threshold: {number(threshold)}.")
    parts.append(element("line", x1=at(before[0]), x2=at(after[0]), y1=middle, y2=middle, class_="move"))
    parts += [*_whisker(before, at, middle, "base"), *_whisker(after, at, middle, "run")]
    sentences.append(f"The axis goes from {number(low)} to {number(high)}.")
    return _drawing(identity, title, " ".join(sentences), width, height, parts, "interval")


@dataclass(frozen=True, slots=True)
class Point:
    """Things of which `predicted` was said: how often it was so, with its interval, and how many they are."""

    predicted: float
    observed: Interval
    count: int


def reliability(identity: str, title: str, points: Sequence[Point]) -> Markup:
    """Confidence, from ½ to 1, against the share that was right: calibrated is what lies on the dashed diagonal.

    Dots are the larger, the more they count.
    """
    width, height, right = _WIDTH, 240.0, 20.0

    def at(confidence: float, share: float) -> tuple[float, float]:
        across = _LEFT + (confidence - 0.5) / 0.5 * (width - _LEFT - right)
        return across, _TOP + (1 - share) * (height - _TOP - _BOTTOM)

    parts: list[Markup] = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = at(0.5, share)[1]
        parts.append(element("line", x1=_LEFT, x2=width - right, y1=y, y2=y, class_="grid"))
        parts.append(_text(_LEFT - 6, y + 3.5, f"{share:.2f}", "tick", anchor="end"))
    for confidence in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        x = at(confidence, 0)[0]
        parts.append(_text(x, height - _BOTTOM + 15, f"{confidence:.1f}", "tick", anchor="middle"))
    parts.append(_text((_LEFT + width - right) / 2, height - 3, "confidence", "tick", anchor="middle"))
    (x1, y1), (x2, y2) = at(0.5, 0.5), at(1, 1)
    parts.append(element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="threshold"))
    most = max((point.count for point in points), default=1)
    sentences = []
    for point in points:
        value, low, high = point.observed
        (x, y), top, foot = at(point.predicted, value), at(0.5, high)[1], at(0.5, low)[1]
        parts.append(element("line", x1=x, x2=x, y1=top, y2=foot, class_="whisker run"))
        parts.append(element("circle", cx=x, cy=y, r=2.5 + 3.5 * (point.count / most) ** 0.5, class_="dot run"))
        sentences.append(f"Confidence {number(point.predicted)}: right {number(value)} of {point.count}.")
    return _drawing(identity, title, " ".join(sentences) or "There are no pairs.", width, height, parts, "plot")


def two_bars(before: float, after: float) -> Markup:
    """Two probabilities as bars, the base's hollow and the run's filled: small, and beside a text that tells them."""
    height = 16.0
    parts = []
    for row, (share, look) in enumerate(((before, "base"), (after, "run"))):
        tall = max(min(share, 1.0) * (height - 1), 0.6)
        parts.append(element("rect", x=0.5 + 7 * row, y=height - tall, width=5, height=tall, class_=f"bar {look}"))
    return element("svg", *parts, view_box="0 0 13 16", width=13, height=16, aria_hidden="true")


def _whisker(interval: Interval, at: _Scale, y: float, look: str) -> list[Markup]:
    value, low, high = interval
    return [
        element("line", x1=at(low), x2=at(high), y1=y, y2=y, class_=f"whisker {look}"),
        element("circle", cx=at(value), cy=y, r=3.8, class_=f"dot {look}"),
    ]


def _drawing(
    identity: str, title: str, description: str, width: float, height: float, parts: Sequence[Markup], look: str
) -> Markup:
    return element(
        "svg",
        element("title", title, id=f"{identity}-title"),
        element("desc", description, id=f"{identity}-desc"),
        *parts,
        view_box=f"0 0 {width:.0f} {height:.0f}",
        class_=look,
        role="img",
        aria_labelledby=f"{identity}-title {identity}-desc",
    )


def _text(x: float, y: float, text: str, look: str, *, anchor: str | None = None) -> Markup:
    return element("text", text, x=x, y=y, class_=look, text_anchor=anchor)


def _spread(heights: Sequence[float]) -> list[float]:
    """`heights` moved apart so that names do not cover each other, in their order, and within the drawing."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    moved = list(heights)
    lowest = _TOP
    for index in order:
        moved[index] = lowest = max(moved[index], lowest)
        lowest += _APART
    highest = _HEIGHT - _BOTTOM
    for index in reversed(order):
        moved[index] = highest = min(moved[index], highest)
        highest -= _APART
    return moved


def _description(line: NamedCurve, x_name: str) -> str:
    xs, ys = line.curve.xs, line.curve.ys
    name = line.name or "Training"
    return (
        f"{name}: {number(ys[0])} at {x_name} {number(xs[0])}, {number(ys[-1])} at {x_name} {number(xs[-1])}; "
        f"lowest {number(min(ys))}, highest {number(max(ys))}."
    )
