"""What a run has told so far, as far as its health depends on it, and windows over it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from workbench.runs.events import Eval, Event, Resumed, Sample, Started, Step

_SHORTEST, _LONGEST = 3, 50
"""Bounds of a rolling window, in logged steps: fewer than three is an accident; more would hold an alert back."""

_KEPT = 1000
"""Latest steps kept, of which windows use a part: a long run must not fill the worker's memory."""


@dataclass(slots=True)
class History:
    """Events that still count, oldest first: after a resumption, none from beyond its step."""

    first_loss: float | None
    beta: float | None
    online: bool = False
    started: Started | None = None
    steps: list[Step] = field(default_factory=list)
    evals: list[Eval] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    first_steps: list[Step] = field(default_factory=list)
    newest: Step | Eval | None = None
    resumed_at: int = 0

    def add(self, event: Event) -> None:
        """Takes note of `event`."""
        match event:
            case Started():
                self.started = event
            case Step():
                self.steps.append(event)
                self.newest = event
                if len(self.first_steps) < _SHORTEST:
                    self.first_steps.append(event)
                if len(self.steps) > 2 * _KEPT:
                    del self.steps[:_KEPT]
            case Eval():
                self.evals.append(event)
                self.newest = event
            case Sample():
                self.samples.append(event)
            case Resumed():
                self.steps = [earlier for earlier in self.steps if earlier.step <= event.step]
                self.first_steps = [earlier for earlier in self.first_steps if earlier.step <= event.step]
                self.evals = [earlier for earlier in self.evals if earlier.step <= event.step]
                self.samples = [earlier for earlier in self.samples if earlier.step <= event.step]
                self.resumed_at = event.step

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run; 0: not known."""
        return self.started.total_steps if self.started else 0

    def window(self, share: float = 0.1, shortest: int = _SHORTEST) -> int:
        """So many logged steps as make up this share of the run, within bounds; the longest while that is not known."""
        latest = self.steps[-10:]
        stride = (latest[-1].step - latest[0].step) / (len(latest) - 1) if len(latest) > 1 else 1.0
        if self.total_steps <= 0 or stride <= 0:
            return _LONGEST
        return max(shortest, min(_LONGEST, math.ceil(share * self.total_steps / stride)))

    def latest(self, count: int) -> list[Step]:
        """The latest so many logged steps; none while there are fewer."""
        return self.steps[-count:] if len(self.steps) >= count else []

    def rate_setting(self, times: float) -> str:
        """The setting for a learning rate so many times the highest seen lately, as it is given on the command line."""
        rates = [step.metrics.get("learning_rate", 0.0) for step in self.steps[-_LONGEST:]]
        peak = max((rate for rate in rates if math.isfinite(rate)), default=0.0)
        return f"--set learning_rate={times * peak:.2g}" if peak > 0 else "--set learning_rate=…"

    def beta_setting(self, times: float) -> str:
        """The setting for so many times the beta of the run."""
        return f"--set beta={times * self.beta:.2g}" if self.beta else "--set beta=…"

    def hold_back(self, times: float, rate: float) -> str:
        """What holds a run back, as the end of a sentence: so many times its beta, where the method has a reference."""
        if self.beta is None:
            return f"go slower: {self.rate_setting(rate)}"
        return f"hold the model closer and go slower: {self.beta_setting(times)} {self.rate_setting(rate)}"

    def is_last(self, event: Event) -> bool:
        """Whether the run ends with this event's step."""
        return 0 < self.total_steps <= event.step


def value(event: Step | Eval, name: str) -> float:
    """A metric; NaN, with which every comparison is false, where the event has none."""
    return event.metrics.get(name, math.nan)


def values(events: Iterable[Step | Eval], name: str) -> list[float]:
    """A metric of each event, NaN where one has none."""
    return [value(event, name) for event in events]


def mean(steps: Sequence[Step], name: str) -> float:
    """The mean of a metric over the pairs of `steps`, NaN where one has none.

    Pairs, not steps: the last batch of an epoch may hold three pairs, and its numbers stand out accordingly.
    """
    if not steps:
        return math.nan
    later = [max(1, new.pairs - old.pairs) for old, new in pairwise(steps)]
    weights = [later[0] if later else 1, *later]  # how many pairs the first step had is not known
    total = sum(weights)
    return sum(value(step, name) * (weight / total) for step, weight in zip(steps, weights, strict=True))


def after_warmup(steps: Sequence[Step]) -> bool:
    """Whether the learning rate was at work throughout and no longer rising; taken for granted where it is not told."""
    rates = [step.metrics["learning_rate"] for step in steps if "learning_rate" in step.metrics]
    return not rates or (rates[0] > 0 and rates[0] >= max(rates))
