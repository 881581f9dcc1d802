"""dpo, simpo and orpo: by the loop of the fast path, or by TRL's trainer where that is wanted or nothing else fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.utils.data import DataLoader
from trl import DPOConfig, DPOTrainer

from workbench.config import RunConfig
from workbench.engine.fast.forward import RowLayout
from workbench.engine.fast.loop import PairLoop
from workbench.engine.fast.proof import UnsuitableError, suited
from workbench.engine.methods.losses import Objective, PairLogps, preferred
from workbench.engine.methods.trainer_setup import TrainerInputs, arguments, with_adapter, without_dropout
from workbench.engine.methods.trl_trainer import ForwardSums, TrlTrainer, WithIndices, build_trl
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import Share, Shares, lengths
from workbench.engine.training.data import PAIR_INDEX, longest
from workbench.engine.training.score_recorder import BatchLogps
from workbench.engine.training.trackers import Trackers
from workbench.errors import WorkbenchError
from workbench.runs.activation_memory import TOKEN_BUDGET, Rows, plain_parts
from workbench.runs.checkpoints import RunProgress
from workbench.runs.estimate import LIBRARIES, Plan, checkpointing, planned, plans
from workbench.runs.model_shape import shape_of
from workbench.runs.quantities import PREFERENCE_ACCURACY

_TRIED = 2
"""Pairs that a model is tried with: the longest ones."""


def build(inputs: TrainerInputs) -> PairLoop | PairTrainer:
    """The fast path's loop; or TRL's trainer where the config wants that or the model cannot do better.

    `slower_because` of either says why it is not a faster one.
    Raises `WorkbenchError` where the settings do not fit the model.
    """
    config, slower_because = inputs.config, "fast = false"
    if config.fast:
        # Processes that came to different answers would wait for each other for ever.
        layout, slower_because = distributed.made_by_first(lambda: _layout(inputs))
        if layout is not None:
            settings = DPOConfig(**arguments(inputs), **_settings(config)) if config.report_to else None
            inputs = _planned(inputs, layout)
            inputs = replace(inputs, model=with_adapter(inputs))
            return PairLoop(inputs, layout, slower_because, Trackers(settings, inputs.model, inputs.tokenizer))
        inputs, told = _in_parts(inputs)
        slower_because += told
        config = inputs.config
    trainer: PairTrainer = build_trl(PairTrainer, DPOConfig, inputs, _settings(config), objective=Objective.of(config))
    trainer.slower_because = slower_because
    return trainer


def _layout(inputs: TrainerInputs) -> tuple[RowLayout | None, str]:
    """The layout that suits the model on the run's longest pairs, or None; and why there is no faster one."""
    if by := distributed.sharded_by():
        # Every forward gathers weights from all processes, so all have to make as many: here that goes by lengths.
        return None, f"{by} shares the model out over the processes"
    pairs, limit = inputs.prepared.train, inputs.config.max_length
    sizes = lengths(pairs, limit)
    tried = sorted(range(len(sizes)), key=lambda index: -sizes[index])[:_TRIED]
    without_dropout(inputs.model)
    try:
        return suited(inputs.model, [pairs[index].cut(limit) for index in tried])
    except UnsuitableError as error:
        return None, str(error)


def _planned(inputs: TrainerInputs, layout: RowLayout) -> TrainerInputs:
    """With as few layers computed again in the backward, and as many tokens at once, as free memory asks: that changes
    no number. The model is loaded already."""
    config, device = inputs.config, inputs.model.device
    choice = plans(config, "cpu" if device.type == "cpu" else "cuda")
    plan = choice[0] if len(choice) == 1 else distributed.made_by_first(lambda: _plan(inputs, layout))
    config = config.model_copy(update={"checkpointing": plan.checkpointing})
    return replace(inputs, config=config, tokens_at_once=0 if device.type == "cpu" else plan.tokens)


def _plan(inputs: TrainerInputs, layout: RowLayout) -> Plan:
    config, device = inputs.config, inputs.model.device
    # What the model takes already is in the estimate too.
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) + LIBRARIES["cuda"]
    rows: Rows = "apart" if layout is RowLayout.APART else "shared"
    try:
        shape = shape_of(config.model)
    except WorkbenchError:
        return Plan(checkpointing(config, "cuda")[-1], TOKEN_BUDGET["cuda"])
    return planned(shape, config, longest(inputs.prepared.train, config.max_length), "cuda", free, rows)


def _in_parts(inputs: TrainerInputs) -> tuple[TrainerInputs, str]:
    """As many micro-batches as keep TRL's rows within the tokens that the fast path, for which the run's memory was
    estimated, would have had at once; and what to tell of it. A loss across pairs has to see them together."""
    config = inputs.config
    if Objective.of(config).across_pairs:
        return inputs, ""
    most = max(lengths(inputs.prepared.train, config.max_length), default=0)
    parts = plain_parts(config, most, inputs.model.device.type)
    if parts == config.gradient_accumulation:
        return inputs, ""
    changed = config.model_copy(update={"gradient_accumulation": parts})
    return replace(inputs, config=changed), f"; for its memory, a step goes through the model in {parts} parts"


