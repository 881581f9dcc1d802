"""Log-probabilities as people read them: probabilities, nats with their sign, how many times as likely."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_EIGHTHS = " ▏▎▍▌▋▊▉"
_DECIMALS_DOWN_TO = 1e-6
_STILL = 0.05
"""Nats under which a change is told as none."""


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


def share(logprob: float) -> str:
    """exp(logprob) with three decimals, for columns of numbers: 0.413, <.001."""
    chance = math.exp(min(logprob, 0.0))
    return f"{chance:.3f}" if chance >= 0.0005 else "<.001"


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


def nats(logarithm: float) -> str:
    """A sum of log-probabilities with a true minus sign: −0.65, −12.4, −1,204."""
    size = abs(logarithm)
    return f"{logarithm:,.{2 if size < 10 else 1 if size < 1000 else 0}f}".replace("-", "−").replace("−0.00", "0.00")


def perplexity(value: float) -> str:
    """A perplexity in two to three digits: 1.04, 12.3, 4,210."""
    return (
        f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}" if value < 1e6 else power_of_ten(math.log(value))
    )


def signed(change: float) -> str:
    """A change in nats with its sign: +4.4, −12, 0.0."""
    if abs(change) < _STILL:
        return "0.0"
    return f"{change:+,.{1 if abs(change) < 99.95 else 0}f}".replace("-", "−")


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


def bar(chance: float, width: int) -> str:
    """A bar of `width` cells for 1, to an eighth of a cell; a probability of any size shows at least that much."""
    eighths = max(1, round(min(max(chance, 0.0), 1.0) * width * 8))
    full, rest = divmod(eighths, 8)
    return ("█" * full + _EIGHTHS[rest].strip()).ljust(width)


def count(number: int) -> str:
    """A number of tokens: 41, 1,204, 41 million."""
    return f"{number / 1_000_000:,.3g} million" if number >= 1_000_000 else f"{number:,}"
