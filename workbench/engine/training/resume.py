"""Where a worker begins: at the newest complete checkpoint of its run, or at the beginning."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from workbench.console import say
from workbench.runs.checkpoints import RunProgress, name_in_run, newest_intact, progress
from workbench.runs.events import Resumed
from workbench.runs.folder import RunFolder
from workbench.runs.state import RunState, fold
from workbench.runs.writer import EventWriter

_SAME_LOSS = 1e-3


@dataclass(frozen=True, slots=True)
class Origin:
    """`checkpoint` is None for the beginning. `state` is what earlier workers told, where it still holds.

    `losses` are those of the steps after it that an earlier worker made, by step: they are to come out again.
    """

    checkpoint: Path | None
    at: RunProgress
    state: RunState
    losses: dict[int, float]

    @property
    def evaluated(self) -> bool:
        """Whether the evaluation at this very step has been told."""
        return any(evaluation.step == self.at.step for evaluation in self.state.evals)

    def check_first(self, step: int, loss: float) -> str:
        """What is wrong where the loss at `step` is not what an earlier worker found there; empty where all is well."""
        before = self.losses.get(step)
        if before is None or abs(loss - before) <= _SAME_LOSS * max(1.0, abs(before)):
            return ""
        return f"At step {step} the loss is {loss:.4f}; before the interruption it was {before:.4f}."


def find_origin(folder: RunFolder, events: EventWriter) -> Origin:
    """The place to begin at; tells of checkpoints that had to be skipped, and where an earlier worker's run goes on.

    Raises `WorkbenchError` where the newest complete checkpoint cannot be read.
    """
    state = folder.state()
    checkpoint, skipped = newest_intact(folder)
    at = progress(checkpoint) if checkpoint else RunProgress()
    where = f"from {checkpoint.name}" if checkpoint else "from the beginning"
    if skipped:
        names = "; ".join(f"{path.name} {wrong}" for path, wrong in skipped)
        title = "A checkpoint was skipped" if len(skipped) == 1 else "Checkpoints were skipped"
        events.warn(title, f"{names}. The run goes on {where}.", at.step)
    if state.started is None and state.end is None and checkpoint is None:
        return Origin(None, at, state, {})
    if checkpoint is None and state.step and not skipped:
        events.warn("The run begins anew", f"Step {state.step} was reached, but no checkpoint is there.")
    path = name_in_run(checkpoint) if checkpoint else ""
    resumed = Resumed(time=time.time(), step=at.step, checkpoint=path)
    events.write(resumed)
    say(f"Resumes {where}")
    losses = {
        logged.step: logged.metrics["loss"]
        for logged in state.steps
        if logged.step > at.step and "loss" in logged.metrics
    }
    return Origin(checkpoint, at, fold([resumed], state), losses)
