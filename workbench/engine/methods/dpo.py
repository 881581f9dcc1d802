"""TRL's DPOTrainer, set up from a run's config, with adapters kept in float32 and metrics that are means over pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer

from workbench.config import RunConfig
from workbench.engine.methods.sampled import Sampled, over_pairs
from workbench.engine.methods.sharded import Sharded
from workbench.engine.methods.trainer_setup import arguments, lora, settle_adapter, told_as_settings
from workbench.engine.training.data import PLACE, Prepared
from workbench.engine.training.score_recorder import Forwards, Places, Seen


class PairTrainer(Sharded, Sampled, DPOTrainer):
    """DPOTrainer over pairs that are tokenized already, in an order of its own.

    `saw` is told what the loss saw of each pair, and after how many updates; a
    loss whose rewards are not DPO's leaves the batch's `margins` for it.
    """

    def __init__(self, **arguments: Any) -> None:
        self.margins: torch.Tensor | None = None
        self.slow = ""
        super().__init__(**arguments)
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
            margins = self.margins.tolist() if self.margins is not None else None
            self.saw(Seen(self.model.training, places.tolist(), logps, margins), self.state.global_step)
        return loss * self.weight if self.model.training else loss

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if PLACE not in self._signature_columns:
            self._signature_columns.append(PLACE)


def build_trainer(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    checkpoints: Path,
    callbacks: Sequence[TrainerCallback] = (),
    kind: type[PairTrainer] = PairTrainer,
    **more: Any,
) -> PairTrainer:
    """The trainer, with a fresh adapter on `model`. Raises `WorkbenchError` where the settings do not fit the model.

    `more` are arguments of a trainer of another `kind`.
    """
    with told_as_settings():
        trainer = kind(
            **over_pairs(config, model, tokenizer, prepared, callbacks),
            args=DPOConfig(
                **arguments(config, len(prepared.train), model.device, checkpoints, evaluates=bool(prepared.holdout)),
                loss_type=list(config.loss_type),
                loss_weights=list(config.loss_weights) or None,
                beta=config.beta,
                label_smoothing=config.label_smoothing,
                max_length=config.max_length,
            ),
            peft_config=lora(config),
            **more,
        )
    trainer.remove_callback(PrinterCallback)
    settle_adapter(trainer.model, config, checkpoints.parent)
    return trainer
