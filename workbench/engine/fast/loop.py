"""Training on pairs by dpo, simpo and orpo, in one loop: data, rows, forward, loss, step, events.

`fast = false` trains with TRL's trainer, whose numbers these are: the tests compare batch by batch. Checkpoints have
the files of transformers' Trainer, so either goes on from what the other has written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import GradientAccumulationPlugin
from bitsandbytes.optim import AdamW8bit
from torch import Tensor
from torch.optim import AdamW, Optimizer
from transformers import TrainerControl, TrainerState

from workbench.config import RunConfig
from workbench.engine.fast.batch import Batch, Lanes, even_batches, micro_batches
from workbench.engine.fast.forward import PairForward, PairOutputs, RowLayout
from workbench.engine.fast.lora import adapted, adapters_off, fuse
from workbench.engine.fast.pair_rows import PairRows, row_parts
from workbench.engine.fast.reference import References
from workbench.engine.methods.losses import Objective, preferred
from workbench.engine.methods.trainer_setup import SCHEDULERS, TrainerInputs, schedule
from workbench.engine.model.inference import REFERENCE, as_reference
from workbench.engine.model.token_ids import PairIds
from workbench.engine.scoring.score_cache import ScoreCache
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import LongestFirst, Share, lengths, share_out
from workbench.engine.training.checkpoint_files import (
    of_process,
    read_states,
    restore_adapter,
    restore_random_state,
    save_checkpoint,
    save_random_state,
    states_of,
)
from workbench.engine.training.control import StopRequested
from workbench.engine.training.score_recorder import BatchLogps, ScoreRecorder
from workbench.engine.training.trackers import Trackers
from workbench.engine.training.watcher import Due
from workbench.runs.activation_memory import TOKEN_BUDGET
from workbench.runs.checkpoints import RunProgress, checkpoint_path, progress
from workbench.runs.quantities import PREFERENCE_ACCURACY

METRICS = (
    "rewards/chosen", "rewards/rejected", "rewards/accuracies", PREFERENCE_ACCURACY, "rewards/margins", "logps/chosen",
    "logps/rejected",
    "logits/chosen", "logits/rejected", "mean_token_accuracy", "entropy",
)  # fmt: skip
"""What is noted of every step beside its loss; the names are TRL's, but for that of `preferred`."""
_REFERENCES = "references.pt"
_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Names of parameters without weight decay, as transformers' Trainer has them."""


