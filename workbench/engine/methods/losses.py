"""The losses of preference optimization, as pure functions of a pair's log-probabilities.

Log-probabilities are natural, in nats. Of a pair, pi(y) is what the policy gives response y, ref(y) what the reference
does; h(y) = log pi(y) - log ref(y) is the log-ratio, both summed over the response's tokens. The names, and what is
summed and what averaged over tokens, are those of TRL 1.16; tests compare every value with TRL's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from workbench.config import RunConfig
from workbench.methods import uses


@dataclass(frozen=True, slots=True)
class PairLogps:
    """What the models give a batch of B pairs: each (B,), float32, in nats, summed over the tokens of a response.

    `chosen_tokens` and `rejected_tokens` count those tokens. The references are None where a method has none.
    `tokens_a_pair` is the mean of `chosen_tokens` over all pairs of an optimizer step, where this batch is only a part
    of them: `sft` alone needs it. Without it, the batch's own mean is taken.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    reference_chosen: Tensor | None = None
    reference_rejected: Tensor | None = None
    tokens_a_pair: Tensor | float | None = None


@dataclass(frozen=True, slots=True)
class LossSettings:
    """Numbers that losses take. `beta` is each paper's own: tau for ipo, lambda for orpo.

    `simpo_gamma_ratio` is SimPO's gamma / beta: the margin that it aims at, in nats a token.
    """

    beta: float = 0.1
    label_smoothing: float = 0.0
    discopop_tau: float = 0.05
    simpo_gamma_ratio: float = 0.5


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimized: the sum of the losses of these `names`, by `weights`, one a name, or none for 1 each.

    `reference`: rewards are held to one.
    """

    names: Sequence[str]
    weights: Sequence[float]
    settings: LossSettings
    reference: bool

    @classmethod
    def of(cls, config: RunConfig) -> Objective:
        """That of the config's method."""
        settings = LossSettings(
            beta=config.beta, label_smoothing=config.label_smoothing, simpo_gamma_ratio=config.simpo_gamma_ratio
        )
        names = config.loss_type if uses(config.method, "loss_type") else [config.method]
        return cls(names, config.loss_weights, settings, config.facts.reference)

    @property
    def across_pairs(self) -> bool:
        """Whether a pair's loss depends on the other pairs of its step."""
        return bool(ACROSS_PAIRS.intersection(self.names))

    def losses(self, logps: PairLogps) -> Tensor:
        """The loss of every pair, (B,), with a gradient where the log-probabilities have one; their mean is the step's.

        Raises `ValueError` where a loss needs a reference and `logps` has none.
        """
        weights = self.weights or [1.0] * len(self.names)
        both = zip(self.names, weights, strict=True)
        return torch.stack([weight * LOSSES[name](logps, self.settings) for name, weight in both]).sum(0)

    def loss_gradient(self, logps: PairLogps) -> Tensor:
        """(2, B): the derivative of the mean loss with respect to the log-probabilities of chosen and rejected."""
        sums = torch.stack([logps.chosen, logps.rejected]).detach().requires_grad_()
        with torch.enable_grad():
            loss = self.losses(replace(logps, chosen=sums[0], rejected=sums[1])).mean()
            (gradient,) = torch.autograd.grad(loss, sums)
        return gradient

    def rewards(self, logps: PairLogps) -> tuple[Tensor, Tensor]:
        """What the method takes for the rewards of chosen and rejected, each (B,), without gradient.

        dpo: beta * h, the implicit reward. simpo and orpo: beta * log pi a token.
        """
        chosen, rejected = _ratios(logps) if self.reference else _means(logps)
        return self.settings.beta * chosen.detach(), self.settings.beta * rejected.detach()


def preferred(chosen: Tensor, rejected: Tensor) -> Tensor:
    """(B,), of rewards (B,): 1 where chosen has the higher one, ½ where they are equal. See `quantities.preferred`."""
    return (chosen > rejected).float() + 0.5 * (chosen == rejected)


def sigmoid(logps: PairLogps, settings: LossSettings) -> Tensor:
    """DPO: -log sigmoid(beta * (h_chosen - h_rejected)). arXiv 2305.18290, eq. 7."""
    return -logsigmoid(settings.beta * _delta(logps))


def hinge(logps: PairLogps, settings: LossSettings) -> Tensor:
    """SLiC's hinge on DPO's rewards: max(0, 1 - beta * (h_chosen - h_rejected)). arXiv 2305.10425, 2309.06657."""
    return torch.relu(1 - settings.beta * _delta(logps))


