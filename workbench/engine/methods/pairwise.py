"""dpo, simpo and orpo: by the loop of the fast path, or by TRL's trainer where that is wanted or nothing else fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import DPOConfig, DPOTrainer

from workbench.config import RunConfig
from workbench.engine.fast.forward import Layout, UnsuitableError, suited
from workbench.engine.fast.loop import PairLoop
from workbench.engine.fast.rows import cut
from workbench.engine.methods.checkpointed import Checkpointed, over_pairs
from workbench.engine.methods.losses import LossSettings, PairLogps, pair_losses, pair_rewards
from workbench.engine.methods.trainer_setup import arguments, lora, settle_adapter, told_as_settings, with_adapter
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import Share, Shares, lengths
from workbench.engine.training.data import PLACE, Prepared
from workbench.engine.training.score_recorder import Forwards, Places, Seen
from workbench.engine.training.trackers import Trackers
from workbench.engine.training.watcher import NOBODY, Watcher
from workbench.methods import METHODS
from workbench.runs.checkpoints import Progress

_TRIED = 2
"""Pairs that a model is tried with: the longest ones."""


def build(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    checkpoints: Path,
    watcher: Watcher = NOBODY,
) -> PairLoop | PairTrainer:
    """The fast path's loop; or TRL's trainer where the config wants that or the model cannot do better.

    `slow` of either says why it is not a faster one.
    Raises `WorkbenchError` where the settings do not fit the model.
    """
    slow = "fast = false"
    if config.fast:
        # Processes that came to different answers would wait for each other for ever.
        layout, slow = distributed.made_by_first(lambda: _layout(config, model, prepared))
        if layout is not None:
            adapted = with_adapter(model, config, checkpoints.parent)
            settings = _arguments(config, model, prepared, checkpoints) if config.report_to else None
            trackers = Trackers(settings, adapted, tokenizer)
            loop = PairLoop(config, adapted, tokenizer, prepared, checkpoints, layout, watcher, trackers)
            loop.slow = slow
            return loop
    trainer = build_trainer(config, model, tokenizer, prepared, checkpoints, watcher)
    trainer.slow = slow
    return trainer


def _layout(config: RunConfig, model: PreTrainedModel, prepared: Prepared) -> tuple[Layout | None, str]:
    """The layout that suits the model on the run's longest pairs, or None; and why there is no faster one."""
    if by := distributed.shared_out():
        # Every forward gathers weights from all processes, so all have to make as many: here that goes by lengths.
        return None, f"{by} shares the model out over the processes"
    sizes = lengths(prepared.train, config.max_length)
    longest = sorted(range(len(sizes)), key=lambda place: -sizes[place])[:_TRIED]
    try:
        return suited(model, [cut(prepared.train[place], config.max_length) for place in longest])
    except UnsuitableError as error:
        return None, str(error)


def build_trainer(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    checkpoints: Path,
    watcher: Watcher = NOBODY,
) -> PairTrainer:
    """TRL's trainer, with a fresh adapter on `model`.

    Raises `WorkbenchError` where the settings do not fit the model.
    """
    with told_as_settings():
        trainer = PairTrainer(
            method=config.method,
            settings=LossSettings(beta=config.beta, simpo_gamma_ratio=config.simpo_gamma_ratio),
            **over_pairs(config, model, tokenizer, prepared, watcher),
            args=_arguments(config, model, prepared, checkpoints),
            peft_config=lora(config),
        )
    trainer.remove_callback(PrinterCallback)
    settle_adapter(trainer.model, config, checkpoints.parent)
    return trainer


def _arguments(config: RunConfig, model: PreTrainedModel, prepared: Prepared, checkpoints: Path) -> DPOConfig:
    return DPOConfig(
        **arguments(config, len(prepared.train), model.device, checkpoints, evaluates=bool(prepared.holdout)),
        loss_type=list(config.loss_type),
        loss_weights=list(config.loss_weights) or None,
        beta=config.beta,
        label_smoothing=config.label_smoothing,
        max_length=config.max_length,
    )


