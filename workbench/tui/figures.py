"""Numbers as people read them: a few digits, a true minus sign, units that fit the size."""

from __future__ import annotations

import math


def value(number: float | None) -> str:
    """Three digits or so: 0.693, 2.31, −61.2, −1,204, 4.1e−5; "–" for None, and NaN and ∞ as they are."""
    if number is None:
        return "–"
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    size = abs(number)
    if number == 0:
        text = "0"
    elif size >= 1e6 or size < 1e-3:
        mantissa, exponent = f"{number:.1e}".split("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    elif size >= 1000:
        text = f"{number:,.0f}"
    else:
        text = f"{number:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"
    return text.replace("-", "−")


def signed(number: float) -> str:
    """`value` with its sign always there."""
    return value(number) if number < 0 or math.isnan(number) else f"+{value(number)}"


def share(number: float | None) -> str:
    """A share of 1 as a percentage: 93%, 99.8%, 0.4%."""
    if number is None or not math.isfinite(number):
        return value(number)
    percent = number * 100
    if 99 < percent < 100:
        return f"{min(percent, 99.9):.1f}%"
    return f"{percent:.0f}%" if percent >= 1 or percent == 0 else f"{percent:.2g}%"


def count(number: int) -> str:
    """A large count in short: 512, 41.2 k, 2.10 M, 8.03 B."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            scaled = number / (1e3 if unit == "k" else size)
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {unit}"
    return f"{number:,}"


def bar(fraction: float, width: int) -> tuple[str, str]:
    """A progress bar of `width` cells as its filled and its empty part, to half a cell."""
    halves = round(min(max(fraction, 0.0), 1.0) * width * 2)
    full, half = divmod(halves, 2)
    filled = "━" * full + "╸" * half
    return filled, "─" * (width - len(filled))
