"""Word-level differences between two texts, in bounded time."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_MOST_WORK = 9 * 10**8
"""Product of the two lengths in tokens: under a second's work, about 110 MB."""


class Span(NamedTuple):
    """A stretch of one text: also in the other (same), or in this one alone (only)."""

    text: str
    kind: Literal["same", "only"]


def word_diff(chosen: str, rejected: str) -> tuple[list[Span], list[Span]]:
    """Which words each text shares with the other, in order; the spans of each joined give that text back exactly.

    As many words are shared as can be. White space and signs count as shared only beside shared words or the texts'
    ends, so that no lone comma breaks a difference in two. Of texts that differ over more than 15,000 words each, only
    the common beginning and end are found.
    """
    left, right = _TOKEN.findall(chosen), _TOKEN.findall(rejected)
    begin = _common_prefix(left, right)
    end = _common_prefix(left[begin:][::-1], right[begin:][::-1])
    middle_left, middle_right = left[begin : len(left) - end], right[begin : len(right) - end]
    pairs = [(number, number) for number in range(begin)]
    pairs += [(begin + one, begin + other) for one, other in _shared(middle_left, middle_right)]
    pairs += [(len(left) - number, len(right) - number) for number in range(end, 0, -1)]
    pairs = _without_islands(pairs, left, (len(left) - 1, len(right) - 1))
    return _spans(left, {one for one, _ in pairs}), _spans(right, {other for _, other in pairs})


def _common_prefix(left: list[str], right: list[str]) -> int:
    return next(
        (number for number, (one, other) in enumerate(zip(left, right, strict=False)) if one != other),
        min(len(left), len(right)),
    )


def _shared(left: list[str], right: list[str]) -> list[tuple[int, int]]:
    """A longest common subsequence, as pairs of places (Hyyrö's bit-vector algorithm: one big integer a row)."""
    if not left or not right or len(left) * len(right) > _MOST_WORK:
        return []
    where: dict[str, int] = {}
    for number, token in enumerate(left):
        where[token] = where.get(token, 0) | 1 << number
    full = (1 << len(left)) - 1
    state, rows = full, []
    for token in right:
        matches = state & where.get(token, 0)
        state = ((state + matches) | (state - matches)) & full
        rows.append(state)
    pairs = []
    column, row = len(left), len(right)
    while column and row:
        if rows[row - 1] >> (column - 1) & 1:
            column -= 1
        elif row > 1 and not rows[row - 2] >> (column - 1) & 1:
            row -= 1
        else:
            column, row = column - 1, row - 1
            pairs.append((column, row))
    return pairs[::-1]


def _without_islands(pairs: list[tuple[int, int]], left: list[str], last: tuple[int, int]) -> list[tuple[int, int]]:
    """`pairs` less the runs between differences that hold no word."""
    kept: list[tuple[int, int]] = []
    run: list[tuple[int, int]] = []
    for number, pair in enumerate(pairs):
        run.append(pair)
        following = pairs[number + 1] if number + 1 < len(pairs) else None
        if following == (pair[0] + 1, pair[1] + 1):
            continue
        at_an_end = run[0] == (0, 0) or pair == last
        if at_an_end or any(left[one][0].isalnum() for one, _ in run):
            kept += run
        run = []
    return kept


def _spans(tokens: list[str], same: set[int]) -> list[Span]:
    spans: list[Span] = []
    begin = 0
    for end in range(1, len(tokens) + 1):
        if end == len(tokens) or (end in same) != (begin in same):
            spans.append(Span("".join(tokens[begin:end]), "same" if begin in same else "only"))
            begin = end
    return spans
