"""Turns what the trainer does into events, and what the user asks into a stop or a pause."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.console import say
from workbench.engine.model.loading import peak_memory
from workbench.engine.training.control import Control
from workbench.engine.training.instruments import Divergence, Movement, Sampler
from workbench.engine.training.resume import Origin
from workbench.engine.training.watcher import Due, Watcher
from workbench.runs.checkpoints import checkpoint_path, name_in_run
from workbench.runs.events import Checkpoint, Continued, Eval, Event, Paused, Step
from workbench.runs.folder import RunFolder
from workbench.runs.health import Health
from workbench.runs.quantities import headline
from workbench.runs.writer import EventWriter

_PACE = 0.2
"""Seconds between two looks at what a paused worker is asked."""


@dataclass(frozen=True, slots=True)
class Instruments:
    """What is measured beside the trainer's own metrics. `sample_every` 0: at every evaluation.

    None where the method trains no model that answers.
    """

    trainer: Any
    movement: Movement
    divergence: Divergence | None
    sampler: Sampler | None
    sample_every: int


class Reporter(Watcher):
    """Writes a run's events while it trains. `instruments` are set once there is something to measure.

    `origin` is where its worker begins. `waited` counts the seconds spent paused.
    """

    def __init__(
        self,
        folder: RunFolder,
        events: EventWriter,
        health: Health,
        control: Control,
        origin: Origin,
    ) -> None:
        self.instruments: Instruments
        self.waited = 0.0
        self._folder, self._events, self._health, self._control = folder, events, health, control
        self._origin = origin
        self._began = self._step_began = time.perf_counter()
        self._step_seconds = 0.0
        self._pairs = self._tokens = 0
        self._training = self._pauses = self._evaluates = self._logged = False

    @property
    def seconds(self) -> float:
        """That the training has taken so far, by all workers of the run; pauses left out.

        No calendar: a machine's clock may jump, this one does not.
        """
        return self._origin.at.seconds + time.perf_counter() - self._began - self.waited

    def training_begins(self, step: int, *, evaluates: bool) -> None:
        """Starts the clock; names what comes first."""
        trainer = self.instruments.trainer
        self._pairs, self._tokens = trainer.pairs_done, trainer.tokens_done
        self._began = time.perf_counter()
        before = "evaluating before the next step" if step else "evaluating before the first step"
        self._evaluates = evaluates
        self._events.phase(before if evaluates else "training", step)

    def step_begins(self, step: int) -> None:
        """Before the first step, looks for a stop."""
        if not self._training:
            self._training = True
            self._control.check_stop()
            if step == 0 and self.instruments.sample_every:
                self._sample(step)
            if self._evaluates:
                self._events.phase("training", step)
        self._step_began = time.perf_counter()

    def memory_ran_out(self, step: int, tokens: int) -> None:
        """Warns: it goes on, slower."""
        self._events.warn(
            "The device ran out of memory, and the step was made again in smaller parts",
            f"From now on {tokens:,} tokens at most go through the model at once. The numbers are the same. Something "
            "else may use the device; or lower batch_size or max_length.",
            step,
        )

    def step_ends(self, step: int, due: Due) -> None:
        """Looks for what is asked: after a stop or a pause, saves. What is saved is logged, as is the last step.

        So means over several steps never reach across a checkpoint, and come out the same after resuming from it.
        """
        self._step_seconds += time.perf_counter() - self._step_began
        self._control.check_run_exists()
        last = due.stop
        stops = self._control.stop and not last
        self._pauses = self._control.pause and not last and not stops
        if stops:
            due.stop, due.evaluate = True, False
        if stops or self._pauses:
            due.save = True
        if last or due.save:
            due.log = True
        every = self.instruments.sample_every
        if every and not stops and (last or step % every == 0):
            self._sample(step)

    def batch_evaluated(self) -> None:
        """An evaluation is given up at once."""
        self._control.check_stop()

    def saved(self, step: int) -> bool:
        """Names the checkpoint; after that is the place to wait."""
        path = checkpoint_path(self._folder.checkpoints, step)
        self._events.write(Checkpoint(time=time.time(), step=step, path=name_in_run(path)))
        stop = False
        if self._pauses and not self._control.stop:
            self._wait(step)
            stop = self._control.stop
        self._pauses = False
        return stop

    def evaluated(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Writes an `Eval`; lets both models answer."""
        trainer, metrics = self.instruments.trainer, dict(metrics)
        # Methods that learn from the model's own answers measure it on those.
        if self.instruments.divergence and "kl" not in metrics:
            metrics["kl"] = self.instruments.divergence(trainer.model)
        self.tell(Eval(**self._so_far(step, epoch), metrics=metrics))
        say(f"evaluation at step {step}  loss {metrics['loss']:.4f}")
        if not self.instruments.sample_every:
            self._sample(step)

    def logged(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Writes a `Step`."""
        trainer, metrics = self.instruments.trainer, dict(metrics)
        metrics["adapter/changed"] = self.instruments.movement.of_first()
        pairs, tokens, seconds = (
            trainer.pairs_done - self._pairs,
            trainer.tokens_done - self._tokens,
            self._step_seconds,
        )
        self._pairs, self._tokens, self._step_seconds = trainer.pairs_done, trainer.tokens_done, 0.0
        event = Step(
            **self._so_far(step, epoch),
            metrics=metrics,
            pairs_per_second=pairs / seconds if seconds else 0.0,
            tokens_per_second=tokens / seconds if seconds else 0.0,
            memory_bytes=peak_memory(),
        )
        self.tell(event)
        values = "  ".join(f"{label} {value:.4f}" for label, value in headline(metrics))
        say(f"step {step}/{trainer.total_steps}  {values}  {event.pairs_per_second:.1f} pairs/s")
        if not self._logged and (wrong := self._origin.check_first(step, metrics["loss"])):
            self._events.warn("The run does not go on where it was", wrong, step)
        self._logged = True

    def _so_far(self, step: int, epoch: float) -> dict[str, Any]:
        pairs = self.instruments.trainer.pairs_done
        return {"time": time.time(), "step": step, "epoch": epoch, "seconds": self.seconds, "pairs": pairs}

    def _sample(self, step: int) -> None:
        if self.instruments.sampler:
            for event in self.instruments.sampler(self.instruments.trainer.model, step):
                self.tell(event)

    def _wait(self, step: int) -> None:
        """Until the pause is over, or a stop asked for. The time does not count."""
        began = time.perf_counter()
        self._events.write(Paused(time=time.time(), step=step))
        say(f"paused at step {step}")
        while self._control.pause and not self._control.stop:
            time.sleep(_PACE)
            self._control.check_run_exists()
        if not self._control.stop:
            self._events.write(Continued(time=time.time(), step=step))
        self.waited += time.perf_counter() - began

    def tell(self, event: Event) -> None:
        """Writes an event, and the alerts that it gives rise to."""
        self._events.write(event)
        for alert in self._health.observe(event):
            self._events.write(alert)
            say(f"Warning: {alert.title}. {alert.message} {alert.remedy}")
