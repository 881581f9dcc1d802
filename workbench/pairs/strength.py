"""By how much a pair's own columns prefer one answer: a margin, or scores, ratings or ranks of both."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

MARGIN = "margin"
"""The column that says by how much the chosen answer is preferred, as TRL's reward trainer reads it."""

SCORED: tuple[tuple[str, str, int], ...] = tuple(
    (name.format("chosen"), name.format("rejected"), sign)
    for sign, names in (
        (1, ("score_{}", "{}_score", "{}-score", "rating_{}", "{}_rating", "{}-rating", "{}_avg_rating")),
        (-1, ("rank_{}", "{}_rank", "{}-rank")),
    )
    for name in names
)
"""Columns for both answers, and whether more is better (1) or less (-1)."""
COLUMNS = frozenset({MARGIN, *(name for one, other, _ in SCORED for name in (one, other))})


def margin_of(columns: Mapping[str, Any]) -> float:
    """By how much a pair's columns prefer its chosen answer: below 0 the rejected one; NaN where they do not say."""
    given = _number(columns.get(MARGIN))
    if given == given:
        return given
    for one, other, sign in SCORED:
        if one in columns:
            difference = sign * (_number(columns[one]) - _number(columns.get(other)))
            if difference == difference:
                return difference
    return math.nan


def _number(value: Any) -> float:
    if isinstance(value, str):  # As CSV has it.
        try:
            value = float(value)
        except ValueError:
            return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def sides(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """The columns that are of one answer each ("score_chosen", "score_rejected"), chosen and rejected among them."""
    for name in names:
        other = name.replace("chosen", "rejected")
        if other != name and other in names:
            yield name, other


def turned(columns: Mapping[str, Any]) -> dict[str, Any]:
    """A pair's columns once its answers are exchanged: what was said of one is said of the same one."""
    changed = dict(columns)
    for one, other in sides(columns):
        changed[one], changed[other] = columns[other], columns[one]
    if MARGIN in columns:
        changed[MARGIN] = negated(columns[MARGIN])
    return changed


def turned_values(values: Mapping[str, str]) -> dict[str, str]:
    """`turned` of a row's fields as JSON, which stay as they were written: those that change."""
    changed: dict[str, str] = {}
    for one, other in sides(values):
        changed |= {one: values[other], other: values[one]}
    if MARGIN in values:
        margin = json.loads(values[MARGIN])
        if (other_margin := negated(margin)) is not margin:
            changed[MARGIN] = json.dumps(other_margin)
    return changed


def negated(margin: Any) -> Any:
    """The margin the other way round; what is no number stays."""
    if isinstance(margin, str) and not math.isnan(_number(margin)):
        return margin.strip().removeprefix("-") if margin.strip().startswith("-") else f"-{margin.strip()}"
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        return margin
    return 0 - margin
