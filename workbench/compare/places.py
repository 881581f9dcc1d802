"""What two columns would say at one place of a response: their likeliest tokens joined into one list."""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.compare.messages import Distribution, ScoredColumn
from workbench.compare.tokens import delta_log_odds

_SLIM = math.log(0.0005)
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """A natural log-probability; where it is not `exact`, the token was not among the likeliest: it is at most that."""

    logprob: float
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A token that one of the columns might say. `aligned` is None where only the base is shown."""

    text: str
    base: Estimate
    aligned: Estimate | None = None
    said: bool = False
    """Whether the response has this token here."""

    @property
    def best(self) -> float:
        """The higher of the log-probabilities."""
        return self.base.logprob if self.aligned is None else max(self.base.logprob, self.aligned.logprob)

    @property
    def change(self) -> float | None:
        """Log-odds in the aligned column less those in the base; None where bounds leave even its sign open."""
        if self.aligned is None:
            return None
        change = delta_log_odds(self.aligned.logprob, self.base.logprob)
        if (not self.aligned.exact and change > 0) or (not self.base.exact and change < 0):
            return None
        return change


def after_prompt(distribution: Distribution, base: int, aligned: int | None, said: str | None = None) -> list[Row]:
    """The next token after the prompt, likeliest first. `base` and `aligned` are the columns' numbers in the request.

    `said` is the text of the token that the response begins with.
    """
    rows = [
        Row(
            candidate.text,
            Estimate(candidate.logprobs[base]),
            None if aligned is None else Estimate(candidate.logprobs[aligned]),
            candidate.text == said,
        )
        for candidate in distribution.candidates
    ]
    return sorted(rows, key=lambda row: -row.best)


def at_place(base: ScoredColumn, aligned: ScoredColumn | None, place: int) -> list[Row]:
    """The tokens at `place` of a scored response, likeliest first; the token that is there is always among them."""
    columns = [base] if aligned is None else [base, aligned]
    known = [_known(column, place) for column in columns]
    bounds = [min((logprob for _, logprob in column.tokens[place].top), default=0.0) for column in columns]
    said = base.tokens[place].text
    rows = []
    for text in dict.fromkeys(text for column in known for text in column):
        estimates = [
            Estimate(column[text]) if text in column else Estimate(bound, exact=False)
            for column, bound in zip(known, bounds, strict=True)
        ]
        rows.append(Row(text, estimates[0], estimates[1] if aligned else None, text == said))
    return sorted(rows, key=lambda row: -row.best)


def _known(column: ScoredColumn, place: int) -> dict[str, float]:
    token = column.tokens[place]
    likeliest: dict[str, float] = {token.text: token.logprob}
    for text, logprob in token.top:
        likeliest.setdefault(text, logprob)
    return likeliest


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
