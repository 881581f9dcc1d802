"""What the scorer's replies say in numbers: of tokens, next tokens, pairs, behaviours and prompts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from workbench.compare.messages import Distribution, ScoredColumn, ScoredPair
from workbench.runs.quantities import preferred

Shift = Literal["unshifted", "marginal", "shifted"]

_MARGINAL_RANK = 3
_LEAST_DOUBT = 1e-12
"""Probabilities nearer to 0 or 1 than this count as this near, so that log-odds stay finite."""
_SHOWN_LOGPROB = math.log(0.0005)
_LEAST_ROWS = 3
_MILLION = 1_000_000


def shift_class(rank: int) -> Shift:
    """How far a token is from what another column would have said, by its rank there (1: likeliest).

    Unshifted: that column's first choice. Marginal: its second or third. Shifted: anything else (arXiv 2312.01552).
    """
    if rank <= 1:
        return "unshifted"
    return "marginal" if rank <= _MARGINAL_RANK else "shifted"


def deltas(column: ScoredColumn, base: ScoredColumn) -> list[float]:
    """Log-probability of every token under `column` less that under `base`, in nats; above 0: became likelier.

    Raises `ValueError` where the columns are not over the same tokens.
    """
    if [token.id for token in column.tokens] != [token.id for token in base.tokens]:
        raise ValueError(f"{column.name} and {base.name} scored different tokens")
    return [token.logprob - other.logprob for token, other in zip(column.tokens, base.tokens, strict=True)]


def shifts(column: ScoredColumn) -> list[Shift | None]:
    """The class of every position, by the base's rank of `column`'s likeliest token there.

    None where that is not known: the column is over other tokens than the base.
    """
    return [None if token.shift_rank is None else shift_class(token.shift_rank) for token in column.tokens]


def log_odds(logprob: float) -> float:
    """ln(p / (1 - p)) of a natural log-probability, kept finite at 0 and 1."""
    doubt = max(-math.expm1(min(logprob, 0.0)), _LEAST_DOUBT)
    return max(logprob, math.log(_LEAST_DOUBT)) - math.log(doubt)


def delta_log_odds(logprob: float, base: float) -> float:
    """Log-odds at `logprob` less those at `base`: changes near 0 and near 1 show alike."""
    return log_odds(logprob) - log_odds(base)


def preference_probability(difference: float, beta: float = 1.0) -> float:
    """sigma(beta * difference): the Bradley-Terry probability that the first of two responses is preferred.

    `difference` is that of the responses' log-probabilities in one column, or, as DPO has it, that of their
    log-ratios to the reference.
    """
    scaled = beta * difference
    if scaled >= 0:
        return 1.0 / (1.0 + math.exp(-min(scaled, 700.0)))
    odds = math.exp(max(scaled, -700.0))
    return odds / (1.0 + odds)


# The next token


@dataclass(frozen=True, slots=True)
class NextTokenRow:
    """A token that might come, with its log-probabilities. `aligned` is None where only the base is shown."""

    token: int
    text: str
    base: float
    aligned: float | None = None
    in_response: bool = False
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


def next_token_rows(distribution: Distribution, base: int, aligned: int | None) -> list[NextTokenRow]:
    """The candidates, likeliest first. `base` and `aligned` are the columns' numbers in the request."""
    rows = [
        NextTokenRow(
            candidate.token,
            candidate.text,
            candidate.logprobs[base],
            None if aligned is None else candidate.logprobs[aligned],
            in_response=candidate.token == distribution.said,
            special=candidate.special,
        )
        for candidate in distribution.candidates
    ]
    return sorted(rows, key=lambda row: -row.best)


def visible_rows(rows: list[NextTokenRow], count: int) -> list[NextTokenRow]:
    """The first `count` rows that some column gives a chance, three in any case.

    The response's own token takes the last row where it would not be among them.
    """
    likely = sum(row.best >= _SHOWN_LOGPROB for row in rows)
    count = min(count, max(likely, _LEAST_ROWS))
    shown = rows[:count]
    if count > 0 and not any(row.in_response for row in shown):
        shown[count - 1 :] = [row for row in rows[count:] if row.in_response][:1] or shown[count - 1 :]
    return shown


