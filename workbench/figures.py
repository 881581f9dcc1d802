"""Numbers in words: log-probabilities, probabilities, shares, sizes and times, each with the digits that matter.

Every screen, table and page takes its numbers from here. A minus is a true minus sign.
"""

from __future__ import annotations

import math

MINUS = "\u2212"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_EIGHTHS = " ▏▎▍▌▋▊▉"
_DECIMALS_DOWN_TO = 1e-6
_STILL = 0.05
"""Nats under which a change is told as none."""


_ROUNDING = 1e-6


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
    return _minus(text)


def difference(number: float) -> str:
    """`value` of what two computations of one number may differ in: what is only their rounding is 0."""
    return value(0.0 if abs(number) < _ROUNDING else number)


def signed_value(number: float) -> str:
    """`value` with its sign always there."""
    return value(number) if number < 0 or math.isnan(number) else f"+{value(number)}"


def percent(number: float | None) -> str:
    """A share of 1 as a percentage: 93%, 99.8%, 0.4%."""
    if number is None or not math.isfinite(number):
        return value(number)
    hundredths = number * 100
    if 99 < hundredths < 100:
        return f"{min(hundredths, 99.9):.1f}%"
    return f"{hundredths:.0f}%" if hundredths >= 1 or hundredths == 0 else f"{hundredths:.2g}%"


def plural(number: int, one: str, many: str = "") -> str:
    """ "1 pair", "1,234 pairs"; `many` where that is more than an s at the end: "1 pair has", "1,234 pairs have"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def count(number: int) -> str:
    """A large count in short: 512, 41.2 k, 2.10 M, 8.03 B."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            scaled = number / (1e3 if unit == "k" else size)
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {unit}"
    return f"{number:,}"


def tokens(number: int) -> str:
    """A number of tokens: 41, 1,204, 41 million."""
    return f"{number / 1_000_000:,.3g} million" if number >= 1_000_000 else f"{number:,}"


def number(value: float) -> str:
    """A number with the digits that matter: four significant ones, and no zeros after them."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    if abs(value) >= 1000 and value == int(value):
        return _minus(f"{value:,.0f}")
    return _minus(f"{value:.4g}")


def decimal(value: float, places: int = 3) -> str:
    """A number with so many decimals, for columns of them; a small one that would read 0 is told as such."""
    if not math.isfinite(value):
        return number(value)
    least = 10.0**-places
    if 0 < abs(value) < least / 2:
        return f"< {least:.{places}f}" if value > 0 else f"> {MINUS}{least:.{places}f}"
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


def share(value: float) -> str:
    """A share or probability with three decimals; what would round to 0 without being 0 is told as such."""
    return "<.001" if 0 < value < 0.0005 else f"{value:.3f}"


def probability(logprob: float) -> str:
    """exp(logprob) in one to three digits: 0.41, 0.996, 0.052, 0.00002, 4×10⁻¹² where that is shorter."""
    if math.isnan(logprob):
        return "NaN"
    chance = math.exp(min(logprob, 0.0))
    if logprob >= 0.0:
        return "1"
    if chance >= 0.9995:
        return ">0.999"
    if chance >= 0.01:
        return f"{chance:.{2 if 0.1 <= chance < 0.99 else 3}f}"
    if chance >= _DECIMALS_DOWN_TO:
        places = -math.floor(math.log10(chance))
        return f"{chance:.{places}f}"
    if logprob == -math.inf:
        return "0"
    return power_of_ten(logprob)


def odds_on(chance: float) -> str:
    """A probability that never counts as certain: 0.12, 0.996, >0.999, <0.001."""
    if chance < 0.0005:
        return "<0.001"
    return probability(math.log(chance)) if chance < 0.9995 else ">0.999"


def power_of_ten(logarithm: float) -> str:
    """exp(logarithm), whatever its size, as 4×10⁻¹²."""
    exponent = math.floor(logarithm / math.log(10))
    leading = round(math.exp(logarithm - exponent * math.log(10)))
    if leading == 10:
        leading, exponent = 1, exponent + 1
    power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
    return power if leading == 1 else f"{leading}×{power}"


def perplexity(value: float) -> str:
    """A perplexity in two to three digits: 1.04, 12.3, 4,210."""
    return (
        f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}" if value < 1e6 else power_of_ten(math.log(value))
    )


def nats(logarithm: float) -> str:
    """A sum of log-probabilities with a true minus sign: −0.65, −12.4, −1,204."""
    size = abs(logarithm)
    text = f"{logarithm:,.{2 if size < 10 else 1 if size < 1000 else 0}f}"
    return "0.00" if text == "-0.00" else _minus(text)


def nats_change(change: float) -> str:
    """A change in nats with its sign: +4.4, −12, 0.0."""
    if abs(change) < _STILL:
        return "0.0"
    return _minus(f"{change:+,.{1 if abs(change) < 99.95 else 0}f}")


def direction(change: float) -> str:
    """▲ for more, ▼ for less, a blank for a change too small to tell of."""
    return " " if abs(change) < _STILL else "▲" if change > 0 else "▼"


def times(change: float) -> str:
    """A change in nats in words: "3.2 times likelier", "20,000 times less likely", "as likely as before"."""
    if abs(change) < _STILL:
        return "as likely as before"
    size = math.exp(min(abs(change), 700.0))
    if size < 10:
        factor = f"{size:.1f}"
    elif abs(change) < math.log(999_500):
        digits = 1 - math.floor(math.log10(size))
        factor = f"{round(size, digits):,.0f}"
    else:
        factor = power_of_ten(abs(change))
    return f"{factor} times {'likelier' if change > 0 else 'less likely'}"


def size(amount: int) -> str:
    """Bytes in GiB or MiB: 21.4 GiB, 812 MiB."""
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


def duration(seconds: float) -> str:
    """8 s, 3 min 05 s, 12 min, 1 h 05 min, 2 d 3 h."""
    whole = max(int(seconds + 0.5), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" if whole >= 600 else f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def rough(seconds: float) -> str:
    """A guess of a time, in one unit or two: 8 s, 3 min, 1 h 05 min."""
    return duration(max(seconds, 1)) if seconds < 60 or seconds >= 3600 else f"{seconds / 60:.0f} min"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, …"""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def progress_bar(fraction: float, width: int) -> tuple[str, str]:
    """A progress bar of `width` cells as its filled and its empty part, to half a cell."""
    halves = round(min(max(fraction, 0.0), 1.0) * width * 2)
    full, half = divmod(halves, 2)
    filled = "━" * full + "╸" * half
    return filled, "─" * (width - len(filled))


def share_bar(chance: float, width: int) -> str:
    """A bar of `width` cells for 1, to an eighth of a cell; a probability of any size shows at least that much."""
    eighths = max(1, round(min(max(chance, 0.0), 1.0) * width * 8))
    full, rest = divmod(eighths, 8)
    return ("█" * full + _EIGHTHS[rest].strip()).ljust(width)


def _minus(text: str) -> str:
    return text.replace("-", MINUS)
