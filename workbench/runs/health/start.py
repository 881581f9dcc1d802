"""The first step: before any update, model and reference are the same."""

from __future__ import annotations

import math

from workbench.runs.health.detector import Finding
from workbench.runs.health.history import History

LOSS_TOLERANCE = 1e-3
"""float32 on the CPU is off by 1e-7, bfloat16 on a GPU by a few 1e-4; a wrong reference by far more."""
REWARD_TOLERANCE = 1e-2
"""Rewards are differences of sums over a whole response: their rounding adds up token by token."""

_REASON = "The reference is wrong, or the model computes with too little precision."
_REMEDY = "Stop the run; check model and quantization."


def wrong_beginning(history: History) -> Finding | None:
    """The first loss is not what it must be, or a first reward is not zero."""
    step = history.steps[-1]
    if step.step != 1:
        return None
    loss, must = step.metrics.get("loss", 0.0), history.first_loss
    if must is not None and not abs(loss - must) <= LOSS_TOLERANCE:
        return Finding(
            "The loss did not begin where it must",
            f"Before the first update model and reference are the same and the loss is {must:.4f}; "
            f"it was {loss:.4g}. {_REASON}",
            _REMEDY,
        )
    rewards = [step.metrics.get(f"rewards/{side}", 0.0) for side in ("chosen", "rejected")]
    reward = next((each for each in rewards if math.isnan(each)), max(map(abs, rewards)))
    if not reward <= REWARD_TOLERANCE:
        return Finding(
            "The rewards did not begin at zero",
            f"Before the first update model and reference are the same; yet a reward was {reward:.4g}. {_REASON}",
            _REMEDY,
        )
    return None