# Pairs of a data set


def pair_margin(row: ScoredPair, column: int) -> float:
    """Log-probability of chosen less that of rejected under column number `column`: above 0, it says chosen rather."""
    return row.chosen[column].sum - row.rejected[column].sum


def margin_shift(row: ScoredPair, column: int) -> float:
    """The margin under `column` less that under the first column: what training, or a system message, added to it."""
    return pair_margin(row, column) - pair_margin(row, 0)


def worst_first(rows: Iterable[ScoredPair], column: int) -> list[ScoredPair]:
    """Rows by their margin under `column`, lowest first; those without numbers last, in their order."""
    rows = list(rows)
    scored = sorted((row for row in rows if not row.problem), key=lambda row: pair_margin(row, column))
    return scored + [row for row in rows if row.problem]


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """A column over all pairs that have numbers; means over pairs, in nats, None where there are no pairs.

    `ranking` is the share of pairs whose chosen is the likelier response; `accuracy` that of pairs whose margin is
    above the first column's: preference accuracy with that column as the reference. Ties count half. `chosen` and
    `rejected` are mean sums of log-probabilities.
    """

    pairs: int
    ranking: float | None
    accuracy: float | None
    margin: float | None
    shift: float | None
    chosen: float | None
    rejected: float | None
    cut: int
    """Pairs of which a response was cut at the length limit."""


def summarize(rows: Sequence[ScoredPair], column: int) -> ColumnSummary:
    """Sums up `rows` under column number `column`."""
    rows = [row for row in rows if not row.problem]
    if not rows:
        return ColumnSummary(0, None, None, None, None, None, None, 0)
    return ColumnSummary(
        pairs=len(rows),
        ranking=fmean(preferred(pair_margin(row, column)) for row in rows),
        accuracy=fmean(preferred(margin_shift(row, column)) for row in rows) if column else None,
        margin=fmean(pair_margin(row, column) for row in rows),
        shift=fmean(margin_shift(row, column) for row in rows) if column else None,
        chosen=fmean(row.chosen[column].sum for row in rows),
        rejected=fmean(row.rejected[column].sum for row in rows),
        cut=sum(row.chosen[column].cut or row.rejected[column].cut for row in rows),
    )


# Behaviours


@dataclass(frozen=True, slots=True)
class ToldAnswer:
    """A sampled answer of a column (`name`), and the behaviours that it shows."""

    name: str
    text: str
    shows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BehaviourShare:
    """`count` of `samples` answers of a column show a behaviour; None: they show none that is known."""

    behaviour: str | None
    count: int
    samples: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.count / self.samples


def behaviour_shares(answers: Iterable[ToldAnswer]) -> dict[str, list[BehaviourShare]]:
    """By the column's name, the behaviours that any column shows, the most frequent over all first.

    Every column has all of them, at 0 where it has none, so that they can be set side by side; answers that show none
    come last. An answer may show several.
    """
    counts: dict[str, Counter[str | None]] = {}
    samples: Counter[str] = Counter()
    for answer in answers:
        samples[answer.name] += 1
        counts.setdefault(answer.name, Counter()).update(answer.shows or (None,))
    total = sum(counts.values(), Counter[str | None]())
    order = sorted(total, key=lambda behaviour: (behaviour is None, -total[behaviour], behaviour or ""))
    return {
        name: [BehaviourShare(behaviour, count[behaviour], samples[name]) for behaviour in order]
        for name, count in counts.items()
    }


# Prompts


@dataclass(frozen=True, slots=True)
class PromptCost:
    """Prompt tokens of a column, and how many of them the first column, by rule the bare base, does without."""

    tokens: int
    extra: int

    @property
    def per_million(self) -> int:
        """Extra prompt tokens in a million requests."""
        return self.extra * _MILLION


def prompt_costs(prompt_tokens: Sequence[int]) -> list[PromptCost]:
    """The costs of a reply's columns, from their `prompt_tokens`. An adapter alone costs none extra."""
    return [PromptCost(tokens, tokens - prompt_tokens[0]) for tokens in prompt_tokens]
