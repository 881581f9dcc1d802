"""What a token's log-probabilities in two columns say: deltas, shifts, odds and preferences. Pure numbers."""

from __future__ import annotations

import math
from typing import Literal

from workbench.compare.messages import ScoredColumn

Shift = Literal["unshifted", "marginal", "shifted"]

_MARGINAL_RANK = 3
_LEAST_DOUBT = 1e-12
"""Probabilities nearer to 0 or 1 than this count as this near, so that log-odds stay finite."""


def shift(rank: int) -> Shift:
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
    """The class of every place, by the base's rank of what `column` would say there, whatever the response has there.

    None where that is not known: the column is over other tokens than the base.
    """
    return [None if token.shift_rank is None else shift(token.shift_rank) for token in column.tokens]


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