class PairTrainer(Checkpointed, DPOTrainer):
    """DPOTrainer over pairs that are tokenized already, in an order of its own, shared out over processes.

    accelerate would fill the last batch of an epoch up with pairs that were seen already, and TRL asks the other
    processes for a dozen numbers a batch. Here each process takes its part of what is left, its loss weighs as much as
    its pairs do (`weight`), and metrics, tokens and what was seen of pairs are put together when they are logged.

    simpo and orpo need no forward of a reference, and so have a loss of their own. Their metrics have TRL's names:
    rewards are what the method takes for such, log-probabilities sums over a response.
    """

    def __init__(self, *, method: str, settings: LossSettings, **arguments: Any) -> None:
        self._method, self._settings = method, settings
        self._margins: torch.Tensor | None = None  # of a batch, where rewards are not DPO's
        self.weight = 1.0
        self._shares: dict[str, Shares] = {}
        self._tokens_told = 0
        super().__init__(**arguments)
        if distributed.count() > 1:
            self.accelerator.gather = self.accelerator.gather_for_metrics = _as_it_is
        self.data_collator: Any = Places(self.data_collator)
        self._forwards = Forwards(self.model)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch whose first half is chosen and second half rejected."""
        inputs = dict(inputs)
        places = inputs.pop(PLACE)
        pairs = inputs["input_ids"].shape[0] // 2
        self.take(places.tolist())
        with self._forwards.watched() as sums:
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.saw is not None:
            # Two forwards, policy and reference, each of 2B sums: one copy from the device for all of them.
            logps = torch.stack(sums).reshape(-1, pairs).tolist()
            margins = self._margins.tolist() if self._margins is not None else None
            self.saw(Seen(self.model.training, places.tolist(), logps, margins), self.state.global_step)
        return loss * self.weight if self.model.training else loss

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if PLACE not in self._signature_columns:
            self._signature_columns.append(PLACE)

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool) -> Any:
        if METHODS[self._method].reference:
            return super()._compute_loss(model, inputs, return_outputs)
        mask = inputs["completion_mask"]
        labels = inputs["input_ids"].masked_fill(mask == 0, -100)
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
        chosen, rejected = outputs.log_probs.float().sum(1).chunk(2)
        counts = mask[:, 1:].sum(1)
        logps = PairLogps(chosen, rejected, *counts.chunk(2))
        losses = pair_losses(self._method, logps, self._settings)
        good, bad = pair_rewards(self._method, logps, self._settings)
        self._margins = good - bad
        self._note(
            {
                "rewards/chosen": good.mean(),
                "rewards/rejected": bad.mean(),
                "rewards/accuracies": (good > bad).float().mean(),
                "rewards/margins": (good - bad).mean(),
                "logps/chosen": chosen.detach().mean(),
                "logps/rejected": rejected.detach().mean(),
                "entropy": (outputs.entropy.detach() * mask[:, 1:]).sum() / counts.sum(),
            }
        )
        if self.model.training:
            self._total_train_tokens += int(inputs["attention_mask"].sum())
        self._metrics[self.mode]["num_tokens"] = [self._total_train_tokens]
        return losses.mean()

    def _note(self, means: dict[str, torch.Tensor]) -> None:
        metrics = self._metrics[self.mode]
        # One copy from the device for all of them.
        for name, value in zip(means, torch.stack(list(means.values())).tolist(), strict=True):
            metrics[name].append(value)

    def take(self, places: Sequence[int]) -> None:
        """Takes note of a batch, the pairs at `places`, and sets its `weight`."""
        shares = self._shares.get(self.mode)
        share = shares.share(places) if shares is not None else Share(tuple(places), len(places), len(places), 1)
        self.count(share.own, share.total)
        self.weight = share.weight

    def go_on_from(self, at: Progress) -> None:
        """Counts on from a checkpoint."""
        super().go_on_from(at)
        self._tokens_told = at.tokens

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Writes down what all processes saw since the last time."""
        if self._batches[self.mode] and self.mode in self._shares:
            self._put_together()
        super().log(logs, start_time)

    def evaluation_loop(self, *arguments: Any, **named: Any) -> Any:
        """Evaluates this process's share. The loss is a metric like others, so that batches weigh as they should."""
        if distributed.count() > 1:
            self.gather_function = self._noted
        return super().evaluation_loop(*arguments, **named)

    def _get_dataloader(
        self,
        dataset: Any,
        description: str,
        batch_size: int,
        sampler_fn: Callable[[Any], Any] | None = None,
        is_training: bool = False,
        dataloader_key: str | None = None,
    ) -> DataLoader:
        if distributed.count() == 1:
            return super()._get_dataloader(dataset, description, batch_size, sampler_fn, is_training, dataloader_key)
        order = sampler_fn(dataset) if is_training and sampler_fn is not None else range(len(dataset))
        shares = Shares(order, batch_size, distributed.count(), distributed.rank())
        self._shares["train" if is_training else "eval"] = shares
        loader = DataLoader(
            self._remove_unused_columns(dataset, description=description),
            batch_sampler=shares,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # As accelerate would, but for the sharing out.
        return prepare_data_loader(
            loader, self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )

    def _noted(self, losses: Tensor) -> Tensor:
        self._metrics["eval"]["loss"].append(losses[0].item())
        return losses

    def _put_together(self) -> None:
        metrics, sizes = self._metrics[self.mode], self._batches[self.mode]
        sums = {
            name: sum(value * size for value, size in zip(values, sizes, strict=True) if size)
            for name, values in metrics.items()
            if name != "num_tokens"
        }
        found = distributed.all_of((sums, sum(sizes), self._total_train_tokens - self._tokens_told))
        total = sum(size for _, size, _ in found)
        for name in sums:
            metrics[name] = [sum(each[name] for each, _, _ in found) / total]
        sizes[:] = [total]
        self._tokens_told += sum(tokens for _, _, tokens in found)
        self._total_train_tokens = self._tokens_told
        metrics["num_tokens"] = [self._tokens_told]


def _as_it_is(value: Any) -> Any:
    return value
