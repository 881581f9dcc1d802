"""What every trainer of TRL's has in a run, and how one is set up.

Counts go on after an interruption, checkpoints are whole or not there, pairs are tokenized already.
"""

# ruff: noqa: ARG002 - the signatures are those that transformers calls.
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from workbench.config import Checkpointing
from workbench.engine.fast.reference import References
from workbench.engine.methods.trainer_setup import (
    TrainerInputs,
    arguments,
    init_adapter,
    lora,
    schedule,
    settings_errors,
)
from workbench.engine.scoring.score_cache import ScoreCache
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import LongestFirst, lengths
from workbench.engine.training.checkpoint_files import (
    adapter_state,
    random_numbers_of_its_own,
    restore_adapter,
    save_checkpoint,
)
from workbench.engine.training.control import StopRequested
from workbench.engine.training.data import PAIR_INDEX, to_dataset
from workbench.engine.training.score_recorder import ScoreRecorder
from workbench.engine.training.watcher import Due, Watcher
from workbench.runs.checkpoints import RunProgress, progress

_NOT_METRICS = ("epoch", "runtime", "samples_per_second", "steps_per_second")


class TrlTrainer(Trainer):
    """Goes before a trainer of TRL's among the bases, and makes it a `Training`.

    `order` is that of the training pairs; without one, TRL's. `recorder` is told of what loss sees both responses of a
    pair at once. Of grpo and rloo, `pairs_done` counts the answers.
    """

    path, slower_because = "plain TRL", ""
    tokens_at_once = 0
    """Its micro-batches are counted in pairs."""

    @property
    def checkpointing(self) -> Checkpointing:
        """How many layers are computed again in the backward."""
        return "all" if self.args.gradient_checkpointing else "none"

    lr_scheduler: Any

    def __init__(
        self, *, keep_checkpoints: int, watcher: Watcher, order: LongestFirst | None, **arguments: Any
    ) -> None:
        self.recorder: ScoreRecorder | None = None
        self.references: dict[str, References] = {}
        self.pairs_done = 0
        self._keep, self._watcher, self._order = keep_checkpoints, watcher, order
        self._batches: dict[str, list[int]] = {"train": [], "eval": []}
        super().__init__(callbacks=[Watched(watcher)], **arguments)

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
        if self.recorder is not None:
            self.recorder.gather()
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

    def go_on_from(self, at: RunProgress) -> None:
        """Counts on from a checkpoint."""
        self.pairs_done, self._total_train_tokens = at.pairs, at.tokens

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
                self._watcher.training_begins(self.step, evaluates=evaluate_first)
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
        at = RunProgress(self.step, self._watcher.seconds, self.pairs_done, self.tokens_done)
        write = partial(super()._save_checkpoint, model, trial)
        save_checkpoint(Path(self.args.output_dir), at, self._keep, self.model, write)

    def train(self, resume_from_checkpoint: str | None = None, **named: Any) -> Any:
        """As transformers' Trainer; weights that will be shared out over processes are read while they are whole."""
        if resume_from_checkpoint is not None and self.is_fsdp_enabled:
            restore_adapter(self.model, Path(resume_from_checkpoint))
        return super().train(resume_from_checkpoint, **named)

    def evaluate(self, *arguments: Any, **named: Any) -> dict[str, float]:
        """As transformers' Trainer; what trains afterwards draws the numbers that it would have drawn without.

        So a run that was killed after an evaluation and goes on from before it ends as one that was not. What an
        evaluation draws itself is the same each time.
        """
        with random_numbers_of_its_own(self.args.seed):
            return super().evaluate(*arguments, **named)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Writes the adapter; where it is shared out, put together from all processes, whatever else is saved of it."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        self._save(output_dir, state_dict=adapter_state(self.model))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        model = model or self.model
        if not any(isinstance(parameter, DTensor) for parameter in model.parameters()):
            restore_adapter(model, Path(resume_from_checkpoint))

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """Leaves the ids as `workbench.engine.model.token_ids` made them."""
        return dataset

    def _get_train_sampler(self, *arguments: Any) -> Any:
        return super()._get_train_sampler(*arguments) if self._order is None else self._order

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """The same learning rates as on the fast path."""
        if self.lr_scheduler is None:
            kind, warmup = str(self.args.lr_scheduler_type.value), self.args.get_warmup_steps(num_training_steps)
            self.lr_scheduler = schedule(kind, optimizer or self.optimizer, warmup, num_training_steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Checkpoints get none; the adapter's card is written by `workbench.engine.shipping.model_card`."""


def build_trl(
    kind: Callable[..., Any],
    settings_kind: type[TrainingArguments],
    inputs: TrainerInputs,
    settings: dict[str, Any],
    **others: Any,
) -> Any:
    """A trainer of TRL's, a `TrlTrainer`, with a fresh adapter on the model.

    By default it takes pairs, the longest first. `settings` are the method's own, for `settings_kind`.

    Raises `WorkbenchError` where the settings do not fit the model.
    """
    config, prepared = inputs.config, inputs.prepared
    pairs_at_once = config.batch_size // config.gradient_accumulation * distributed.count()
    defaults = {
        "order": LongestFirst(lengths(prepared.train, config.max_length), pairs_at_once, config.seed),
        "train_dataset": to_dataset(prepared.train, prepared.train_margins),
        "eval_dataset": to_dataset(prepared.holdout, prepared.holdout_margins) if prepared.holdout else None,
        "peft_config": lora(config, inputs.model),
    }
    with settings_errors():
        trainer = kind(
            keep_checkpoints=config.keep_checkpoints,
            watcher=inputs.watcher,
            model=inputs.model,
            args=settings_kind(**arguments(inputs) | settings),
            processing_class=inputs.tokenizer,
            **defaults | others,
        )
    trainer.remove_callback(PrinterCallback)
    init_adapter(trainer.model, config, inputs.run)
    return trainer


class WithIndices:
    """A collator that passes on which pairs a batch has, beside what another collator makes of them."""

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collator = collator

    def __call__(self, pairs: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch; `PAIR_INDEX` has a number a pair."""
        return self._collator(pairs) | {PAIR_INDEX: torch.tensor([pair[PAIR_INDEX] for pair in pairs])}


class ForwardSums:
    """Notes the sums of the token log-probabilities that a model's forwards give back while it is `watched`."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._sums: list[torch.Tensor] | None = None
        model.register_forward_hook(self._note)

    @contextmanager
    def watched(self) -> Iterator[list[torch.Tensor]]:
        """The list gets a tensor (2B) a forward: chosen first, then rejected."""
        self._sums = []
        try:
            yield self._sums
        finally:
            self._sums = None

    def _note(self, _model: torch.nn.Module, _inputs: Any, output: Any) -> None:
        if self._sums is not None and getattr(output, "log_probs", None) is not None:
            self._sums.append(output.log_probs.detach().float().sum(1))


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
