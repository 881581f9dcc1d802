"""An optimizer step over its pairs: what it minimizes, and what is noted as its micro-batches go through the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from workbench.config import RunConfig
from workbench.engine.fast.forward import PairOutputs
from workbench.engine.methods.losses import (
    ACROSS_PAIRS,
    REFERENCE_FREE,
    LossSettings,
    PairLogps,
    pair_rewards,
    weighted_losses,
)
from workbench.engine.model.token_ids import PairIds
from workbench.methods import uses


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
        names = tuple(config.loss_type) if uses(config.method, "loss_type") else (config.method,)
        weights = tuple(config.loss_weights)
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


class Step:
    """B pairs, cut already, that lie at `places` in their data set.

    `micro` are the indices of each micro-batch; `reference` (2, B) is None where there is none. `tokens_read` counts as
    TRL does, which reads the prompt twice.

    `sums` (2, B) are filled by `note`: the log-probabilities of chosen and rejected, without gradient.
    """

    def __init__(
        self,
        places: Sequence[int],
        pairs: Sequence[PairIds],
        micro: Sequence[list[int]],
        reference: Tensor | None,
        device: torch.device,
    ) -> None:
        self.places, self.pairs, self.micro, self.reference = places, pairs, micro, reference
        self.tokens_read = sum(2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected) for pair in pairs)
        lengths = [[len(pair.chosen) for pair in pairs], [len(pair.rejected) for pair in pairs]]
        self.lengths = torch.tensor(lengths, device=device)
        self.sums = torch.zeros((2, len(pairs)), device=device)
        self._tokens = sum(lengths[0]) / len(pairs)
        self._totals = torch.zeros((4,), device=device)
        self._counts = torch.zeros((4,), device=device)

    def logps(self, sums: Tensor, indices: Sequence[int] | slice = slice(None)) -> PairLogps:
        """What the losses take of the pairs at `indices`, whose sums (2, n) these are."""
        lengths = self.lengths[:, indices]
        good, bad = (None, None) if self.reference is None else self.reference[:, indices]
        return PairLogps(sums[0], sums[1], lengths[0], lengths[1], good, bad, tokens_a_pair=self._tokens)

    def note(self, indices: Sequence[int], outputs: PairOutputs) -> None:
        """Keeps of a micro-batch what the metrics need."""
        scores, (chosen, rejected) = outputs.scores, outputs.rows.sides
        self.sums[:, indices] = outputs.sums.detach()
        both = chosen + rejected
        values = torch.stack([scores.mean_logits, scores.mean_logits, scores.is_top1, scores.entropy])
        weights = torch.stack([chosen, rejected, chosen, both])
        self._totals += (values * weights).sum(1)
        self._counts += weights.sum(1)

    def means(self) -> Tensor:
        """(4,): the mean logit at tokens of chosen, at those of rejected, the share of chosen's tokens that were the
        likeliest ones, and the entropy at tokens of both."""
        return self._totals / self._counts.clamp(min=1)
