"""Whether a run prefers an answer for being long: accuracy with the length taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.evidence.statistics import Estimate, Floats, clusters, interval, mean, share

MATCHED = 1.1
"""Responses are of matched length where the longer has at most this many times the tokens of the shorter."""
_DRAWS = 999
_NEWTON_STEPS = 50
_LONGEST_STEP = 2.0


@dataclass(frozen=True, slots=True)
class LengthControl:
    """Held-out accuracy at equal length, after length-controlled AlpacaEval (Dubois et al. 2024).

    A logistic regression of "the run prefers chosen" on tanh(difference of the lengths in tokens over its standard
    deviation) is fitted with Firth's penalty (1993), which keeps it finite where every pair is right. `accuracy` is
    what it predicts at a difference of 0, `slope` its coefficient in log-odds (above 0: it prefers longer ones),
    `uncontrolled` the plain accuracy, and `longer_wins` the accuracy of the rule that prefers the longer response.
    """

    accuracy: Estimate
    slope: Estimate
    uncontrolled: Estimate
    longer_wins: Estimate


def matched(chosen_tokens: int, rejected_tokens: int) -> bool:
    """Whether two responses are of matched length."""
    return max(chosen_tokens, rejected_tokens) <= MATCHED * min(chosen_tokens, rejected_tokens)


def control(
    right: Sequence[float], chosen: Sequence[int], rejected: Sequence[int], groups: Sequence[str], *, seed: int = 0
) -> LengthControl | None:
    """The control over pairs: 1 where the run prefers chosen, ½ for a tie, else 0; lengths in tokens. None for none."""
    if not right:
        return None
    won = np.asarray(right, dtype=np.float64)
    longer = np.asarray(chosen, dtype=np.float64) - np.asarray(rejected, dtype=np.float64)
    spread = float(longer.std())
    squashed = np.tanh(longer / spread) if spread else np.zeros_like(longer)
    cluster, size = clusters(groups)
    member = np.zeros((size, len(won)))
    member[cluster, np.arange(len(won))] = 1.0
    rows = np.arange(size, dtype=np.float64)
    whole = logistic(won, squashed, np.ones((1, len(won))))[0]

    def fitted(drawn: Floats, axis: int) -> Floats:
        """Intercept and slope, (2, …), of draws of groups, (…, groups)."""
        del axis
        picked = np.atleast_2d(drawn).astype(int)
        counts = np.apply_along_axis(np.bincount, 1, picked, minlength=size).astype(np.float64)
        return np.moveaxis(logistic(won, squashed, counts @ member, whole), -1, 0).reshape(2, *np.shape(drawn)[:-1])

    sizes = len(won), len(set(groups))

    def estimate(number: int) -> Estimate:
        low, high = interval(lambda drawn, axis: fitted(drawn, axis)[number], [rows], seed=seed, draws=_DRAWS)
        return Estimate(float(whole[number]), low, high, *sizes)

    at_zero = estimate(0)
    plain = share(right, groups, len(right), seed=seed)
    low, value, high = (_sigmoid(bound) for bound in (at_zero.low, at_zero.value, at_zero.high))
    if plain.value in (0.0, 1.0):  # all draws are alike then
        low, high = min(plain.low, value), max(plain.high, value)
    wins = np.where(longer == 0, 0.5, longer > 0)
    return LengthControl(
        accuracy=Estimate(value, low, high, *sizes),
        slope=estimate(1),
        uncontrolled=plain,
        longer_wins=mean(wins.tolist(), groups, seed=seed),
    )


def logistic(won: Floats, predictor: Floats, weights: Floats, start: Floats | None = None) -> Floats:
    """Intercept and slope, (fits, 2), of Firth's penalised logistic regression of `won` on `predictor`, (n,) each.

    `weights` (fits, n) are how many times each observation counts in each fit. The penalty is ½ log det of the
    information, by Newton's steps on Firth's modified score from `start` (2,) or zeros.
    """
    beta = np.tile(np.zeros(2) if start is None else start, (len(weights), 1))
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid_of(beta[:, :1] + beta[:, 1:] * predictor)
        spread = p * (1 - p)
        one, two, three, determinant = _information(weights * spread, predictor)
        leverage = spread * (three - 2 * two * predictor + one * predictor**2) / determinant
        residual = weights * (won - p + leverage * (0.5 - p))
        score = residual.sum(1, keepdims=True), (residual @ predictor)[:, None]
        # The score is that of observations counted 1 + leverage times: by their information the steps come to rest.
        one, two, three, determinant = _information(weights * spread * (1 + leverage), predictor)
        step = np.hstack([three * score[0] - two * score[1], one * score[1] - two * score[0]]) / determinant
        size = np.abs(step).max(axis=1, keepdims=True)
        beta += step * np.minimum(1.0, _LONGEST_STEP / np.maximum(size, 1e-300))
        if size.max() < 1e-9:
            break
    return beta


def _information(weights: Floats, predictor: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Of intercept and slope, (fits, 1) each: the corner of one, what they share, the other's, and the determinant."""
    one, two, three = ((weights @ predictor**power)[:, None] for power in range(3))
    # Where the predictor does not vary in a draw, many fits are equal: the ridge leads to the smallest.
    one, three = one + 1e-9, three + 1e-9
    return one, two, three, one * three - two**2


def _sigmoid(value: float) -> float:
    return float(_sigmoid_of(np.asarray(value)))


def _sigmoid_of(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -500, 500)))