def ipo(logps: PairLogps, settings: LossSettings) -> Tensor:
    """IPO: (d - 1 / (2 beta))^2, where d is the difference of log-ratios a token. arXiv 2310.12036, eq. 17.

    The mean over tokens is not in the paper; its authors confirmed it to those of TRL.
    """
    return (_token_delta(logps) - 1 / (2 * settings.beta)) ** 2


def exo_pair(logps: PairLogps, settings: LossSettings) -> Tensor:
    """EXO for pairs: KL(p || q), p = softmax(beta * h), q = (1 - e, e). arXiv 2402.00856, eq. 16.

    e is `label_smoothing`, which the paper takes as 1e-3: with 0 the loss is infinite.
    """
    smoothing = torch.tensor(settings.label_smoothing)
    scaled = settings.beta * _delta(logps)
    chosen = torch.sigmoid(scaled) * (logsigmoid(scaled) - torch.log1p(-smoothing))
    rejected = torch.sigmoid(-scaled) * (logsigmoid(-scaled) - torch.log(smoothing))
    return chosen + rejected


def nca_pair(logps: PairLogps, settings: LossSettings) -> Tensor:
    """NCA for pairs: the absolute rewards count, not their difference. arXiv 2402.05369."""
    chosen, rejected = _scaled(logps, settings)
    return -logsigmoid(chosen) - 0.5 * logsigmoid(-chosen) - 0.5 * logsigmoid(-rejected)


def robust(logps: PairLogps, settings: LossSettings) -> Tensor:
    """DPO without the bias of labels that are wrong with probability `label_smoothing`. arXiv 2403.00409."""
    scaled, wrong = settings.beta * _delta(logps), settings.label_smoothing
    return (-(1 - wrong) * logsigmoid(scaled) + wrong * logsigmoid(-scaled)) / (1 - 2 * wrong)


def bco_pair(logps: PairLogps, settings: LossSettings) -> Tensor:
    """BCO's classifier of good and bad, its reward shift left out, as in TRL. arXiv 2404.04656."""
    chosen, rejected = _scaled(logps, settings)
    return -logsigmoid(chosen) - logsigmoid(-rejected)


def sppo_hard(logps: PairLogps, settings: LossSettings) -> Tensor:
    """SPPO with certain labels: (h_chosen - 1/(2 beta))^2 + (h_rejected + 1/(2 beta))^2. arXiv 2405.00675, eq. 4.7."""
    chosen, rejected = _ratios(logps)
    return (chosen - 0.5 / settings.beta) ** 2 + (rejected + 0.5 / settings.beta) ** 2


def aot(logps: PairLogps, settings: LossSettings) -> Tensor:
    """AOT, paired: the margins of the batch, sorted, against those of the reference, sorted. arXiv 2406.05882.

    A pair's loss depends on the others of its batch, so the values are of ranks, not of pairs.
    """
    reference_chosen, reference_rejected = _references(logps)
    margins = (logps.chosen - logps.rejected).sort().values
    return _smoothed(margins - (reference_chosen - reference_rejected).sort().values, settings)


def aot_unpaired(logps: PairLogps, settings: LossSettings) -> Tensor:
    """AOT, unpaired: the log-ratios of chosen, sorted, against those of rejected, sorted. arXiv 2406.05882.

    A pair's loss depends on the others of its batch, so the values are of ranks, not of pairs.
    """
    chosen, rejected = _ratios(logps)
    return _smoothed(chosen.sort().values - rejected.sort().values, settings)


def apo_zero(logps: PairLogps, settings: LossSettings) -> Tensor:
    """APO-zero: chosen up, rejected down; for chosen better than the model's own answers. arXiv 2408.06266, eq. 7."""
    chosen, rejected = _scaled(logps, settings)
    return 1 - torch.sigmoid(chosen) + torch.sigmoid(rejected)


def apo_down(logps: PairLogps, settings: LossSettings) -> Tensor:
    """APO-down: both down, rejected more; for chosen worse than the model's own answers. arXiv 2408.06266, eq. 8."""
    chosen, rejected = _scaled(logps, settings)
    return torch.sigmoid(chosen) + 1 - torch.sigmoid(chosen - rejected)


def discopop(logps: PairLogps, settings: LossSettings) -> Tensor:
    """DiscoPOP: a blend of logistic and exponential loss, by the size of the margin. arXiv 2406.08414, eq. 5."""
    scaled = settings.beta * _delta(logps)
    mix = torch.sigmoid(scaled / settings.discopop_tau)
    return -logsigmoid(scaled) * (1 - mix) + torch.exp(-scaled) * mix


