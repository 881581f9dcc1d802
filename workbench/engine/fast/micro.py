"""A step's pairs in micro-batches: as many tokens at once as pays, never more pairs than the user allows."""

from __future__ import annotations

from collections.abc import Sequence

BUDGET = {"cpu": 4096, "cuda": 16384}
"""Tokens of rows that go through the model at once: more gain nothing on the device, and take memory."""


_LONG = 1500
"""Tokens of a row whose attention takes a small model as long as all else; it grows with their square."""


def micro_batches(sizes: Sequence[int], most: int, budget: int, *, padded: bool = False) -> list[list[int]]:
    """Indices of `sizes`, the tokens of each row, in parts of `most` rows and `budget` tokens at most.

    A row that alone is longer has a part for itself. `padded`: rows are as wide as the longest of their part, so those
    of similar length go together; otherwise they stay in order.
    """
    order = sorted(range(len(sizes)), key=lambda index: -sizes[index]) if padded else range(len(sizes))
    found: list[list[int]] = []
    tokens = 0
    for index in order:
        wider = sizes[found[-1][0]] * (len(found[-1]) + 1) if found and padded else tokens + sizes[index]
        if not found or len(found[-1]) == most or wider > budget:
            found.append([])
            wider = sizes[index]
        found[-1].append(index)
        tokens = wider
    return found


def even_batches(sizes: Sequence[int], lanes: int, most: int, budget: int) -> list[list[int]]:
    """The same for `lanes` that work side by side, which together hold `most` rows and `budget` tokens at most: parts
    of about the same work, as many of them as a multiple of the lanes where there are rows enough."""
    at_once = max(1, most // lanes)
    rounds = max(-(-len(sizes) // (lanes * at_once)), -(-sum(sizes) // budget))
    parts: list[list[int]] = [[] for _ in range(min(rounds * lanes, len(sizes)))]
    work = [0.0] * len(parts)
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        free = [number for number, part in enumerate(parts) if len(part) < at_once]
        lightest = min(free, key=work.__getitem__)
        parts[lightest].append(index)
        work[lightest] += sizes[index] * (1 + sizes[index] / _LONG)
    return parts
