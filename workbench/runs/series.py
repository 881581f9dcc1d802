"""From events to what a chart can draw: curves, few enough points, limits and round ticks. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workbench.runs.events import Eval, Step

Axis = Literal["steps", "epochs", "pairs", "minutes"]
"""What a curve is drawn over. Minutes are of training, without pauses."""
AXES: tuple[Axis, ...] = ("steps", "epochs", "pairs", "minutes")

_LARGEST = 1e30
"""Values beyond it cannot be drawn beside any other; they count as not finite."""
_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over an axis. `ys` are finite; `last` is the newest value as it came, NaN and infinity included.

    `broken` is the step of the first value that could not be drawn, None where all could.
    """

    xs: tuple[float, ...] = ()
    ys: tuple[float, ...] = ()
    last: float | None = None
    broken: int | None = None

    def __bool__(self) -> bool:
        return self.last is not None


def position(event: Step | Eval, axis: Axis) -> float:
    """Where on the axis an event stands."""
    match axis:
        case "steps":
            return event.step
        case "epochs":
            return event.epoch
        case "pairs":
            return event.pairs
        case "minutes":
            return event.seconds / 60


def curve(events: Iterable[Step | Eval], metric: str, axis: Axis = "steps") -> Curve:
    """The curve of `metric` in the events that have it, in their order."""
    xs: list[float] = []
    ys: list[float] = []
    last: float | None = None
    broken: int | None = None
    for event in events:
        value = event.metrics.get(metric)
        if value is None:
            continue
        last = value
        x = position(event, axis)
        if abs(value) <= _LARGEST and abs(x) <= _LARGEST:
            xs.append(x)
            ys.append(value)
        elif broken is None:
            broken = event.step
    return Curve(tuple(xs), tuple(ys), last, broken)


def smooth(source: Curve, weight: float) -> Curve:
    """The curve's exponential moving average: `weight` (0 up to 1) is that of the past at every point.

    It is divided by the weights that went in, so that it begins at the first value and not near zero.
    """
    average, total = 0.0, 0.0
    ys: list[float] = []
    for y in source.ys:
        average = weight * average + (1 - weight) * y
        total = weight * total + (1 - weight)
        ys.append(average / total)
    return replace(source, ys=tuple(ys))


def downsample(source: Curve, columns: int) -> Curve:
    """The curve with at most two points a column: the lowest and the highest, in their order.

    Peaks survive, which means and strides would hide. A curve that has no more points than that comes back as it is.
    """
    columns = max(columns, 1)
    if len(source.xs) <= 2 * columns:
        return source
    first = source.xs[0]
    span = source.xs[-1] - first or 1.0
    extremes: dict[int, tuple[int, int]] = {}
    for index, (x, y) in enumerate(zip(source.xs, source.ys, strict=True)):
        column = min(int((x - first) * columns / span), columns - 1)
        low, high = extremes.get(column, (index, index))
        extremes[column] = (index if y < source.ys[low] else low, index if y > source.ys[high] else high)
    kept = sorted({index for pair in extremes.values() for index in pair})
    return replace(source, xs=tuple(source.xs[i] for i in kept), ys=tuple(source.ys[i] for i in kept))


def limits(curves: Iterable[Curve]) -> tuple[float, float]:
    """The lowest and the highest value of all curves with a little room around them; (0, 1) where there is none.

    At least 2% of the largest value lie between them: what differs by less is rounding, and is to look flat.
    """
    values = [y for curve in curves for y in curve.ys]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    least = max(abs(low), abs(high)) * 0.02
    room = max((high - low) * 0.04, (least - high + low) / 2) or 1.0
    return low - room, high + room


def horizon(step: int, total: int) -> int:
    """Where an axis of steps ends: `total`, or while that is far the smallest half of a half of it that holds `step`.

    So the axis jumps a few times in a run and stands still between.
    """
    end = max(total, step, 1)
    while end >= 16 and end // 2 >= step:
        end //= 2
    return end


def round_up(value: float) -> float:
    """The next round number from `value` on (1, 1.5, 2, 3, … times a power of ten): the end of an axis that grows."""
    if not value > 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    return next((factor * magnitude for factor in _ROUND if value <= factor * magnitude * (1 + 1e-9)), 10 * magnitude)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` (at least 2) evenly spaced round numbers within low … high; none where these are all but equal."""
    span = high - low
    if not span > 1e-8 * max(abs(low), abs(high)) or not math.isfinite(span):
        return []
    magnitude = 10.0 ** math.floor(math.log10(span / max(most, 2)))
    for factor in (1, 2, 5, 10, 20, 50, 100):
        pace = magnitude * factor
        first, final = math.ceil(low / pace), math.floor(high / pace)
        if final - first + 1 <= max(most, 2):
            return [index * pace for index in range(first, final + 1)]
    return []


def tick_labels(values: Sequence[float]) -> list[str]:
    """The ticks as texts with the decimals that tell them apart, all of one width."""
    if not values:
        return []
    pace = values[1] - values[0] if len(values) > 1 else abs(values[0]) or 1.0
    largest = max(abs(value) for value in values)
    places = -math.floor(math.log10(pace) + 1e-9)
    if largest >= 1e6 or pace < 1e-4:
        digits = min(max(places + math.floor(math.log10(largest)), 0), 6)
        labels = [_scientific(value, digits) for value in values]
    else:
        labels = [f"{value:.{max(places, 0)}f}" for value in values]
    labels = [label.replace("-", "\u2212") for label in labels]
    width = max(len(label) for label in labels)
    return [label.rjust(width) for label in labels]


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"
