"""Is the run learning, and learning the right thing? Alerts in plain words, from the run's own events."""

from __future__ import annotations

import math

from workbench.runs.events import Event, Step, Warned


class Health:
    """Watches the events of a run. `first_loss` is what the first batch's loss must be, None: not known.

    Each kind of alert comes once; `told` has the codes of those that an earlier worker of the run has told.
    """

    def __init__(self, first_loss: float | None, told: frozenset[str] = frozenset()) -> None:
        self._first_loss = first_loss
        self._told = set(told)

    def observe(self, event: Event) -> list[Warned]:
        """The alerts that `event` gives rise to."""
        found = list(self._of_step(event)) if isinstance(event, Step) else []
        new = [each for each in found if each.code not in self._told]
        self._told.update(each.code for each in new)
        return new

    def _of_step(self, step: Step) -> list[Warned]:
        found = []
        loss = step.metrics.get("loss", 0.0)
        reward = max(abs(step.metrics.get(f"rewards/{side}", 0.0)) for side in ("chosen", "rejected"))
        if step.step == 1 and self._first_loss is not None and not abs(loss - self._first_loss) <= 1e-3:
            found.append(
                _alert(
                    step,
                    "first-loss",
                    "The loss did not begin where it must",
                    f"Before the first update model and reference are the same and the loss is {self._first_loss:.4f}; "
                    f"it was {loss:.4f}. The reference is wrong, or the model computes with too little precision.",
                    "Stop the run; check model and quantization.",
                )
            )
        elif step.step == 1 and not reward <= 1e-2:
            found.append(
                _alert(
                    step,
                    "first-loss",
                    "The rewards did not begin at zero",
                    f"Before the first update model and reference are the same; yet a reward was {reward:.4f}. "
                    "The reference is wrong, or the model computes with too little precision.",
                    "Stop the run; check model and quantization.",
                )
            )
        if not math.isfinite(loss):
            found.append(
                _alert(
                    step,
                    "not-finite",
                    "The loss is no longer a number",
                    f"It is {loss} since step {step.step}.",
                    "Stop the run; try a lower learning_rate.",
                )
            )
        return found


def _alert(event: Event, code: str, title: str, message: str, remedy: str) -> Warned:
    return Warned(time=event.time, step=event.step, code=code, title=title, message=message, remedy=remedy)
