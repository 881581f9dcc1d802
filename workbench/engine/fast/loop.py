"""Training on pairs by dpo, simpo and orpo, in one loop: data, rows, forward, loss, step, events.

`fast = false` trains with TRL's trainer, whose numbers these are: the tests compare batch by batch. Checkpoints have
the files of transformers' Trainer, so either goes on from what the other has written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import GradientAccumulationPlugin
from torch import Tensor
from torch.optim import AdamW
from transformers import TrainerControl, TrainerState, get_scheduler

from workbench.config import RunConfig
from workbench.engine.fast.forward import Layout, PairForward, PairOutputs
from workbench.engine.fast.lora import adapted, adapters_off, fuse
from workbench.engine.fast.micro_batches import Lanes, even_batches, micro_batches
from workbench.engine.fast.reference import References
from workbench.engine.fast.rows import cut, row_parts
from workbench.engine.fast.step import Objective, Step
from workbench.engine.methods.trainer_setup import SCHEDULERS
from workbench.engine.model.adapter_modes import REFERENCE, as_reference
from workbench.engine.model.token_ids import PairIds
from workbench.engine.scoring.score_cache import ScoreCache
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import LongestFirst, Share, lengths, shared
from workbench.engine.training.checkpoints import (
    restore_adapter,
    restore_random_state,
    save_checkpoint,
    save_random_state,
)
from workbench.engine.training.clock import Clock
from workbench.engine.training.control import StopRequested
from workbench.engine.training.data import Prepared
from workbench.engine.training.score_recorder import GatheredScoreRecorder, ScoreRecorder, Seen
from workbench.engine.training.trackers import Trackers
from workbench.engine.training.watcher import Due, Watcher
from workbench.runs.activation_memory import TOKEN_BUDGET
from workbench.runs.checkpoints import Progress, checkpoint_path, progress

METRICS = (
    "rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected",
    "logits/chosen", "logits/rejected", "mean_token_accuracy", "entropy",
)  # fmt: skip
"""What is noted of every step beside its loss; the names are TRL's."""
_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Names of parameters without weight decay, as transformers' Trainer has them."""


