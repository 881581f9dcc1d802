"""What every trainer of a run has: counts that go on after an interruption, checkpoints that are whole or none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import Trainer

from workbench.engine.training import distributed
from workbench.engine.training.checkpoints import adapter_state, restore_adapter, save_checkpoint
from workbench.engine.training.clock import Clock
from workbench.engine.training.score_recorder import GatheredScoreRecorder, Seen
from workbench.runs.checkpoints import Progress


class Checkpointed(Trainer):
    """Goes before a trainer of TRL's among the bases.

    `saw` is told what the loss saw of each pair, and after how many updates, where it sees both responses at once.
    `pairs_done` counts the pairs that went through a training step (grpo, rloo: their answers), `clock` the seconds of
    training; who resumes from a checkpoint says with `go_on_from` what they begin at.
    """

    def __init__(self, *, keep_checkpoints: int, **arguments: Any) -> None:
        self.saw: Callable[[Seen, int], None] | None = None
        self.pairs_done = 0
        self.clock = Clock()
        self._keep = keep_checkpoints
        self._batches: dict[str, list[int]] = {"train": [], "eval": []}
        super().__init__(**arguments)

    def count(self, pairs: int, of_all: int | None = None) -> None:
        """Takes note of a batch that goes through the model, and of how many pairs go through it in all processes."""
        self._batches["train" if self.model.training else "eval"].append(pairs)
        if self.model.training:
            self.pairs_done += pairs * distributed.count() if of_all is None else of_all

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Weights a batch's metrics by its pairs: a short last batch must not count as much as a full one."""
        mode = "train" if self.model.training else "eval"
        sizes, metrics = self._batches[mode], self._metrics[mode]
        for name, values in metrics.items():
            if len(values) == len(sizes):
                metrics[name] = [sum(v * n for v, n in zip(values, sizes, strict=True)) / sum(sizes)]
        sizes.clear()
        if isinstance(self.saw, GatheredScoreRecorder):
            self.saw.gather()
        super().log(logs, start_time)
        if mode == "train":
            # It would go into every checkpoint, megabytes of it in a long run; events.jsonl has it all.
            self.state.log_history.pop()

    @property
    def tokens_done(self) -> int:
        """Tokens that went through a training step, padding left out."""
        return int(self._total_train_tokens)

    def go_on_from(self, at: Progress) -> None:
        """Counts on from a checkpoint."""
        self.pairs_done, self._total_train_tokens, self.clock = at.pairs, at.tokens, Clock(at.seconds)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Raises `WorkbenchError` where the disk is full."""
        at = Progress(self.state.global_step, self.clock.seconds, self.pairs_done, self.tokens_done)
        weights = sum(parameter.nbytes for parameter in self.model.parameters() if parameter.requires_grad)
        write = partial(super()._save_checkpoint, model, trial)
        save_checkpoint(Path(self.args.output_dir), at, self._keep, weights, write)

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

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Checkpoints get none; the adapter's card is written by `workbench.engine.shipping.model_card`."""
