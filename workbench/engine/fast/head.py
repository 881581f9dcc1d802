"""Log-probabilities of response tokens from the states that predict them, without holding the logits.

The output layer is frozen, so all that the backward needs is the derivative of each token's log-probability with
respect to its state: as wide as the state, not as the vocabulary. The forward computes it at once, tile by tile, from
the probabilities that it has at hand. No logits outlive their tile, and none is computed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.runs.activation_memory import TILE_BYTES

_SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier")


@dataclass(frozen=True, slots=True)
class Head:
    """An output layer: `weight` (V, H), maybe a bias (V,); logits are scaled, then squeezed into ±`softcap`."""

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, states: Tensor) -> Tensor:
        """(N, V) in float32, of states (N, H)."""
        logits = torch.nn.functional.linear(states.to(self.weight.dtype), self.weight, self.bias).float()
        return finished(logits, self.scale, self.softcap)

    def slope(self, logits: Tensor) -> Tensor | None:
        """The derivative of the squeezed logits with respect to those before; None for 1."""
        return None if self.softcap is None else 1 - (logits / self.softcap) ** 2

    def tiles(self, count: int) -> Sequence[slice]:
        """So many predictions, cut so that the logits of a part take bounded memory."""
        return tiles(count, len(self.weight), self.weight.device)


def finished(logits: Tensor, scale: float, softcap: float | None) -> Tensor:
    """What a family makes of the logits of its output layer, of any shape."""
    if scale != 1.0:
        logits = logits * scale
    return logits if softcap is None else torch.tanh(logits / softcap) * softcap


def finishing(base: Any) -> tuple[float, float | None]:
    """The scale and the softcap of a causal language model's logits; the names are those of the families' configs."""
    config = base.config.get_text_config()
    scale = next((value for name in _SCALES if (value := getattr(config, name, None)) is not None), 1.0)
    if getattr(config, "logits_scaling", None) is not None:
        scale = 1 / config.logits_scaling
    return float(scale), getattr(config, "final_logit_softcapping", None)


def tiles(count: int, vocabulary: int, device: torch.device, at_once: int = 1) -> Sequence[slice]:
    """So many predictions, cut so that the logits of a part take bounded memory, `at_once` of them together."""
    width = max(1, TILE_BYTES.get(device.type, 2**26) // (4 * vocabulary * at_once))
    return [slice(begin, begin + width) for begin in range(0, count, width)]


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Of N tokens, each (N,) in float32: log-probability; the entropy and the mean logit of the distribution that it
    was predicted from, and 1.0 where it was the likeliest token."""

    logps: Tensor
    entropy: Tensor
    mean_logits: Tensor
    is_top1: Tensor


def token_scores(head: Head, states: Tensor, targets: Tensor) -> TokenScores:
    """The scores of `targets` (N,) from the states (N, H) that predict them. Only `logps` pass a gradient on."""
    logps, entropy, mean_logits, is_top1 = _TokenScores.apply(states, targets, head)
    return TokenScores(logps, entropy, mean_logits, is_top1)


@torch.no_grad()
def token_logps(head: Head, states: Tensor, targets: Tensor) -> Tensor:
    """(N,): the log-probabilities of `targets` alone, in float32, without gradient."""
    logps = states.new_empty((len(targets),), dtype=torch.float32)
    with torch.autocast(states.device.type, enabled=False):
        for tile in head.tiles(len(targets)):
            logits = head.logits(states[tile])
            logps[tile] = _target_logits(logits, targets[tile]) - _normalized(logits)[2]
    return logps


class _TokenScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, targets: Tensor, head: Head) -> tuple[Tensor, ...]:
        scores = states.new_empty((4, len(targets)), dtype=torch.float32)
        wanted = ctx.needs_input_grad[0]
        slopes = torch.empty_like(states) if wanted else None
        with torch.autocast(states.device.type, enabled=False):
            for tile in head.tiles(len(targets)):
                _tile(head, states[tile], targets[tile], scores[:, tile], None if slopes is None else slopes[tile])
        if slopes is not None:
            ctx.save_for_backward(slopes)
        logps, entropy, mean_logits, is_top1 = scores.unbind()
        ctx.mark_non_differentiable(entropy, mean_logits, is_top1)
        return logps, entropy, mean_logits, is_top1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradients[0].unsqueeze(1).to(slopes.dtype), None, None


def _tile(head: Head, states: Tensor, targets: Tensor, scores: Tensor, slopes: Tensor | None) -> None:
    """Fills `scores` (4, n) and, where they are wanted, `slopes` (n, H)."""
    logits = head.logits(states)
    target_logits = _target_logits(logits, targets)
    top, probabilities, normalizer = _normalized(logits)
    scores[0] = target_logits - normalizer
    scores[1] = normalizer - torch.linalg.vecdot(probabilities, logits)
    scores[2] = logits.mean(-1)
    scores[3] = target_logits >= top
    if slopes is None:
        return
    # d logp / d state = (the target's line of the weight − its mean under the probabilities), slope and scale aside.
    weight, bend = head.weight, head.slope(logits)
    lines = weight[targets]
    if bend is not None:
        probabilities *= bend
        lines = lines * bend.gather(1, targets[:, None]).to(weight.dtype)
    torch.sub(lines, probabilities.to(weight.dtype) @ weight, out=slopes)
    if head.scale != 1.0:
        slopes *= head.scale


def _target_logits(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.gather(1, targets[:, None])[:, 0]


def _normalized(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The highest logit (n,), the probabilities (n, V), and the logarithm of the sum of all exponentials (n,).

    The likeliest token's probability is 1/V at least, so its logarithm is exact enough, and spares the sum.
    """
    top, probabilities = logits.amax(-1), logits.softmax(-1)
    return top, probabilities, top - probabilities.amax(-1).log()
