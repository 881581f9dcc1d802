"""SimPO and ORPO: losses of chosen and rejected under the policy alone, so no forward of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from workbench.config import RunConfig
from workbench.engine.methods.dpo import PairTrainer, build_trainer
from workbench.engine.methods.losses import LossSettings, PairLogps, pair_losses, pair_rewards
from workbench.engine.training.data import Prepared


class ReferenceFreeTrainer(PairTrainer):
    """Metrics have TRL's names: rewards are what the method takes for such, log-probabilities sums over a response."""

    def __init__(self, *, method: str, settings: LossSettings, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._method, self._settings = method, settings

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool) -> Any:
        del return_outputs  # The logits are never made.
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
        self.margins = good - bad
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
        self._metrics["train" if self.model.training else "eval"]["num_tokens"] = [self._total_train_tokens]
        return losses.mean()

    def _note(self, means: dict[str, torch.Tensor]) -> None:
        metrics = self._metrics["train" if self.model.training else "eval"]
        # One copy from the device for all of them.
        for name, value in zip(means, torch.stack(list(means.values())).tolist(), strict=True):
            metrics[name].append(value)


def build(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    checkpoints: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> ReferenceFreeTrainer:
    """The trainer of simpo and orpo, with a fresh adapter on `model`. Raises `WorkbenchError` as `build_trainer`."""
    settings = LossSettings(beta=config.beta, simpo_gamma_ratio=config.simpo_gamma_ratio)
    arguments = (config, model, tokenizer, prepared, checkpoints, callbacks)
    trainer = build_trainer(*arguments, kind=ReferenceFreeTrainer, method=config.method, settings=settings)
    assert isinstance(trainer, ReferenceFreeTrainer)
    return trainer
