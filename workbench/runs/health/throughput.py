"""The run has become slow: something else has taken the machine, or it is out of memory, or too hot."""

from __future__ import annotations

from statistics import median

from workbench.runs.health.detector import Finding
from workbench.runs.health.history import History

SHARE = 1 / 3
"""Of the run's own median speed: epochs' short last batches and long texts halve the speed of single steps."""
STEPS = 3
"""In a row at least; in long runs a fiftieth of the steps, so that another's short job is no alarm."""
_KNOWN = 5
"""Steps whose median is taken for the run's own speed."""


def collapsed(history: History) -> Finding | None:
    """Pairs a second, and tokens a second where they are told, are below a third of the median for steps in a row.

    Tokens as well, since a batch of long texts has few pairs a second and nothing is wrong with it. Steps before a
    resumption do not count: it may go on on another machine.
    """
    count = history.window(1 / 50, shortest=STEPS)
    steps = [each for each in history.steps if each.step > history.resumed_at]
    latest, earlier = steps[-count:], steps[:-count]
    if len(earlier) < _KNOWN:
        return None
    usual = median(each.pairs_per_second for each in earlier)
    usual_tokens = median(each.tokens_per_second for each in earlier)
    slow = all(each.pairs_per_second < SHARE * usual for each in latest)
    slow_tokens = usual_tokens <= 0 or all(each.tokens_per_second < SHARE * usual_tokens for each in latest)
    if not (slow and slow_tokens):
        return None
    now = median(each.pairs_per_second for each in latest)
    return Finding(
        "The run has become slow",
        f"The last {len(latest)} steps, up to step {latest[-1].step}, made {now:.3g} pairs a second; "
        f"the median before was {usual:.3g}.",
        "See what else uses the machine (nvidia-smi, top), whether memory is swapped out, and whether the GPU is too "
        "hot. The run can be paused until the machine is free.",
    )
