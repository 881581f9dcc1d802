"""What every trainer of TRL's has in a run: counts that go on after an interruption, checkpoints that are whole or not
there, and pairs that are tokenized already."""

# ruff: noqa: ARG002 - the signatures are those that transformers calls.
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.distributed.tensor import DTensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from workbench.config import RunConfig
from workbench.engine.fast.reference import References
from workbench.engine.scoring.score_cache import ScoreCache
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import LongestFirst, lengths
from workbench.engine.training.checkpoints import adapter_state, restore_adapter, save_checkpoint
from workbench.engine.training.clock import Clock
from workbench.engine.training.control import StopRequested
from workbench.engine.training.data import Prepared, to_dataset
from workbench.engine.training.score_recorder import GatheredScoreRecorder, ScoreRecorder
from workbench.engine.training.watcher import Due, Watcher
from workbench.runs.checkpoints import Progress, progress

_NOT_METRICS = ("epoch", "runtime", "samples_per_second", "steps_per_second")


class Checkpointed(Trainer):
    """Goes before a trainer of TRL's among the bases, and makes it a `Training`.

    `order` is that of the training pairs; without one, TRL's. `saw` is told of what loss sees both responses of a pair
    at once. Of grpo and rloo, `pairs_done` counts the answers.
    """

    path, slow = "plain TRL", ""

    def __init__(self, *, keep_checkpoints: int, order: LongestFirst | None = None, **arguments: Any) -> None:
        self.saw: ScoreRecorder | GatheredScoreRecorder | None = None
        self.references: dict[str, References] = {}
        self.pairs_done = 0
        self.clock = Clock()
        self._keep, self._order = keep_checkpoints, order
        self._batches: dict[str, list[int]] = {"train": [], "eval": []}
        super().__init__(**arguments)

    def count(self, pairs: int, of_all: int | None = None) -> None:
        """Takes note of a batch that goes through the model, and of how many pairs go through it in all processes."""
        self._batches[self.mode].append(pairs)
        if self.model.training:
            self.pairs_done += pairs * distributed.count() if of_all is None else of_all

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Weights a batch's metrics by its pairs: a short last batch must not count as much as a full one."""
        mode = self.mode
        sizes, metrics = self._batches[mode], self._metrics[mode]
        for name, values in metrics.items():
            if len(values) == len(sizes):
                metrics[name] = [sum(v * n for v, n in zip(values, sizes, strict=True)) / sum(sizes)]
        sizes.clear()
        if self.saw is not None:
            self.saw.gather()
        super().log(logs, start_time)
        if mode == "train":
            # It would go into every checkpoint, megabytes of it in a long run; events.jsonl has it all.
            self.state.log_history.pop()

    @property
    def mode(self) -> str:
        """What is counted apart: "train" or "eval"."""
        return "train" if self.model.training else "eval"

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.state.global_step)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return int(self.args.max_steps)

    @property
    def tokens_done(self) -> int:
        """Tokens that went through a training step, padding left out."""
        return int(self._total_train_tokens)

    def go_on_from(self, at: Progress) -> None:
        """Counts on from a checkpoint."""
        self.pairs_done, self._total_train_tokens, self.clock = at.pairs, at.tokens, Clock(at.seconds)

    def remember(self, cache: ScoreCache, version: str) -> None:
        """Does nothing: TRL asks the reference anew in every step."""

    def close(self) -> None:
        """Does nothing."""

    def run(self, checkpoint: Path | None = None, *, evaluate_first: bool = False) -> None:
        """Trains to the end or to a stop, on from `checkpoint` where there is one.

        Raises `StopRequested` where the stop came before the first step was done.
        """
        self.args.eval_on_start = evaluate_first
        if checkpoint is not None:
            at = progress(checkpoint)
            self.go_on_from(at)
            if at.step >= self.total_steps:
                self._load_from_checkpoint(str(checkpoint))
                self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
                if evaluate_first:
                    self.evaluate()
                return
        try:
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except StopRequested:
            if self.step == 0:
                raise
            # It came during an evaluation, after which the trainer would have saved.
            self._save_checkpoint(self.model, trial=None)
            self.callback_handler.on_save(self.args, self.state, self.control)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Raises `WorkbenchError` where the disk is full."""
        at = Progress(self.state.global_step, self.clock.seconds, self.pairs_done, self.tokens_done)
        write = partial(super()._save_checkpoint, model, trial)
        save_checkpoint(Path(self.args.output_dir), at, self._keep, self.model, write)

    def train(self, resume_from_checkpoint: str | None = None, **named: Any) -> Any:
        """As transformers' Trainer; weights that will be shared out over processes are read while they are whole."""
        if resume_from_checkpoint is not None and self.is_fsdp_enabled:
            restore_adapter(self.model, Path(resume_from_checkpoint))
        return super().train(resume_from_checkpoint, **named)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Writes the adapter; where it is shared out, put together from all processes, whatever else is saved of it."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        self._save(output_dir, state_dict=adapter_state(self.model))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        model = model or self.model
        if not any(isinstance(each, DTensor) for each in model.parameters()):
            restore_adapter(model, Path(resume_from_checkpoint))

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """Leaves the ids as `workbench.engine.model.token_ids` made them."""
        return dataset

    def _get_train_sampler(self, *arguments: Any) -> Any:
        return super()._get_train_sampler(*arguments) if self._order is None else self._order

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Checkpoints get none; the adapter's card is written by `workbench.engine.shipping.model_card`."""


def over_pairs(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    watcher: Watcher,
) -> dict[str, Any]:
    """Arguments of a trainer over pairs, in an order of ours: all but its own settings and the adapter."""
    part = config.batch_size // config.gradient_accumulation
    return {
        "order": LongestFirst(lengths(prepared.train, config.max_length), part * distributed.count(), config.seed),
        "keep_checkpoints": config.keep_checkpoints,
        "model": model,
        "train_dataset": to_dataset(prepared.train),
        "eval_dataset": to_dataset(prepared.holdout) if prepared.holdout else None,
        "processing_class": tokenizer,
        "callbacks": [Watched(watcher)],
    }


class Watched(TrainerCallback):
    """Tells a `Watcher` what transformers' Trainer does, and does what it wants."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Names what comes first."""
        self._watcher.training_begins(state.global_step, evaluates=bool(args.eval_on_start))

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Not of every micro-batch, but of the step."""
        self._watcher.step_begins(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """What is due is what transformers has found so far."""
        due = Due(control.should_log, control.should_evaluate, control.should_save, control.should_training_stop)
        self._watcher.step_ends(state.global_step, due)
        control.should_log, control.should_evaluate = due.log, due.evaluate
        control.should_save, control.should_training_stop = due.save, due.stop

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A batch of held-out pairs is done."""
        self._watcher.batch_evaluated()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Of a step or of an evaluation; the summary at the end is left out."""
        metrics = {
            name.removeprefix("eval_"): float(value)
            for name, value in logs.items()
            if value is not None and name.removeprefix("eval_") not in _NOT_METRICS
        }
        epoch = float(logs.get("epoch", 0.0))
        if "eval_loss" in logs:
            self._watcher.evaluated(state.global_step, epoch, metrics)
        elif "loss" in logs:
            self._watcher.logged(state.global_step, epoch, metrics)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A checkpoint is written."""
        if self._watcher.saved(state.global_step):
            control.should_training_stop = True