class PairLoop:
    """One run's training. `path` says in words how rows go through the model; `saw` is told what the loss saw of them.

    A step takes `batch_size` pairs in each process. They go through the model in micro-batches of
    `batch_size // gradient_accumulation` pairs at most, as many tokens at once as pays. The loss is the mean over the
    step's pairs; what TRL averages over the tokens of a micro-batch is averaged over those of the step.
    """

    slow = ""

    def __init__(
        self,
        config: RunConfig,
        model: Any,
        tokenizer: Any,
        prepared: Prepared,
        checkpoints: Path,
        layout: Layout,
        watcher: Watcher,
        trackers: Trackers,
    ) -> None:
        """`model` is a PeftModel in evaluation mode, `tokenizer` goes into checkpoints. `trackers` are told what the
        run logs, `watcher` all that happens."""
        self._config, self._tokenizer, self._checkpoints = config, tokenizer, checkpoints
        self._watcher, self._trackers = watcher, trackers
        self._pairs = {"train": prepared.train, "eval": prepared.holdout}
        self.model, self.path, self.layout = model, str(layout), layout
        self.objective = Objective.of(config)
        self.saw: ScoreRecorder | GatheredScoreRecorder | None = None
        # Data: the longest pairs come first, the others at random by the seed.
        pairs_a_step = config.batch_size * distributed.count()
        self._order = LongestFirst(lengths(prepared.train, config.max_length), pairs_a_step, config.seed)
        self._steps_an_epoch = math.ceil(len(prepared.train) / pairs_a_step)
        # How far it is: counted over all processes, and over all workers of the run.
        self.step, self.total_steps = 0, config.total_steps(len(prepared.train))
        self.pairs_done = self.tokens_done = 0
        self.clock = Clock()
        # Forward: the model knows pairs from here on, in the precision of the device, and wrapped for its processes.
        self._accelerator = _accelerator(model)
        self._wrapped = self._accelerator.prepare_model(model)
        self._forward = PairForward(model, layout)
        self._adapted = adapted(model)
        on_cpu, decoder = model.device.type == "cpu", self._forward.decoder
        if on_cpu:
            fuse(model, decoder.projections if decoder is not None else ())
        self._most_pairs = config.batch_size // config.gradient_accumulation
        # Gradients that processes share go through the wrapped model's own backward.
        alone = decoder is not None and distributed.count() == 1
        side_by_side = alone and torch.get_num_threads() > 1 and self._most_pairs > 1
        self._lanes = Lanes(self._most_pairs) if side_by_side else None
        # Step: walking through all modules takes longer than some operations of a small model.
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = _optimizer(model, config)
        self.scheduler = _scheduler(self.optimizer, config, self.total_steps)
        # Events.
        self._logged_step, self._since_log = 0, Tally()
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
                step = self.step_on("train", share.places)
                self.forward_backward(step, share.weight)
                loss = self.note(step, share.own, self._since_log)
                self._since_log.loss += loss * share.own / share.total
                self._since_log.tokens += step.tokens_read
                self._update()
                self.step, self.pairs_done = self.step + 1, self.pairs_done + share.total
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

    def shares(self) -> Iterator[Share]:
        """This process's share of each step's pairs, from the step on that is next."""
        while self.step < self.total_steps:
            epoch, steps_done = divmod(self.step, self._steps_an_epoch)
            self._order.set_epoch(epoch)
            yield from self._shared(list(self._order))[steps_done:]

    def _shared(self, places: Sequence[int]) -> list[Share]:
        """This process's share of each batch of the pairs at `places`."""
        return list(shared(places, self._config.batch_size, distributed.count(), distributed.rank()))

    def _due(self) -> Due:
        """What comes after the step that was just made."""
        config, last = self._config, self.step >= self.total_steps
        return Due(
            log=self.step == 1 or self.step % config.logging_steps == 0,
            evaluate=bool(self._pairs["eval"]) and (last or self.step % config.eval_every(self.total_steps) == 0),
            save=last or self.step % config.save_every(self.total_steps) == 0,
            stop=last,
        )

    def _update(self) -> None:
        """Moves the adapter along its gradients."""
        self._gradient_norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm)
        self.optimizer.step()
        self._learning_rate = float(self.scheduler.get_last_lr()[0])
        self.scheduler.step()
        self.optimizer.zero_grad()

    def forward_backward(self, step: Step, weight: float = 1.0) -> None:
        """Forward and backward of all pairs of a step: leaves the gradients of its mean loss, times `weight`, in the
        parameters, and what metrics need in `step`."""
        slope = self._loss_gradient(step) if self.objective.across and len(step.micro) > 1 else None

        def loss_of(indices: Sequence[int], outputs: PairOutputs) -> Tensor:
            if slope is not None:
                return (slope[:, indices] * outputs.sums).sum()
            return self.objective.losses(step.logps(outputs.sums, indices)).sum() / len(step.pairs)

        if self._lanes is not None:
            self._side_by_side(self._lanes, step, loss_of)
            return
        for indices in step.micro:
            # Processes put their gradients together in the backward of the last micro-batch.
            with nullcontext() if indices is step.micro[-1] else self._accelerator.no_sync(self._wrapped):
                outputs = self._outputs(step, indices, self._wrapped)
                step.note(indices, outputs)
                (loss_of(indices, outputs) * weight).backward()

    def _side_by_side(self, lanes: Lanes, step: Step, loss_of: Callable[[Sequence[int], PairOutputs], Tensor]) -> None:
        def work(indices: Sequence[int]) -> tuple[PairOutputs, Sequence[Tensor]]:
            outputs = self._outputs(step, indices)
            return outputs, torch.autograd.grad(loss_of(indices, outputs), self._parameters)

        for indices, (outputs, gradients) in zip(step.micro, lanes.map(work, step.micro), strict=True):
            step.note(indices, outputs)
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    def _loss_gradient(self, step: Step) -> Tensor:
        """`Objective.loss_gradient` of the whole step, which takes a forward of it all."""
        sums = torch.empty_like(step.sums)
        for indices in step.micro:
            rows = self._forward.rows([step.pairs[index] for index in indices])
            sums[:, indices] = self._forward.sums(rows, self._wrapped)
        return self.objective.loss_gradient(step.logps(sums))

    def step_on(self, mode: str, places: Sequence[int]) -> Step:
        """The pairs at `places` in the data set of `mode`, "train" or "eval": in micro-batches, with what the reference
        gives them."""
        pairs = [cut(self._pairs[mode][place], self._config.max_length) for place in places]
        reference = None
        if self.references:
            reference = self.references[mode](places, pairs).to(self.model.device)
        return Step(places, pairs, self._micro_batches(pairs), reference, self.model.device)

    def _micro_batches(self, pairs: Sequence[PairIds]) -> list[list[int]]:
        rows, budget = [row_parts(pair) for pair in pairs], TOKEN_BUDGET[self.model.device.type]
        if self._lanes is not None:
            return even_batches(rows, self._lanes.count, self._most_pairs, budget)
        sizes = [row.total for row in rows]
        return micro_batches(sizes, self._most_pairs, budget, padded=self.layout is Layout.LINES)

    def _outputs(self, step: Step, indices: Sequence[int], wrapped: Any = None) -> PairOutputs:
        return self._forward(self._forward.rows([step.pairs[index] for index in indices]), wrapped)

    def note(self, step: Step, pairs: int, tally: Tally) -> float:
        """The step's loss. Its metrics are added to `tally`, for so many pairs; `saw` is told what the loss saw."""
        training, logps = tally is self._since_log, step.logps(step.sums)
        chosen, rejected = self.objective.rewards(logps)
        means = torch.stack([chosen, rejected, (chosen > rejected).float(), chosen - rejected, *step.sums]).mean(1)
        loss = self.objective.losses(logps).mean()
        # One copy from the device for all of them.
        loss_value, *values = torch.cat([loss[None], means, step.means()]).tolist()
        tally.add(pairs, dict(zip(METRICS, values, strict=True)))
        if self.saw is not None:
            seen = step.sums if step.reference is None else torch.cat([step.sums, step.reference])
            margins = None if self.objective.needs_reference else (chosen - rejected).tolist()
            self.saw(Seen(training, step.places, seen.tolist(), margins), self.step)
        return float(loss_value)

    def evaluate(self) -> None:
        """Measures loss and metrics of the held-out pairs, and tells them."""
        tally = Tally()
        self.model.eval()
        with torch.no_grad():
            for share in self._shared(range(len(self._pairs["eval"]))):
                step = self.step_on("eval", share.places)
                for indices in step.micro:
                    step.note(indices, self._outputs(step, indices))
                tally.loss += self.note(step, share.own, tally) * share.own
                self._watcher.batch_evaluated()
        self.model.train()
        total = tally.of_all_processes()
        metrics = {"loss": total.loss / total.pairs, **total.means(), "num_tokens": float(self.tokens_done)}
        self._gather_scores()
        self._trackers.log(
            self.step, {f"eval_{name}": value for name, value in metrics.items()} | {"epoch": self.epoch}
        )
        self._watcher.evaluated(self.step, self.epoch, metrics)

    def _log(self) -> None:
        """Tells the means over the steps since it last did."""
        total, steps = self._since_log.of_all_processes(), self.step - self._logged_step
        self._since_log, self._logged_step = Tally(), self.step
        self.tokens_done += total.tokens
        metrics = {
            "loss": total.loss / steps,
            "grad_norm": float(self._gradient_norm),
            "learning_rate": self._learning_rate,
            **total.means(),
            "num_tokens": float(self.tokens_done),
        }
        self._gather_scores()
        self._trackers.log(self.step, metrics | {"epoch": self.epoch})
        self._watcher.logged(self.step, self.epoch, metrics)

    def _gather_scores(self) -> None:
        if self.saw is not None:
            self.saw.gather()

    @property
    def epoch(self) -> float:
        """Passes over the training pairs so far."""
        return self.step / self._steps_an_epoch

    def _save(self) -> bool:
        """Writes a checkpoint where there is none at this step; whether to stop after it."""
        at = Progress(self.step, self.clock.seconds, self.pairs_done, self.tokens_done)
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
            torch.save(self.optimizer.state_dict(), path / "optimizer.pt")
            torch.save(self.scheduler.state_dict(), path / "scheduler.pt")
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
        torch.save({mode: each.known for mode, each in self.references.items()}, path / _references())
        self._keep_references()

    def _load(self, checkpoint: Path) -> None:
        """Everything as it was when `checkpoint` was written."""
        at = progress(checkpoint)
        self.step = self._logged_step = at.step
        self.pairs_done, self.tokens_done, self.clock = at.pairs, at.tokens, Clock(at.seconds)
        restore_adapter(self.model, checkpoint)
        self.optimizer.load_state_dict(torch.load(checkpoint / "optimizer.pt", map_location="cpu"))
        self.scheduler.load_state_dict(torch.load(checkpoint / "scheduler.pt"))
        restore_random_state(checkpoint)
        references = checkpoint / _references()
        if references.is_file():
            for mode, known in torch.load(references).items():
                self.references[mode].known = known

    def remember(self, cache: ScoreCache, version: str) -> None:
        """Keeps the reference's log-probabilities in `cache`; see `References` for the version."""
        version = f"{version} {self.layout}" if version else ""
        self._cache = cache
        self.references = {
            mode: References(self._compute_reference, len(pairs), cache, version)
            for mode, pairs in self._pairs.items()
            if self.objective.needs_reference
        }

    def _compute_reference(self, pairs: Sequence[PairIds]) -> Tensor:
        """(2, B), on the CPU: the reference's log-probabilities of chosen and of rejected."""
        found = torch.empty((2, len(pairs)))
        goes_on = REFERENCE in self.model.peft_config

        def work(indices: Sequence[int]) -> Tensor:
            return self._forward.sums(self._forward.rows([pairs[index] for index in indices]))

        micro = self._micro_batches(pairs)
        with as_reference(self.model) if goes_on else adapters_off(self._adapted):
            sums = map(work, micro) if self._lanes is None else self._lanes.map(work, micro)
            for indices, each in zip(micro, sums, strict=True):
                found[:, indices] = each.float().cpu()
        return found

    def close(self) -> None:
        """Keeps what was computed of the reference, and lets go of the cache."""
        self._keep_references()
        self._cache.close()

    def _keep_references(self) -> None:
        for each in self.references.values():
            each.keep()


