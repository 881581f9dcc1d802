"""Likelihood displacement: the margin grows while both answers become less likely, and a third takes their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.runs.health.detector import Finding
from workbench.runs.health.history import History, mean, value

NATS = 1.0
"""Chosen has lost this much log-probability: it is less than 37% as likely as before training."""
SHARE = 0.1
"""And this share of what it had: a long answer of -270 nats wavers by more than one, and DPO runs that turn out well
have been seen to lose 7%."""
MARGIN = 0.05
"""Below it the margin has not grown: the model drifts, but not by this."""
STEPS_SHARE = 0.25
_PATIENCE = 5
"""Of the run, before it is judged by its steps: what falls at first often comes back."""


def both_fall(history: History) -> Finding | None:
    """Judged on the held-out pairs where there are any, twice in a row or at the end; else over a window of steps."""
    if history.evals:
        latest = history.evals[-2:]
        if len(latest) < 2 and not history.is_last(latest[-1]):
            return None
        if history.is_last(latest[-1]):
            latest = latest[-1:]
        found = [_fallen(history, {name: value(each, name) for name in _NAMES}) for each in latest]
        return _finding(history, latest[-1].step, "held-out", found[-1]) if all(found) else None
    if history.started and history.started.holdout_pairs:
        return None
    if not history.latest(history.window(STEPS_SHARE, shortest=_PATIENCE)):
        return None
    steps = history.latest(history.window())
    return _finding(history, steps[-1].step, "training", _fallen(history, {name: mean(steps, name) for name in _NAMES}))


_NAMES = ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")


@dataclass(frozen=True, slots=True)
class _Fallen:
    """Log-probabilities before training and now, and the margin now."""

    chosen: tuple[float, float]
    rejected: tuple[float, float]
    margin: float


def _fallen(history: History, seen: Mapping[str, float]) -> _Fallen | None:
    """What has fallen; None where not both answers have, or the margin has not grown.

    A reward is beta times the log-probability gained since before training, whatever the batch: so each event tells
    where it began.
    """
    if not history.beta:
        return None
    found = []
    for side in ("chosen", "rejected"):
        gained, now = seen[f"rewards/{side}"] / history.beta, seen[f"logps/{side}"]
        before = now - gained
        if not (-gained > NATS and -gained > SHARE * abs(before)):
            return None
        found.append((before, now))
    margin = seen["rewards/margins"]
    return _Fallen(found[0], found[1], margin) if margin > MARGIN else None


def _finding(history: History, step: int, where: str, fallen: _Fallen | None) -> Finding | None:
    if fallen is None:
        return None
    chosen, rejected = (f"from {before:.2f} to {now:.2f}" for before, now in (fallen.chosen, fallen.rejected))
    return Finding(
        "Both answers become less likely",
        f"At step {step} the margin has grown to {fallen.margin:.2f}, yet the log-probability of chosen fell {chosen} "
        f"and that of rejected {rejected} ({where} pairs). The model learns to say neither; something else takes their "
        "place.",
        "Hold the chosen answers up with an SFT term: --preset gentle. Or hold the model closer and go slower: "
        f"{history.closer(2)} {history.rate(0.5)}; and take pairs whose two answers differ more.",
    )
