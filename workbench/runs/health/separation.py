"""The pairs are told apart at once: they are too easy to teach anything, or something gives the answer away."""

from __future__ import annotations

from itertools import takewhile

from workbench.runs.events import Step
from workbench.runs.health.detector import Finding
from workbench.runs.health.history import History, mean, value

EARLY_SHARE = 0.1
EARLY_STEPS = 5
"""*At once* is within the first tenth of the run, or the first five steps of a short one."""
MARGIN = 3.0
"""The mean reward margin at which DPO has 5% of its gradient left (sigmoid(-3)): nothing more is to be learned.
Accuracy alone says little: it is 1.0 after one update wherever all pairs pull in the same direction."""
PAIRS = 32
"""Pairs never seen before that were all told apart; with an honest 90% that happens once in thirty."""


def at_once(history: History) -> Finding | None:
    """Accuracy 1.0 with a decisive margin, step after step, on pairs of the first epoch near the run's beginning."""
    latest, total = history.steps[-1], history.total_steps
    if not latest.step <= max(EARLY_STEPS, EARLY_SHARE * total) or latest.epoch > 1:
        return None
    steps = list(reversed(list(takewhile(_decided, reversed(history.steps)))))
    if not steps or len(steps) == len(history.steps):
        return None  # Before the first step, whose accuracy is 0, it is not known from where to count.
    pairs = latest.pairs - history.steps[-len(steps) - 1].pairs
    if pairs < PAIRS:
        return None
    margin = mean(steps, "rewards/margins")
    loss = value(latest, "loss")
    return Finding(
        "Accuracy is 1.0 at once",
        f"After {latest.step} of {total} steps every one of the last {pairs} pairs, none seen before, is told apart "
        f"with a mean margin of {margin:.2f} (loss {loss:.2g}). Either the pairs are too easy, or something else than "
        "quality gives chosen away: its length, a phrase, a format.",
        "See what sets chosen apart: workbench check (length, duplicates, leaks). Rejected answers that are nearly "
        f"right teach more. If the pairs are as they should be: {history.rate(0.1)}.",
    )


def _decided(step: Step) -> bool:
    return value(step, "rewards/accuracies") == 1.0 and value(step, "rewards/margins") >= MARGIN
