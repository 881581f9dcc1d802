"""The loss of a step over all its pairs, whatever micro-batches they go through the model in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from workbench.config import RunConfig
from workbench.engine.methods.losses import (
    ACROSS_PAIRS,
    REFERENCE_FREE,
    LossSettings,
    PairLogps,
    pair_rewards,
    weighted_losses,
)


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimized: a weighted sum of losses, whose mean over the pairs of a step is the step's loss."""

    method: str
    names: tuple[str, ...]
    weights: tuple[float, ...]
    settings: LossSettings

    @classmethod
    def of(cls, config: RunConfig) -> Objective:
        """That of the config's method."""
        settings = LossSettings(
            beta=config.beta, label_smoothing=config.label_smoothing, simpo_gamma_ratio=config.simpo_gamma_ratio
        )
        names = tuple(config.loss_type) if config.method == "dpo" else (config.method,)
        weights = tuple(config.loss_weights) if config.method == "dpo" else ()
        return cls(config.method, names, weights, settings)

    @property
    def needs_reference(self) -> bool:
        """Whether there is a reference at all."""
        return self.method not in REFERENCE_FREE

    @property
    def across(self) -> bool:
        """Whether a pair's loss depends on the other pairs of its step."""
        return bool(ACROSS_PAIRS.intersection(self.names))

    def losses(self, logps: PairLogps) -> Tensor:
        """(B,), with a gradient where the log-probabilities have one."""
        return weighted_losses(self.names, self.weights, logps, self.settings)

    def rewards(self, logps: PairLogps) -> tuple[Tensor, Tensor]:
        """What the method takes for the rewards of chosen and rejected, each (B,)."""
        return pair_rewards(self.method, logps, self.settings)

    def loss_gradient(self, logps: PairLogps) -> Tensor:
        """(2, B): the derivative of the mean loss with respect to the log-probabilities of chosen and rejected."""
        sums = torch.stack([logps.chosen, logps.rejected]).detach().requires_grad_()
        with torch.enable_grad():
            loss = self.losses(replace(logps, chosen=sums[0], rejected=sums[1])).mean()
            (found,) = torch.autograd.grad(loss, sums)
        return found
