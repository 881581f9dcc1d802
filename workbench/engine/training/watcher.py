"""What is told of a training while it goes on, and who may want to hear it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Due:
    """What follows a step. `stop` ends the training once the rest is done."""

    log: bool = False
    evaluate: bool = False
    save: bool = False
    stop: bool = False


class Watcher:
    """Is told what happens in a training, in every process. This one does nothing."""

    @property
    def seconds(self) -> float:
        """That the training has taken so far, by all workers of the run; pauses left out."""
        return 0.0

    def training_begins(self, step: int, *, evaluates: bool) -> None:
        """`step` steps are done. `evaluates`: the held-out pairs come before the next one."""

    def step_begins(self, step: int) -> None:
        """`step` steps are done, and the next one begins. May raise `StopRequested`."""

    def step_ends(self, step: int, due: Due) -> None:
        """`step` steps are done. May change what is due."""

    def memory_ran_out(self, step: int, tokens: int) -> None:
        """The device had no memory left after `step` steps: from now on it gets so many tokens at once."""

    def batch_evaluated(self) -> None:
        """A batch of held-out pairs is done. May raise `StopRequested`."""

    def logged(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Means over the steps since this was told last."""

    def evaluated(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Means over the held-out pairs."""

    def saved(self, step: int) -> bool:  # noqa: ARG002 - what others are told
        """A checkpoint is written. Whether to stop."""
        return False
