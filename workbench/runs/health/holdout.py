"""Overfitting: on the training pairs it goes on getting better, on held-out pairs it gets worse."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.runs.events import Eval
from workbench.runs.health.detector import Finding
from workbench.runs.health.history import History, mean, value

MARGIN_SHARE = 0.1
MARGIN_LEAST = 0.05
"""The held-out margin lost a tenth of its best, and at least 0.05: near its ceiling it wavers by a few percent."""
ENOUGH = 5.0
"""A higher margin counts as this much: chosen is preferred at 99.3%, and a fall from 17 to 15 costs nothing."""
LOSS_SHARE = 0.1
LOSS_LEAST = 0.05
"""The held-out loss rose by a tenth of its lowest and at least 0.05, a fourteenth of ln 2."""


def overfitting(history: History) -> Finding | None:
    """Twice in a row, or at the end of the run, the held-out margin is lower or the loss higher than it was at best."""
    evals = history.evals
    latest = evals[-1:] if history.is_last(evals[-1]) else evals[-2:]
    earlier = evals[: -len(latest)]
    if not earlier or (len(latest) < 2 and not history.is_last(latest[-1])):
        return None
    return _margin_fell(history, earlier, latest) or _loss_rose(history, earlier, latest)


def _margin_fell(history: History, earlier: Sequence[Eval], latest: Sequence[Eval]) -> Finding | None:
    best = max(earlier, key=lambda each: _or(value(each, "rewards/margins"), float("-inf")))
    top = value(best, "rewards/margins")
    enough = min(top, ENOUGH)
    limit = enough - max(MARGIN_LEAST, MARGIN_SHARE * abs(enough))
    if not all(value(each, "rewards/margins") < limit for each in latest):
        return None
    then, now = _trained(history, best, "rewards/margins"), _trained(history, latest[-1], "rewards/margins")
    if not now > then:
        return None
    return _finding(
        history,
        best,
        latest[-1],
        f"the held-out margin fell from {top:.2f} (step {best.step}) to {value(latest[-1], 'rewards/margins'):.2f}, "
        f"while that of the training pairs rose from {then:.2f} to {now:.2f}",
    )


def _loss_rose(history: History, earlier: Sequence[Eval], latest: Sequence[Eval]) -> Finding | None:
    best = min(earlier, key=lambda each: _or(value(each, "loss"), float("inf")))
    lowest = value(best, "loss")
    limit = lowest + max(LOSS_LEAST, LOSS_SHARE * abs(lowest))
    if not all(value(each, "loss") > limit for each in latest):
        return None
    then, now = _trained(history, best, "loss"), _trained(history, latest[-1], "loss")
    if not now < then:
        return None
    return _finding(
        history,
        best,
        latest[-1],
        f"the held-out loss rose from {lowest:.3f} (step {best.step}) to {value(latest[-1], 'loss'):.3f}, "
        f"while that of the training pairs fell from {then:.3f} to {now:.3f}",
    )


def _trained(history: History, at: Eval, name: str) -> float:
    """A metric of the training pairs over the window that ends with `at`; after it, where nothing came before."""
    count = history.window()
    before = [each for each in history.steps if each.step <= at.step][-count:]
    return mean(before or history.steps[:count], name)


def _or(number: float, other: float) -> float:
    return other if number != number else number


def _finding(history: History, best: Eval, latest: Eval, seen: str) -> Finding:
    held = history.held(2, 0.5)
    stop = f"Stop at about step {best.step}: --set max_steps={best.step}. Or {held}" if best.step > 0 else held
    return Finding(
        "The run overfits",
        f"By step {latest.step} {seen}: it learns its pairs by heart and does worse on others.",
        f"{stop[0].upper()}{stop[1:]}; take more pairs; and look for "
        "labels that contradict each other: workbench check.",
    )
