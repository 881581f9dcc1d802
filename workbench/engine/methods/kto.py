"""KTO: answers judged good or bad by themselves, the two of a pair or one without the other. arXiv 2402.01306."""

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

SIDES = ("chosen", "rejected")
THERE = "there"
"""Of a batch of B pairs, (B, 2): whether each has a chosen and a rejected answer."""


class Unpaired:
    """A collator that makes an example of each answer: all chosen first, then all rejected, good and bad in TRL's
    words.

    KTO estimates its reference point from prompts with answers to others. TRL pairs them once, in a fixed order of the
    data; here it is done batch by batch, by one place, so that the order may be random.
    """

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collator = collator

    def __call__(self, pairs: list[dict[str, Any]]) -> dict[str, Any]:
        """What TRL's collator makes of the E examples of B pairs (2B, where none lacks an answer), and `THERE`."""
        examples = [
            {"prompt_ids": pair["prompt_ids"], "completion_ids": pair[f"{side}_ids"], "label": side == "chosen"}
            for side in SIDES
            for pair in pairs
            if pair[f"{side}_ids"]
        ]
        answers = [example["completion_ids"] for example in examples]
        for example, other in zip(examples, answers[-1:] + answers[:-1], strict=True):
            example["KL_completion_ids"] = other
        there = torch.tensor([[bool(pair[f"{side}_ids"]) for side in SIDES] for pair in pairs])
        return self._collator(examples) | {THERE: there}


class UnpairedTrainer(TrlTrainer, KTOTrainer):
    """KTOTrainer over pairs, with what each whole pair's responses got beside TRL's metrics.

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
        indices, there = inputs.pop(PAIR_INDEX), inputs.pop(THERE)
        self.count(len(indices))
        with self._forwards.watched() as sums:
            loss = super().compute_loss(model, inputs, *others, **named)
        # Four forwards: policy and reference, each of the mismatched examples first.
        _, policy, _, reference = (self._of_pairs(forward, there) for forward in sums)
        whole = there.all(1)
        metrics = self._metrics[self.mode]
        if whole.any():
            chosen, rejected = (policy - reference)[:, whole]
            metrics[PREFERENCE_ACCURACY].append(preferred(chosen, rejected).mean().item())
        metrics["kto/reference_point"].append(metrics["kl"].pop())
        del metrics["kl"]
        if self.recorder is not None and whole.any():
            logps = torch.cat([policy, reference])[:, whole].tolist()
            self.recorder(BatchLogps(self.model.training, indices[whole].tolist(), logps), self.step)
        return loss

    @staticmethod
    def _of_pairs(sums: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Sums (E) of the examples as (2, B) of the pairs, chosen and rejected; NaN where there is no answer."""
        placed = torch.full(there.T.shape, torch.nan, device=sums.device)
        placed[there.T.to(sums.device)] = sums
        return placed


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
