"""What the events of a run amount to: a pure fold that the screens, the command line and the tests share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from workbench.runs.events import (
    Checkpoint,
    End,
    Eval,
    Event,
    Failed,
    Finished,
    Killed,
    Paused,
    Phase,
    Queued,
    Resumed,
    Sample,
    Started,
    Step,
    Stopped,
    Warned,
)

Status = Literal["queued", "running", "paused", "stopped", "finished", "failed", "lost"]
TERMINAL: frozenset[Status] = frozenset({"stopped", "finished", "failed"})


@dataclass(frozen=True, slots=True)
class RunState:
    """One run as its events tell it. `status` never says *lost*: that needs a look at the process (`runs.process`)."""

    status: Status = "queued"
    phase: str = ""
    step: int = 0
    started: Started | None = None
    steps: tuple[Step, ...] = ()
    evals: tuple[Eval, ...] = ()
    samples: tuple[Sample, ...] = ()
    warnings: tuple[Warned, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    end: End | None = None
    first_event: float | None = None
    last_event: float | None = None

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run; 0 until that is known."""
        return self.started.total_steps if self.started else 0

    @property
    def pairs_per_second(self) -> float | None:
        """The mean over the latest ten `Step` events."""
        latest = self.steps[-10:]
        return sum(step.pairs_per_second for step in latest) / len(latest) if latest else None

    @property
    def tokens_per_second(self) -> float | None:
        """The mean over the latest ten `Step` events."""
        latest = self.steps[-10:]
        return sum(step.tokens_per_second for step in latest) / len(latest) if latest else None

    @property
    def mean_pairs_per_second(self) -> float | None:
        """Over the whole run: all steps have as many pairs, but for the last of an epoch."""
        times = [1 / step.pairs_per_second for step in self.steps if step.pairs_per_second > 0]
        return len(times) / sum(times) if times else None

    @property
    def seconds_to_end(self) -> float | None:
        """From the first step to the end of a run that finished, evaluations and pauses included."""
        return self.end.time - self.started.time if self.started and isinstance(self.end, Finished) else None

    @property
    def seconds_left(self) -> float | None:
        """Remaining training time at the pace since the first step; None until that can be known."""
        if self.status not in ("running", "paused") or not self.steps:
            return None
        latest = self.steps[-1]
        return latest.seconds / latest.step * (self.total_steps - latest.step)


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """The state after `events`, going on from `state` where one is given."""
    state = state or RunState()
    steps: list[Step] = []
    for event in events:
        if isinstance(event, Step):
            steps.append(event)
        elif isinstance(event, Resumed):
            state = _rewound(replace(state, steps=(*state.steps, *steps)), event.step)
            steps = []
        elif isinstance(event, Started):
            state = replace(state, started=event)
        elif isinstance(event, Phase):
            state = replace(state, phase=event.name)
        elif isinstance(event, Eval):
            state = replace(state, evals=(*state.evals, event))
        elif isinstance(event, Sample):
            state = replace(state, samples=(*state.samples, event))
        elif isinstance(event, Warned):
            state = replace(state, warnings=(*state.warnings, event))
        elif isinstance(event, Checkpoint):
            state = replace(state, checkpoints=(*state.checkpoints, event))
        elif isinstance(event, End):
            state = replace(state, end=event)
        state = replace(
            state,
            status=_status_after(event),
            step=max(state.step, event.step),
            first_event=event.time if state.first_event is None else state.first_event,
            last_event=event.time,
        )
    return replace(state, steps=(*state.steps, *steps)) if steps else state


def _rewound(state: RunState, step: int) -> RunState:
    """The state without what came after `step`. Warnings stay: they were told."""
    return replace(
        state,
        step=step,
        steps=tuple(event for event in state.steps if event.step <= step),
        evals=tuple(event for event in state.evals if event.step <= step),
        samples=tuple(event for event in state.samples if event.step <= step),
        checkpoints=tuple(event for event in state.checkpoints if event.step <= step),
        end=None,
    )


def _status_after(event: Event) -> Status:
    match event:
        case Queued():
            return "queued"
        case Paused():
            return "paused"
        case Finished():
            return "finished"
        case Stopped() | Killed():
            return "stopped"
        case Failed():
            return "failed"
        case _:
            return "running"
