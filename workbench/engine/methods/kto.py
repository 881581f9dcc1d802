"""KTO: the two responses of a pair, each judged good or bad by itself. arXiv 2402.01306."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import KTOConfig, KTOTrainer

from workbench.config import RunConfig
from workbench.engine.methods.checkpointed import Checkpointed, over_pairs
from workbench.engine.methods.trainer_setup import arguments, lora, settle_adapter, told_as_settings
from workbench.engine.training.data import PLACE, Prepared
from workbench.engine.training.score_recorder import Forwards, Places, Seen
from workbench.engine.training.watcher import NOBODY, Watcher

_COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids", PLACE)


class Unpaired:
    """A collator that makes two examples of a pair: all chosen first, then all rejected, good and bad in TRL's words.

    KTO estimates its reference point from prompts with answers to others. TRL pairs them once, in a fixed order of the
    data; here it is done batch by batch, by one place, so that the order may be random.
    """

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collator = collator

    def __call__(self, pairs: list[dict[str, Any]]) -> dict[str, Any]:
        """What TRL's collator makes of the 2B examples of B pairs."""
        examples = [
            {"prompt_ids": pair["prompt_ids"], "completion_ids": pair[f"{side}_ids"], "label": side == "chosen"}
            for side in ("chosen", "rejected")
            for pair in pairs
        ]
        answers = [example["completion_ids"] for example in examples]
        for example, other in zip(examples, answers[-1:] + answers[:-1], strict=True):
            example["KL_completion_ids"] = other
        return self._collator(examples)


class UnpairedTrainer(Checkpointed, KTOTrainer):
    """KTOTrainer over pairs, with what each pair's responses got beside TRL's metrics.

    TRL's `kl`, the reference point, is named `kto/reference_point`: it is a sum over a response, in nats, of answers to
    other prompts, and no distance of the policy from its reference.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.data_collator: Any = Places(Unpaired(self.data_collator))
        self._forwards = Forwards(self.model)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch of good answers, then bad ones."""
        inputs = dict(inputs)
        places = inputs.pop(PLACE)
        pairs = len(places)
        self.count(pairs)
        with self._forwards.watched() as sums:
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # Four forwards: policy and reference, each of the mismatched examples first.
        mismatched, policy, _, reference = torch.stack(sums).reshape(4, 2, pairs)
        del mismatched
        chosen, rejected = policy - reference
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["rewards/accuracies"].append((chosen > rejected).float().mean().item())
        metrics["kto/reference_point"].append(metrics["kl"].pop())
        del metrics["kl"]
        if self.saw is not None:
            logps = torch.cat([policy, reference]).tolist()
            self.saw(Seen(self.model.training, places.tolist(), logps), self.state.global_step)
        return loss

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = list(_COLUMNS)


def build(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    checkpoints: Path,
    watcher: Watcher = NOBODY,
) -> UnpairedTrainer:
    """The trainer, with a fresh adapter on `model`. Raises `WorkbenchError` where the settings do not fit the model."""
    with told_as_settings():
        trainer = UnpairedTrainer(
            **over_pairs(config, model, tokenizer, prepared, watcher),
            args=KTOConfig(
                **arguments(config, len(prepared.train), model.device, checkpoints, evaluates=bool(prepared.holdout)),
                beta=config.beta,
                desirable_weight=config.desirable_weight,
                undesirable_weight=config.undesirable_weight,
                max_length=config.max_length,
            ),
            peft_config=lora(config),
        )
    trainer.remove_callback(PrinterCallback)
    settle_adapter(trainer.model, config, checkpoints.parent)
    return trainer
