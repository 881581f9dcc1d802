"""Rows of a scored data set: margins, what moved them, and what a column makes of the set as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from workbench.compare.messages import PairRow


def margin(row: PairRow, column: int) -> float:
    """Log-probability of chosen less that of rejected under column number `column`: above 0, it says chosen rather."""
    return row.chosen[column].sum - row.rejected[column].sum


def shift(row: PairRow, column: int) -> float:
    """The margin under `column` less that under the first column: what training, or a system message, added to it."""
    return margin(row, column) - margin(row, 0)


def worst_first(rows: Iterable[PairRow], column: int) -> list[PairRow]:
    """Rows by their margin under `column`, lowest first; those without numbers last, in their order."""
    rows = list(rows)
    scored = sorted((row for row in rows if not row.problem), key=lambda row: margin(row, column))
    return scored + [row for row in rows if row.problem]


@dataclass(frozen=True, slots=True)
class Summary:
    """A column over all pairs that have numbers; means over pairs, in nats, None where there are no pairs.

    `accuracy` is the share of pairs with a margin above 0; `improved` that of pairs whose margin is above the first
    column's, which is DPO's own accuracy. `chosen` and `rejected` are mean sums of log-probabilities.
    """

    pairs: int
    accuracy: float | None
    improved: float | None
    margin: float | None
    shift: float | None
    chosen: float | None
    rejected: float | None
    cut: int
    """Pairs of which a response was cut at the length limit."""


def summary(rows: Sequence[PairRow], column: int) -> Summary:
    """Sums up `rows` under column number `column`."""
    rows = [row for row in rows if not row.problem]
    if not rows:
        return Summary(0, None, None, None, None, None, None, 0)
    return Summary(
        pairs=len(rows),
        accuracy=fmean(margin(row, column) > 0 for row in rows),
        improved=fmean(shift(row, column) > 0 for row in rows) if column else None,
        margin=fmean(margin(row, column) for row in rows),
        shift=fmean(shift(row, column) for row in rows) if column else None,
        chosen=fmean(row.chosen[column].sum for row in rows),
        rejected=fmean(row.rejected[column].sum for row in rows),
        cut=sum(row.chosen[column].cut or row.rejected[column].cut for row in rows),
    )
