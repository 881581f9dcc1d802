"""KTO: the two responses of a pair, each judged good or bad by itself. arXiv 2402.01306."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from trl import KTOConfig, KTOTrainer

from workbench.engine.methods.losses import preferred
from workbench.engine.methods.trainer_setup import TrainerInputs
from workbench.engine.methods.trl_trainer import ForwardSums, TrlTrainer, WithIndices, build_trl
from workbench.engine.training.data import PAIR_INDEX
from workbench.engine.training.score_recorder import BatchLogps
from workbench.runs.quantities import PREFERENCE_ACCURACY


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


class UnpairedTrainer(TrlTrainer, KTOTrainer):
    """KTOTrainer over pairs, with what each pair's responses got beside TRL's metrics.

    TRL's `kl`, the reference point, is named `kto/reference_point`: it is a sum over a response, in nats, of answers to
    other prompts, and no distance of the policy from its reference.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.data_collator: Any = WithIndices(Unpaired(self.data_collator))
        self._forwards = ForwardSums(self.model)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *others: Any, **named: Any) -> Any:
        """The loss of a batch of good answers, then bad ones."""
        inputs = dict(inputs)
        indices = inputs.pop(PAIR_INDEX)
        pairs = len(indices)
        self.count(pairs)
        with self._forwards.watched() as sums:
            loss = super().compute_loss(model, inputs, *others, **named)
        # Four forwards: policy and reference, each of the mismatched examples first.
        _, policy, _, reference = torch.stack(sums).reshape(4, 2, pairs)
        chosen, rejected = policy - reference
        metrics = self._metrics[self.mode]
        metrics[PREFERENCE_ACCURACY].append(preferred(chosen, rejected).mean().item())
        metrics["kto/reference_point"].append(metrics["kl"].pop())
        del metrics["kl"]
        if self.recorder is not None:
            logps = torch.cat([policy, reference]).tolist()
            self.recorder(BatchLogps(self.model.training, indices.tolist(), logps), self.step)
        return loss


def build(inputs: TrainerInputs) -> UnpairedTrainer:
    """See `build_trl`."""
    config = inputs.config
    settings = {
        "beta": config.beta,
        "desirable_weight": config.desirable_weight,
        "undesirable_weight": config.undesirable_weight,
        "max_length": config.max_length,
    }
    trainer: UnpairedTrainer = build_trl(UnpairedTrainer, KTOConfig, inputs, settings)
    return trainer