class PairLoop:
    """One run's training. `path` says in words how rows go through the model, `slower_because` why not in a faster way;
    `recorder` is told what the loss saw of them.

    A step takes `batch_size` pairs in each process. They go through the model in micro-batches of
    `batch_size // gradient_accumulation` pairs at most, as many tokens at once as pays. The loss is the mean over the
    step's pairs; what TRL averages over the tokens of a micro-batch is averaged over those of the step.
    """

    def __init__(self, inputs: TrainerInputs, layout: RowLayout, slower_because: str, trackers: Trackers) -> None:
        """The model is a PeftModel in evaluation mode. `trackers` are told what the run logs."""
        config, model, prepared = inputs.config, inputs.model, inputs.prepared
        self._config, self._tokenizer, self._checkpoints = config, inputs.tokenizer, inputs.checkpoints
        self._watcher, self._trackers = inputs.watcher, trackers
        self._pairs = {"train": prepared.train, "eval": prepared.holdout}
        self.model, self.path, self.slower_because, self._layout = model, str(layout), slower_because, layout
        self.checkpointing = config.checkpointing
        self._objective = Objective.of(config)
        self.recorder: ScoreRecorder | None = None
        # Data: the longest pairs come first, the others at random by the seed.
        pairs_a_step = config.batch_size * distributed.count()
        self._order = LongestFirst(lengths(prepared.train, config.max_length), pairs_a_step, config.seed)
        self._steps_an_epoch = math.ceil(len(prepared.train) / pairs_a_step)
        # How far it is: counted over all processes, and over all workers of the run.
        self.step, self.total_steps = 0, config.total_steps(len(prepared.train))
        self.pairs_done = self.tokens_done = 0
        # Forward: the model knows pairs from here on, in the precision of the device, and wrapped for its processes.
        self._accelerator = _accelerator(model)
        self._wrapped = self._accelerator.prepare_model(model)
        self._forward = PairForward(model, layout)
        self._adapted = adapted(model)
        decoder = self._forward.decoder
        if model.device.type == "cpu":
            fuse(model, decoder.projections if decoder is not None else ())
        self._most_pairs = config.batch_size // config.gradient_accumulation
        self.tokens_at_once = inputs.tokens_at_once or TOKEN_BUDGET[model.device.type]
        # Gradients that processes share go through the wrapped model's own backward.
        alone = decoder is not None and distributed.count() == 1
        side_by_side = alone and torch.get_num_threads() > 1 and self._most_pairs > 1
        self._lanes = Lanes(self._most_pairs) if side_by_side else None
        # Step: walking through all modules takes longer than some operations of a small model.
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = _optimizer(model, config)
        warmup = math.ceil(self.total_steps * config.warmup)
        self._scheduler = schedule(SCHEDULERS[config.scheduler], self._optimizer, warmup, self.total_steps)
        # Events: what was summed since the last one.
        self._logged_step, self._since_log = 0, dict[str, float]()
        self._gradient_norm: Tensor | float = 0.0
        self._learning_rate = 0.0
        self.remember(ScoreCache(None), "")

    def run(self, checkpoint: Path | None = None, *, evaluate_first: bool = False) -> None:
        """Trains to the end or to a stop, on from `checkpoint` where there is one.

        Raises `StopRequested` where the stop came before the first step was done.
        """
        if checkpoint is not None:
            self._load(checkpoint)
        self._watcher.training_begins(self.step, evaluates=evaluate_first)
        self._trackers.begin(self.step)
        self.model.train()
        try:
            if evaluate_first:
                self.evaluate()
            for share in self.shares():
                self._watcher.step_begins(self.step)
                batch = self.batch("train", share.indices)
                self.forward_backward(batch, share.weight)
                self._count(batch, share)
                self._update()
                due = self._due()
                self._watcher.step_ends(self.step, due)
                if due.log:
                    self._log()
                if due.evaluate:
                    self.evaluate()
                if due.save:
                    due.stop |= self._save()
                if due.stop:
                    break
        except StopRequested:
            # It came while no step was being made. What is done is kept.
            if self.step == 0:
                raise
            self._save()
        finally:
            self._trackers.end(self.step)

    # Data

    def shares(self) -> Iterator[Share]:
        """This process's share of each step's pairs, from the step on that is next."""
        while self.step < self.total_steps:
            epoch, steps_done = divmod(self.step, self._steps_an_epoch)
            self._order.set_epoch(epoch)
            yield from self._share_out(list(self._order))[steps_done:]

    def _share_out(self, indices: Sequence[int]) -> list[Share]:
        """This process's share of each batch of the pairs with these indices."""
        return list(share_out(indices, self._config.batch_size, distributed.count(), distributed.rank()))

    def batch(self, mode: str, indices: Sequence[int]) -> Batch:
        """Pairs of the data set of `mode`, "train" or "eval", in micro-batches, with what the reference gives them."""
        pairs = [self._pairs[mode][index].cut(self._config.max_length) for index in indices]
        reference = None
        if self.references:
            reference = self.references[mode](indices, pairs).to(self.model.device)
        return Batch(indices, pairs, self._micro_batches(pairs), reference, self.model.device)

    def _micro_batches(self, pairs: Sequence[PairIds]) -> list[list[int]]:
        budget = self.tokens_at_once
        if self._lanes is not None:
            return even_batches([row_parts(pair) for pair in pairs], self._lanes.count, self._most_pairs, budget)
        sizes = [self._layout.size(pair) for pair in pairs]
        return micro_batches(sizes, self._most_pairs, budget, padded=self._layout.pads)

    # Forward, loss and step

    def forward_backward(self, batch: Batch, weight: float = 1.0) -> None:
        """Forward and backward of all pairs of a step: leaves the gradients of its mean loss, times `weight`, in the
        parameters, and what metrics need in `batch`."""
        self._within_memory(batch, lambda: self._forward_backward(batch, weight))

    def _within_memory(self, batch: Batch, work: Callable[[], None]) -> None:
        """Does `work` on the micro-batches of `batch`; again, on smaller ones, each time that memory runs out.

        Raises what `work` raises where each pair goes alone already, or other processes wait for this one.
        """
        while True:
            try:
                return work()
            except torch.OutOfMemoryError:
                if distributed.count() > 1 or all(len(part) == 1 for part in batch.micro_batches):
                    raise
            # Here, no traceback holds what the forward had made any more.
            for parameter in self._parameters:
                parameter.grad = None
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()
            largest = max(sum(self._layout.size(batch.pairs[place]) for place in part) for part in batch.micro_batches)
            self.tokens_at_once = min(self.tokens_at_once, largest) // 2
            batch.begin_again(self._micro_batches(batch.pairs))
            self._watcher.memory_ran_out(self.step, self.tokens_at_once)

    def _forward_backward(self, batch: Batch, weight: float) -> None:
        across = self._objective.across_pairs and len(batch.micro_batches) > 1
        slope = self._loss_gradient(batch) if across else None

        def loss_of(micro_batch: Sequence[int], outputs: PairOutputs) -> Tensor:
            if slope is not None:
                return (slope[:, micro_batch] * outputs.sums).sum()
            return self._objective.losses(batch.logps(outputs.sums, micro_batch)).sum() / len(batch.pairs)

        if self._lanes is not None:
            self._side_by_side(self._lanes, batch, loss_of)
            return
        for micro_batch in batch.micro_batches:
            # Processes put their gradients together in the backward of the last micro-batch.
            last = micro_batch is batch.micro_batches[-1]
            with nullcontext() if last else self._accelerator.no_sync(self._wrapped):
                outputs = self._forward(self._rows(batch.pairs, micro_batch), self._wrapped)
                batch.note(micro_batch, outputs)
                (loss_of(micro_batch, outputs) * weight).backward()

    def _side_by_side(
        self, lanes: Lanes, batch: Batch, loss_of: Callable[[Sequence[int], PairOutputs], Tensor]
    ) -> None:
        def work(micro_batch: Sequence[int]) -> tuple[PairOutputs, Sequence[Tensor]]:
            outputs = self._forward(self._rows(batch.pairs, micro_batch))
            return outputs, torch.autograd.grad(loss_of(micro_batch, outputs), self._parameters)

        results = lanes.map(work, batch.micro_batches)
        for micro_batch, (outputs, gradients) in zip(batch.micro_batches, results, strict=True):
            batch.note(micro_batch, outputs)
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    def _loss_gradient(self, batch: Batch) -> Tensor:
        """`Objective.loss_gradient` of the whole step, which takes a forward of it all."""
        sums = torch.empty_like(batch.sums)
        for micro_batch in batch.micro_batches:
            sums[:, micro_batch] = self._forward.sums(self._rows(batch.pairs, micro_batch), self._wrapped)
        return self._objective.loss_gradient(batch.logps(sums))

    def _rows(self, pairs: Sequence[PairIds], micro_batch: Sequence[int]) -> PairRows:
        return self._forward.rows([pairs[position] for position in micro_batch])

    def _update(self) -> None:
        """Moves the adapter along its gradients."""
        self._gradient_norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm)
        self._optimizer.step()
        self._learning_rate = float(self._scheduler.get_last_lr()[0])
        self._scheduler.step()
        self._optimizer.zero_grad()
        self.step += 1

    # Events

    def _due(self) -> Due:
        """What comes after the step that was just made."""
        config, last = self._config, self.step >= self.total_steps
        return Due(
            log=self.step == 1 or self.step % config.logging_steps == 0,
            evaluate=bool(self._pairs["eval"]) and (last or self.step % config.eval_every(self.total_steps) == 0),
            save=last or self.step % config.save_every(self.total_steps) == 0,
            stop=last,
        )

    def measure(self, batch: Batch, pairs: int, *, training: bool) -> dict[str, float]:
        """Loss and metrics of a batch that went through the model, as sums over `pairs` of its pairs."""
        logps = batch.logps(batch.sums)
        chosen, rejected = self._objective.rewards(logps)
        right = [(chosen > rejected).float(), preferred(chosen, rejected)]
        means = torch.stack([chosen, rejected, *right, chosen - rejected, *batch.sums]).mean(1)
        loss = self._objective.losses(logps).mean()
        # One copy from the device for all of them.
        values = torch.cat([loss[None], means, batch.token_means()]).tolist()
        if self.recorder is not None:
            seen = batch.sums if batch.reference is None else torch.cat([batch.sums, batch.reference])
            margins = None if self._objective.reference else (chosen - rejected).tolist()
            self.recorder(BatchLogps(training, batch.indices, seen.tolist(), margins), self.step)
        return {name: value * pairs for name, value in zip(("loss", *METRICS), values, strict=True)} | {"pairs": pairs}

    def _count(self, batch: Batch, share: Share) -> None:
        """Adds a training batch to what is logged next."""
        sums = self.measure(batch, share.own, training=True)
        _add(self._since_log, sums | {"step loss": sums["loss"] / share.total, "tokens": batch.tokens_read})
        self.pairs_done += share.total

    def _log(self) -> None:
        """Tells the means over the steps since it last did."""
        total, steps = distributed.summed(self._since_log), self.step - self._logged_step
        self._since_log, self._logged_step = {}, self.step
        self.tokens_done += int(total["tokens"])
        metrics = {
            "loss": total["step loss"] / steps,
            "grad_norm": float(self._gradient_norm),
            "learning_rate": self._learning_rate,
            **{name: total[name] / total["pairs"] for name in METRICS},
            "num_tokens": float(self.tokens_done),
        }
        self._tell("", self._watcher.logged, metrics)

    def evaluate(self) -> None:
        """Measures loss and metrics of the held-out pairs, and tells them."""
        sums: dict[str, float] = {}
        self.model.eval()
        with torch.no_grad():
            for share in self._share_out(range(len(self._pairs["eval"]))):
                batch = self.batch("eval", share.indices)
                self._within_memory(batch, partial(self._forward_all, batch))
                _add(sums, self.measure(batch, share.own, training=False))
                self._watcher.batch_evaluated()
        self.model.train()
        total = distributed.summed(sums)
        metrics = {name: total[name] / total["pairs"] for name in ("loss", *METRICS)}
        self._tell("eval_", self._watcher.evaluated, metrics | {"num_tokens": float(self.tokens_done)})

    def _forward_all(self, batch: Batch) -> None:
        for micro_batch in batch.micro_batches:
            batch.note(micro_batch, self._forward(self._rows(batch.pairs, micro_batch)))

    def _tell(self, prefix: str, tell: Callable[..., None], metrics: dict[str, float]) -> None:
        if self.recorder is not None:
            self.recorder.gather()
        values = {f"{prefix}{name}": value for name, value in metrics.items()}
        self._trackers.log(self.step, values | {"epoch": self.epoch})
        tell(self.step, self.epoch, metrics)

    @property
    def epoch(self) -> float:
        """Passes over the training pairs so far."""
        return self.step / self._steps_an_epoch

    # Checkpoints

    def _save(self) -> bool:
        """Writes a checkpoint where there is none at this step; whether to stop after it."""
        at = RunProgress(self.step, self._watcher.seconds, self.pairs_done, self.tokens_done)
        save_checkpoint(self._checkpoints, at, self._config.keep_checkpoints, self.model, self._write)
        self._trackers.saved(self.step)
        return self._watcher.saved(self.step)

    def _write(self) -> None:
        """The files of a checkpoint: of those that processes have alike, the first writes one for all."""
        path = checkpoint_path(self._checkpoints, self.step)
        path.mkdir(parents=True, exist_ok=True)
        if distributed.first():
            self.model.save_pretrained(path, save_embedding_layers=False, selected_adapters=["default"])
            self._tokenizer.save_pretrained(path)
            torch.save(self._optimizer.state_dict(), path / "optimizer.pt")
            torch.save(self._scheduler.state_dict(), path / "scheduler.pt")
            TrainerState(
                epoch=self.epoch,
                global_step=self.step,
                max_steps=self.total_steps,
                train_batch_size=self._config.batch_size,
                logging_steps=self._config.logging_steps,
                eval_steps=self._config.eval_every(self.total_steps),
                save_steps=self._config.save_every(self.total_steps),
                stateful_callbacks=[TrainerControl()],
            ).save_to_json(str(path / "trainer_state.json"))
        save_random_state(path)
        known = {mode: reference.known for mode, reference in self.references.items()}
        torch.save(known, path / of_process(_REFERENCES))
        self._keep_references()

    def _load(self, checkpoint: Path) -> None:
        """Everything as it was when `checkpoint` was written. Raises `WorkbenchError` where it does not fit."""
        at = progress(checkpoint)
        self.step = self._logged_step = at.step
        self.pairs_done, self.tokens_done = at.pairs, at.tokens
        restore_adapter(self.model, checkpoint)
        with states_of(checkpoint):
            self._optimizer.load_state_dict(read_states(checkpoint / "optimizer.pt"))
            self._scheduler.load_state_dict(read_states(checkpoint / "scheduler.pt"))
            restore_random_state(checkpoint)
            # Each process knows the reference of the pairs that it was given.
            references = checkpoint / of_process(_REFERENCES)
            if references.is_file():
                for mode, known in read_states(references).items():
                    self.references[mode].known = known

    def remember(self, cache: ScoreCache, version: str) -> None:
        """Keeps the reference's log-probabilities in `cache`; see `References` for the version."""
        version = f"{version} {self._layout}" if version else ""
        self._cache = cache
        self.references = {
            mode: References(self._compute_reference, len(pairs), cache, version)
            for mode, pairs in self._pairs.items()
            if self._objective.reference
        }

    def _compute_reference(self, pairs: Sequence[PairIds]) -> Tensor:
        """(2, B), on the CPU: the reference's log-probabilities of chosen and of rejected."""
        sums = torch.empty((2, len(pairs)))
        batch = Batch(range(len(pairs)), pairs, self._micro_batches(pairs), None, self.model.device)

        def of_part(micro_batch: Sequence[int]) -> Tensor:
            return self._forward.sums(self._rows(pairs, micro_batch))

        def work() -> None:
            parts = batch.micro_batches
            results = map(of_part, parts) if self._lanes is None else self._lanes.map(of_part, parts)
            for micro_batch, result in zip(parts, results, strict=True):
                sums[:, micro_batch] = result.float().cpu()

        with as_reference(self.model) if REFERENCE in self.model.peft_config else adapters_off(self._adapted):
            self._within_memory(batch, work)
        return sums

    def close(self) -> None:
        """Keeps what was computed of the reference, and lets go of the cache."""
        self._keep_references()
        self._cache.close()

    def _keep_references(self) -> None:
        for reference in self.references.values():
            reference.keep()


def _add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value


def _optimizer(model: Any, config: RunConfig) -> Optimizer:
    """AdamW with the groups of transformers' Trainer, so that states fit either."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decayed = [parameter for name, parameter in trained if not _NO_DECAY.search(name.lower())]
    others = [parameter for name, parameter in trained if _NO_DECAY.search(name.lower())]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw_8bit":
        # Of matrices of 4,096 weights and more; smaller ones keep theirs in float32.
        return AdamW8bit(groups, lr=config.learning_rate)
    return AdamW(groups, lr=config.learning_rate, fused=True)


def _accelerator(model: Any) -> Accelerator:
    """What gives the model the device's precision, and shares its gradients between processes."""
    on_cpu = model.device.type == "cpu"
    return Accelerator(
        cpu=on_cpu,
        mixed_precision="no" if on_cpu else "bf16",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=False, broadcast_buffers=False)],
    )
