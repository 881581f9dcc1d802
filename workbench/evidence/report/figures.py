"""Numbers as a page shows them: the same digits everywhere, with a true minus."""

from __future__ import annotations

import math

MINUS = "\u2212"


def number(value: float) -> str:
    """A number with the digits that matter: four significant ones, and no zeros after them."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    if abs(value) >= 1000 and value == int(value):
        return _minus(f"{value:,.0f}")
    text = f"{value:.4g}"
    return _minus(text)


def decimal(value: float, places: int = 3) -> str:
    """A number with so many decimals, for columns of them; a small one above 0 that would read 0 is told as such."""
    if not math.isfinite(value):
        return number(value)
    least = 10.0**-places
    if 0 < value < least / 2:
        return f"< {least:.{places}f}"
    return _minus(f"{value or 0.0:.{places}f}")


def signed(value: float, places: int = 2) -> str:
    """A change, with its sign also where it is a rise; ±0 where nothing moved."""
    text = f"{value:+.{places}f}"
    return "±0" if float(text) == 0 else _minus(text)


def interval(low: float | None, high: float | None, places: int = 3) -> str:
    """Bounds in brackets; None is no bound."""
    return (
        f"[{decimal(low, places) if low is not None else MINUS + '∞'}, "
        f"{decimal(high, places) if high is not None else '∞'}]"
    )


def size(count: float) -> str:
    """Bytes in the unit that leaves few digits."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """Seconds as people say them: 41 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _minus(text: str) -> str:
    return text.replace("-", MINUS)