def _settings(config: RunConfig) -> dict[str, Any]:
    return {
        "loss_type": list(config.loss_type),
        "loss_weights": list(config.loss_weights) or None,
        "beta": config.beta,
        "label_smoothing": config.label_smoothing,
        "max_length": config.max_length,
    }


class PairTrainer(TrlTrainer, DPOTrainer):
    """DPOTrainer over pairs that are tokenized already, in an order of its own, shared out over processes.

    accelerate would fill the last batch of an epoch up with pairs that were seen already, and TRL asks the other
    processes for a dozen numbers a batch. Here each process takes its part of what is left, its loss weighs as much as
    its pairs do, and metrics, tokens and what was seen of pairs are put together when they are logged.

    simpo and orpo need no forward of a reference, and so have a loss of their own. Their metrics have TRL's names:
    rewards are what the method takes for such, log-probabilities sums over a response.
    """

    def __init__(self, *, objective: Objective, **arguments: Any) -> None:
        self._objective = objective
        self._margins: torch.Tensor | None = None  # of a batch, where rewards are not DPO's
        self._shares: dict[str, Shares] = {}
        self._tokens_told = 0
        super().__init__(**arguments)
        if distributed.count() > 1:
            self.accelerator.gather = self.accelerator.gather_for_metrics = _as_it_is
        self.data_collator: Any = WithIndices(self.data_collator)
        self._forwards = ForwardSums(self.model)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *others: Any, **named: Any) -> Any:
        """The loss of a batch whose first half is chosen and second half rejected."""
        inputs = dict(inputs)
        indices = inputs.pop(PAIR_INDEX).tolist()
        shares = self._shares.get(self.mode)
        share = shares.share(indices) if shares is not None else Share(tuple(indices), len(indices), len(indices), 1)
        self.count(share.own, share.total)
        with self._forwards.watched() as sums:
            loss = super().compute_loss(model, inputs, *others, **named)
        # Two forwards, policy and reference, each of 2B sums.
        seen = torch.stack(sums).reshape(-1, len(indices))
        if self._objective.reference:
            right = preferred(seen[0] - seen[2], seen[1] - seen[3]).mean()
            self._metrics[self.mode][PREFERENCE_ACCURACY].append(right.item())
        if self.recorder is not None:
            logps = seen.tolist()
            margins = self._margins.tolist() if self._margins is not None else None
            self.recorder(BatchLogps(self.model.training, indices, logps, margins), self.step)
        return loss * share.weight if self.model.training else loss

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool) -> Any:
        if self._objective.reference:
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
        losses = self._objective.losses(logps)
        good, bad = self._objective.rewards(logps)
        self._margins = good - bad
        means = {
            "rewards/chosen": good.mean(),
            "rewards/rejected": bad.mean(),
            "rewards/accuracies": (good > bad).float().mean(),
            PREFERENCE_ACCURACY: preferred(good, bad).mean(),
            "rewards/margins": (good - bad).mean(),
            "logps/chosen": chosen.detach().mean(),
            "logps/rejected": rejected.detach().mean(),
            "entropy": (outputs.entropy.detach() * mask[:, 1:]).sum() / counts.sum(),
        }
        # One copy from the device for all of them.
        for name, value in zip(means, torch.stack(list(means.values())).tolist(), strict=True):
            self._metrics[self.mode][name].append(value)
        if self.model.training:
            self._total_train_tokens += int(inputs["attention_mask"].sum())
        self._metrics[self.mode]["num_tokens"] = [self._total_train_tokens]
        return losses.mean()

    def go_on_from(self, at: RunProgress) -> None:
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

    def get_train_dataloader(self) -> DataLoader:
        """All pairs, or this process's share of each batch."""
        if distributed.count() == 1:
            return super().get_train_dataloader()
        return self._loader_of_share("train", self.train_dataset, self._order, self.args.per_device_train_batch_size)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """The same of the held-out pairs."""
        if distributed.count() == 1:
            return super().get_eval_dataloader(eval_dataset)
        pairs = self.eval_dataset
        return self._loader_of_share("eval", pairs, range(len(pairs)), self.args.per_device_eval_batch_size)

    def _loader_of_share(self, mode: str, dataset: Any, order: Any, batch_size: int) -> DataLoader:
        shares = self._shares[mode] = Shares(order, batch_size, distributed.count(), distributed.rank())
        loader = DataLoader(dataset, batch_sampler=shares, collate_fn=self.data_collator)
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
        total = distributed.summed(
            {**sums, "pairs": sum(sizes), "num_tokens": self._total_train_tokens - self._tokens_told}
        )
        for name in sums:
            metrics[name] = [total[name] / total["pairs"]]
        sizes[:] = [int(total["pairs"])]
        self._tokens_told += int(total["num_tokens"])
        self._total_train_tokens = self._tokens_told
        metrics["num_tokens"] = [self._tokens_told]


def _as_it_is(value: Any) -> Any:
    return value
