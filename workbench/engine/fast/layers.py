"""What a decoder layer does besides its linear layers, each as one operation whose backward is written out.

Autograd would make a dozen small steps of each, and keep what lies between them: for a small model on the CPU, they
take longer than its matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

RopeAngles = tuple[Tensor, Tensor]
"""Cosines of the angles of T positions, and their sines, the first half of them negative: (T, heads, D) each. Angles
are the same for all heads and both halves, but written out, so that a product with them runs through in one go."""


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x (..., H), divided by the root of the mean of its squares, times `weight` (H,), which gets no gradient.

    Zhang and Sennrich, *Root Mean Square Layer Normalization* (2019).
    """
    found: Tensor = _RmsNorm.apply(x, weight, epsilon)
    return found


def swiglu(both: Tensor) -> Tensor:
    """silu(gate) · up, (T, I), of gate and up beside each other, (T, 2 I). Shazeer, *GLU Variants* (2020)."""
    found: Tensor = _Swiglu.apply(both)
    return found


def rope_angles(cosines: Tensor, sines: Tensor, heads: int) -> RopeAngles:
    """What `apply_rope` takes, of the `cosines` and `sines` (T, D) of T positions, for so many heads at most."""
    first, second = sines.chunk(2, 1)
    both = cosines, torch.cat([-first, second], 1)
    cosine, sine = (each[:, None].expand(-1, heads, -1).contiguous() for each in both)
    return cosine, sine


def apply_rope(x: Tensor, by: RopeAngles, sign: float = 1.0) -> Tensor:
    """Heads x (T, heads, D), turned by the angles of their positions.

    The first half of a head is paired with its second, as Llama does it. With a `sign` of -1.0 it is the transpose:
    what a gradient behind the turn is before it. Su et al., *RoFormer* (2021).
    """
    cosines, sines = (each[:, : x.shape[1]] for each in by)
    found = x * cosines
    for one, other, sine in zip(found.chunk(2, -1), reversed(x.chunk(2, -1)), sines.chunk(2, -1), strict=True):
        one.addcmul_(other, sine, value=sign)
    return found


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = squares.div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        found = gradients[0] * weight
        along = torch.linalg.vecdot(found, x).unsqueeze(-1)
        along.mul_(scale.pow(3)).div_(x.shape[-1])
        return found.mul_(scale).addcmul_(x, along, value=-1.0), None, None


class _Swiglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, -1)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, -1)
        found = torch.empty_like(both)
        to_gate, to_up = found.chunk(2, -1)
        sigmoid = torch.sigmoid(gate)
        passed = gate * sigmoid
        torch.mul(gradients[0], passed, out=to_up)
        # silu's slope is σ + silu · (1 − σ); its own kernel takes several times as long.
        slope = passed.addcmul_(passed, sigmoid, value=-1.0).add_(sigmoid)
        torch.mul(gradients[0], up, out=to_gate).mul_(slope)
        return found
