"""What the events of a run amount to: a pure fold that the screens, the command line and the tests share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from workbench.runs.events import Checkpoint, Eval, Event, Failed, Finished, Phase, Started, Step, Stopped, Warned

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
    warnings: tuple[Warned, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    end: Finished | Stopped | Failed | None = None
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
        return sum(each.pairs_per_second for each in latest) / len(latest) if latest else None

    @property
    def seconds_left(self) -> float | None:
        """Remaining training time at the pace since the first step; None until that can be known."""
        if self.status != "running" or self.started is None or self.last_event is None or self.step == 0:
            return None
        pace = (self.last_event - self.started.time) / self.step
        return pace * (self.total_steps - self.step)


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """The state after `events`, going on from `state` where one is given."""
    state = state or RunState()
    steps: list[Step] = []
    for event in events:
        if isinstance(event, Step):
            steps.append(event)
        elif isinstance(event, Started):
            state = replace(state, started=event)
        elif isinstance(event, Phase):
            state = replace(state, phase=event.name)
        elif isinstance(event, Eval):
            state = replace(state, evals=(*state.evals, event))
        elif isinstance(event, Warned):
            state = replace(state, warnings=(*state.warnings, event))
        elif isinstance(event, Checkpoint):
            state = replace(state, checkpoints=(*state.checkpoints, event))
        elif isinstance(event, Finished | Stopped | Failed):
            state = replace(state, end=event)
        state = replace(
            state,
            status=_status_after(event),
            step=max(state.step, event.step),
            first_event=event.time if state.first_event is None else state.first_event,
            last_event=event.time,
        )
    return replace(state, steps=(*state.steps, *steps)) if steps else state


def _status_after(event: Event) -> Status:
    match event:
        case Finished():
            return "finished"
        case Stopped():
            return "stopped"
        case Failed():
            return "failed"
        case _:
            return "running"
