"""Nothing happens: the adapter's weights stay where they began, or they move and the margin does not."""

from __future__ import annotations

import math

from workbench.runs.health.detector import Finding
from workbench.runs.health.history import History, after_warmup, mean, value

CHANGED = 0.5
"""Adam moves each entry by about the learning rate a step, so in a healthy run all of A has moved after the second
update. Where fewer than half has, updates are lost to rounding, or there is no gradient."""
NO_GRADIENT = 1e-7
"""A gradient shorter than float32's rounding of the loss is none."""
MARGIN = 0.01
"""A margin of 0.01 is a probability of 0.5025 that chosen is preferred: a coin."""
SHARE = 0.25
"""Of the run, with the warm-up over, after which the margin must have left zero."""
_PATIENCE = 5
"""Logged steps at full learning rate that even the shortest run gets."""


def not_moving(history: History) -> Finding | None:
    """Most entries of LoRA's A are what they were before the first step."""
    steps = history.latest(history.window(shortest=_PATIENCE))
    if not steps or not after_warmup(steps):
        return None
    changed = value(steps[-1], "adapter/changed")
    if not changed < CHANGED:
        return None
    gradient, rate = mean(steps, "grad_norm"), value(steps[-1], "learning_rate")
    if gradient < NO_GRADIENT:
        reason = "There is no gradient: chosen and rejected are the same in every pair, or are cut to the same."
        remedy = "Look for identical and truncated pairs: workbench check; raise max_length where answers are cut."
    else:
        told = "" if math.isnan(rate) else f" of {rate:.2g}"
        reason = f"A learning rate{told} is too small to change them."
        remedy = "Stop the run and raise it: --set learning_rate=5e-5; under 100 million parameters --preset small."
    return Finding(
        "The adapter's weights do not move",
        f"After {steps[-1].step} steps {changed:.1%} of the entries of LoRA's A differ from their beginning "
        f"(gradient norm {gradient:.2g}). {reason}",
        remedy,
    )


def stuck(history: History) -> Finding | None:
    """A quarter of the run is done and the margin is still zero; with DPO's loss that is ln 2."""
    since = history.latest(history.window(SHARE, shortest=_PATIENCE))
    if not since or not after_warmup(since):
        return None
    steps = since[-history.window() :]
    margin, loss = mean(steps, "rewards/margins"), mean(steps, "loss")
    if not abs(margin) < MARGIN:
        return None
    must = history.first_loss
    at = f" at {must:.4f}" if must is not None else ""
    rate = value(steps[-1], "learning_rate")
    told = "" if math.isnan(rate) else f" at a learning rate of {rate:.2g}"
    return Finding(
        f"The loss is stuck{at}" if must is not None else "The margin is stuck at zero",
        f"After {steps[-1].step} steps{told} the margin is {margin:.4f} and the loss {loss:.4f}: "
        "the model does not yet tell chosen from rejected better than before.",
        f"Raise the learning rate, ten times at first: {history.rate(10)}; under 100 million parameters "
        "--preset small. If that changes nothing, the labels may contradict each other: workbench check.",
    )
