"""Turns what the trainer does into events, and a stop file into a stop."""

# ruff: noqa: ARG002 - the signatures are those that transformers calls.
from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from workbench.runs.events import Checkpoint, Eval, Event, Step
from workbench.runs.folder import RunFolder
from workbench.runs.health import Health
from workbench.runs.writer import EventWriter

_NOT_METRICS = ("epoch", "runtime", "samples_per_second", "steps_per_second")


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """Someone asked the run to stop while no step was being made."""


class Reporter(TrainerCallback):
    """Writes a run's events while it trains. `trainer` is set once there is one; it counts the pairs."""

    def __init__(self, folder: RunFolder, events: EventWriter, health: Health) -> None:
        self.trainer: Any = None
        self._folder, self._events, self._health = folder, events, health
        self._first = self._began = self._seconds = 0.0
        self._pairs = 0

    def check_stop(self) -> None:
        """Raises `StopRequested` where someone asked for it. For use where no step is being made."""
        if self._folder.stop.exists():
            raise StopRequested

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Names what comes first."""
        self._first = time.perf_counter()
        self._events.phase("evaluating before the first step" if args.eval_on_start else "training", state.global_step)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Starts the clock; looks for a stop before the first step."""
        if state.global_step == 0:
            self.check_stop()
            if args.eval_on_start:
                self._events.phase("training")
        self._began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stops the clock; after a stop was asked for, saves and ends. The last step is always logged."""
        self._seconds += time.perf_counter() - self._began
        stops = self._folder.stop.exists() and state.global_step < state.max_steps
        if stops:
            control.should_training_stop = control.should_save = True
            control.should_evaluate = False
        if stops or state.global_step >= state.max_steps:
            control.should_log = True

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """An evaluation is given up at once."""
        self.check_stop()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **_: Any,
    ) -> None:
        """Writes a `Step` or an `Eval`."""
        epoch, now = float(logs.get("epoch", 0.0)), time.time()
        if "eval_loss" in logs:
            metrics = {name.removeprefix("eval_"): float(value) for name, value in logs.items()}
            for name in _NOT_METRICS:
                metrics.pop(name, None)
            self._tell(
                Eval(
                    time=now,
                    step=state.global_step,
                    epoch=epoch,
                    seconds=time.perf_counter() - self._first,
                    pairs=self.trainer.pairs_done,
                    metrics=metrics,
                )
            )
            print(f"evaluation at step {state.global_step}  loss {metrics['loss']:.4f}")
        elif "loss" in logs:
            metrics = {name: float(value) for name, value in logs.items() if name not in _NOT_METRICS}
            pairs, seconds = self.trainer.pairs_done - self._pairs, self._seconds
            self._pairs, self._seconds = self.trainer.pairs_done, 0.0
            speed = pairs / seconds if seconds else 0.0
            step = Step(
                time=now,
                step=state.global_step,
                epoch=epoch,
                seconds=time.perf_counter() - self._first,
                pairs=self.trainer.pairs_done,
                metrics=metrics,
                pairs_per_second=speed,
                tokens_per_second=0.0,
                memory_bytes=0,
            )
            self._tell(step)
            print(f"step {step.step}/{state.max_steps}  loss {metrics['loss']:.4f}  {speed:.1f} pairs/s")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Names the checkpoint."""
        path = self._folder.checkpoints / f"checkpoint-{state.global_step}"
        event = Checkpoint(time=time.time(), step=state.global_step, path=str(path.relative_to(self._folder.path)))
        self._events.write(event)

    def _tell(self, event: Event) -> None:
        """Writes an event, and the alerts that it gives rise to."""
        self._events.write(event)
        for alert in self._health.observe(event):
            self._events.write(alert)
            print(f"Warning: {alert.title}. {alert.message} {alert.remedy}")