class Tally:
    """Sums over this process's pairs: of each metric, of the loss, and of the tokens that were read."""

    def __init__(self) -> None:
        self.sums = dict.fromkeys(METRICS, 0.0)
        self.pairs = self.tokens = 0
        self.loss = 0.0

    def add(self, pairs: int, values: dict[str, float]) -> None:
        """Adds the means over so many pairs; none where they count for another process."""
        if pairs:
            self.pairs += pairs
            for name, value in values.items():
                self.sums[name] += value * pairs

    def of_all_processes(self) -> Tally:
        """The sums over the pairs of all processes, all of which have to ask."""
        total = Tally()
        for each in distributed.all_of(self):
            for name, value in each.sums.items():
                total.sums[name] += value
            total.pairs += each.pairs
            total.tokens += each.tokens
            total.loss += each.loss
        return total

    def means(self) -> dict[str, float]:
        """Of each metric, the mean over the pairs."""
        return {name: total / self.pairs for name, total in self.sums.items()}


def _optimizer(model: Any, config: RunConfig) -> AdamW:
    """AdamW with the groups of transformers' Trainer, so that states fit either."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decayed = [parameter for name, parameter in trained if not _NO_DECAY.search(name.lower())]
    others = [parameter for name, parameter in trained if _NO_DECAY.search(name.lower())]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.learning_rate, fused=True)


def _scheduler(optimizer: AdamW, config: RunConfig, total_steps: int) -> Any:
    warmup = math.ceil(total_steps * config.warmup)
    return get_scheduler(SCHEDULERS[config.scheduler], optimizer, warmup, total_steps)


def _accelerator(model: Any) -> Accelerator:
    """What gives the model the device's precision, and shares its gradients between processes."""
    on_cpu = model.device.type == "cpu"
    return Accelerator(
        cpu=on_cpu,
        mixed_precision="no" if on_cpu else "bf16",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=False, broadcast_buffers=False)],
    )


def _references() -> str:
    """The file of what is known of the reference: each process knows that of the pairs that it was given."""
    return "references.pt" if distributed.count() == 1 else f"references_{distributed.rank()}.pt"
