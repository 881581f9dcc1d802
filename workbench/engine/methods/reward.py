"""A reward model: the base with a head that gives an answer one number, trained to rank. arXiv 2203.02155."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from trl import RewardConfig, RewardTrainer

from workbench.engine.methods.losses import preferred
from workbench.engine.methods.trainer_setup import TrainerInputs, lora
from workbench.engine.methods.trl_trainer import TrlTrainer, build_trl
from workbench.engine.model.loading import HEAD
from workbench.pairs.strength import MARGIN
from workbench.runs.quantities import PREFERENCE_ACCURACY


class RankTrainer(TrlTrainer, RewardTrainer):
    """RewardTrainer over pairs that are tokenized already, in an order of its own."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.data_collator: Any = _Joined(self.data_collator, self.args.max_length)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
        """The loss of a batch whose first half is chosen and second half rejected."""
        self.count(inputs["input_ids"].shape[0] // 2)
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        chosen, rejected = outputs.logits.detach().squeeze(-1).chunk(2)
        self._metrics[self.mode][PREFERENCE_ACCURACY].append(preferred(chosen, rejected).mean().item())
        return loss

    def prediction_step(self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
        """The loss alone: scores are in the metrics already."""
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None


def build(inputs: TrainerInputs) -> RankTrainer:
    """See `build_trl`; the head is fresh too."""
    config = inputs.config
    peft_config, settings = (
        lora(config, inputs.model, "SEQ_CLS", modules_to_save=[HEAD]),
        {"max_length": config.max_length},
    )
    trainer: RankTrainer = build_trl(RankTrainer, RewardConfig, inputs, settings, peft_config=peft_config)
    return trainer


class _Joined:
    """A collator of prompt and response as one sequence, cut at the length limit."""

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]], max_length: int) -> None:
        self._collator, self._max_length = collator, max_length

    def __call__(self, pairs: list[dict[str, Any]]) -> dict[str, Any]:
        """What TRL's collator makes of them."""
        return self._collator(
            [
                {key: [*pair["prompt_ids"], *pair[key]][: self._max_length] for key in ("chosen_ids", "rejected_ids")}
                | {key: pair[key] for key in (MARGIN,) if key in pair}
                for pair in pairs
            ]
        )