def sft(logps: PairLogps, settings: LossSettings) -> Tensor:  # noqa: ARG001 - all losses are called alike
    """The likelihood of chosen: -log pi(chosen) / t, where t is `tokens_a_pair`. As in RPO, arXiv 2404.19733.

    So the mean over pairs is TRL's mean over all tokens, in which a long answer counts more than a short one.
    """
    tokens = logps.tokens_a_pair if logps.tokens_a_pair is not None else logps.chosen_tokens.float().mean()
    return -logps.chosen / tokens


def sigmoid_norm(logps: PairLogps, settings: LossSettings) -> Tensor:
    """DPO on log-ratios a token: length does not count. Tulu 3, arXiv 2411.15124."""
    return -logsigmoid(settings.beta * _token_delta(logps))


def simpo(logps: PairLogps, settings: LossSettings) -> Tensor:
    """SimPO: -log sigmoid(beta * (m_chosen - m_rejected) - gamma), m = log pi a token. arXiv 2405.14734, eq. 6."""
    chosen, rejected = _means(logps)
    return -logsigmoid(settings.beta * (chosen - rejected - settings.simpo_gamma_ratio))


def orpo(logps: PairLogps, settings: LossSettings) -> Tensor:
    """ORPO: -m_chosen - beta * log sigmoid(log odds(m_chosen) - log odds(m_rejected)). arXiv 2403.07691, eq. 6 and 7.

    m is log pi a token, odds(m) = e^m / (1 - e^m), and beta is the paper's lambda. The first term is over the response,
    as in the paper's eq. 3; TRL's takes the prompt's tokens in as well.
    """
    chosen, rejected = _means(logps)
    odds = (chosen - _log_one_minus_exp(chosen)) - (rejected - _log_one_minus_exp(rejected))
    return -chosen - settings.beta * logsigmoid(odds)


LOSSES: Mapping[str, Callable[[PairLogps, LossSettings], Tensor]] = {
    loss.__name__: loss
    for loss in (
        sigmoid, hinge, ipo, exo_pair, nca_pair, robust, bco_pair, sppo_hard, aot, aot_unpaired, apo_zero, apo_down,
        discopop, sft, sigmoid_norm, simpo, orpo,
    )
}  # fmt: skip

ACROSS_PAIRS = frozenset({"aot", "aot_unpaired"})
"""Losses that compare the pairs of a batch with each other: cutting a batch into parts changes them."""


def _references(logps: PairLogps) -> tuple[Tensor, Tensor]:
    if logps.reference_chosen is None or logps.reference_rejected is None:
        raise ValueError("this loss needs the reference's log-probabilities")
    return logps.reference_chosen, logps.reference_rejected


def _ratios(logps: PairLogps) -> tuple[Tensor, Tensor]:
    """h of chosen and rejected."""
    chosen, rejected = _references(logps)
    return logps.chosen - chosen, logps.rejected - rejected


def _scaled(logps: PairLogps, settings: LossSettings) -> tuple[Tensor, Tensor]:
    """beta * h of chosen and rejected: DPO's implicit rewards."""
    chosen, rejected = _ratios(logps)
    return settings.beta * chosen, settings.beta * rejected


def _delta(logps: PairLogps) -> Tensor:
    chosen, rejected = _ratios(logps)
    return chosen - rejected


def _token_delta(logps: PairLogps) -> Tensor:
    """The difference of h a token."""
    chosen, rejected = _ratios(logps)
    return chosen / logps.chosen_tokens.clamp(min=1) - rejected / logps.rejected_tokens.clamp(min=1)


def _means(logps: PairLogps) -> tuple[Tensor, Tensor]:
    """log pi a token of chosen and rejected."""
    return logps.chosen / logps.chosen_tokens.clamp(min=1), logps.rejected / logps.rejected_tokens.clamp(min=1)


def _smoothed(delta: Tensor, settings: LossSettings) -> Tensor:
    scaled, wrong = settings.beta * delta, settings.label_smoothing
    return -(1 - wrong) * logsigmoid(scaled) - wrong * logsigmoid(-scaled)


def _log_one_minus_exp(logp: Tensor) -> Tensor:
    """log(1 - e^x) for x < 0, without cancellation near either end; finite, with a gradient, at x = 0."""
    below = logp.clamp(max=-1e-6)
    return torch.where(below > -0.6931472, torch.log(-torch.expm1(below)), torch.log1p(-torch.exp(below)))
