"""The run comes apart: its numbers grow beyond bounds, or stop being numbers."""

from __future__ import annotations

import math
from statistics import median

from workbench.runs.events import Eval, Step
from workbench.runs.health.detector import Finding
from workbench.runs.health.history import History, value, values

GRADIENT_TIMES = 30.0
GRADIENT_LEAST = 10.0
"""Thirty times the run's first gradients and ten times the usual clipping length. Gradients grow a few times over when
the adapter leaves zero, and shrink once pairs are learned; in runs that broke they grew a hundred times and more."""
LOSS_TIMES = 5.0
"""Of the first loss: with DPO's, chosen is by then thought 30 times less likely to be preferred than rejected."""
MARGIN = 100.0
"""Runs that turn out well end between 1 and 20; beyond 17 float32 has nothing left of the gradient."""
STEPS = 3
"""Judged by the median of so many steps, against the least gradient of the first so many (the second step may be
broken already): one bad batch is no explosion."""

_WATCHED = {
    "loss": "The loss",
    "grad_norm": "The gradient",
    "rewards/margins": "The margin",
    "rewards/chosen": "The reward of chosen",
    "rewards/rejected": "The reward of rejected",
}


def not_finite(history: History) -> Finding | None:
    """The loss, the gradient, the margin or a reward is NaN or infinite."""
    event = history.newest
    if event is None:
        return None
    for name, spoken in _WATCHED.items():
        seen = event.metrics.get(name, 0.0)
        if not math.isfinite(seen):
            where = " on held-out pairs" if isinstance(event, Eval) else ""
            return Finding(
                f"{spoken} is no longer a number",
                f"It is {seen} since step {event.step}{where}: the weights are lost, or will be with the next update.",
                f"{_remedy(history)} What was saved before step {event.step} may be good still.",
            )
    return None


def exploding(history: History) -> Finding | None:
    """The median of the latest gradients, losses or margins is out of all proportion."""
    first, latest = history.first_steps, history.latest(STEPS)
    if len(first) < STEPS or not latest or latest[-1].step <= first[-1].step:
        return None
    gradient, gradient_then = _median(latest, "grad_norm"), min(values(first, "grad_norm"))
    loss, loss_then = _median(latest, "loss"), value(first[0], "loss")
    margin = _median(latest, "rewards/margins")
    if gradient > max(GRADIENT_LEAST, GRADIENT_TIMES * gradient_then):
        return _finding(history, "gradient", f"the gradient's norm is {gradient:.3g}; it began at {gradient_then:.2g}")
    # The loss of grpo and rloo is about zero whatever happens.
    if not history.online and loss_then > 0 and loss > LOSS_TIMES * loss_then:
        return _finding(history, "loss", f"the loss is {loss:.3g}; it began at {loss_then:.3g}")
    if abs(margin) > MARGIN:
        return _finding(history, "margin", f"the margin is {margin:.4g}, where 1 to 20 is usual")
    return None


def _finding(history: History, what: str, seen: str) -> Finding:
    return Finding(
        f"The {what} explodes",
        f"Over the last {STEPS} steps, up to step {history.steps[-1].step}, {seen}: "
        "updates are larger than the model can follow.",
        _remedy(history) + (f" Or a tenth of beta: {history.closer(0.1)}." if what == "margin" else ""),
    )


def _remedy(history: History) -> str:
    return (
        f"Stop the run. Take a tenth of the learning rate: {history.rate(0.1)}; with --set warmup=0.1; "
        "max_grad_norm should be 1 or less."
    )


def _median(steps: list[Step], name: str) -> float:
    found = values(steps, name)
    return math.nan if any(math.isnan(each) for each in found) else median(found)
