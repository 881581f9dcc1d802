"""What the columns would say at one place, set beside each other token by token."""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.compare.messages import Distribution
from workbench.compare.tokens import delta_log_odds

_SLIM = math.log(0.0005)
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A token that might come, with its log-probabilities. `aligned` is None where only the base is shown."""

    token: int
    text: str
    base: float
    aligned: float | None = None
    said: bool = False
    """Whether the response has this token here."""
    special: bool = False
    """Whether it is a control token: after the end of a turn there is nothing more to say."""

    @property
    def best(self) -> float:
        """The higher of the log-probabilities."""
        return self.base if self.aligned is None else max(self.base, self.aligned)

    @property
    def change(self) -> float | None:
        """Log-odds in the aligned column less those in the base."""
        return None if self.aligned is None else delta_log_odds(self.aligned, self.base)


def rows_of(distribution: Distribution, base: int, aligned: int | None) -> list[Row]:
    """The candidates, likeliest first. `base` and `aligned` are the columns' numbers in the request."""
    rows = [
        Row(
            each.token,
            each.text,
            each.logprobs[base],
            None if aligned is None else each.logprobs[aligned],
            said=each.token == distribution.said,
            special=each.special,
        )
        for each in distribution.candidates
    ]
    return sorted(rows, key=lambda row: -row.best)


def visible(rows: list[Row], count: int) -> list[Row]:
    """The first `count` rows that some column gives a chance, three in any case.

    The said token takes the last place where it would not be among them.
    """
    likely = sum(row.best >= _SLIM for row in rows)
    count = min(count, max(likely, _LEAST))
    shown = rows[:count]
    if count > 0 and not any(row.said for row in shown):
        shown[count - 1 :] = [row for row in rows[count:] if row.said][:1] or shown[count - 1 :]
    return shown
