"""What a decoder layer does besides its linear layers, each as one operation whose backward is written out.

Autograd would make a dozen small steps of each, and keep what lies between them: for a small model on the CPU, they
take longer than its matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu


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


def rotated(x: Tensor, cosines: Tensor, sines: Tensor, sign: float = 1.0) -> Tensor:
    """Heads x (T, heads, D), turned by the angles of their positions: `cosines` and `sines` are (T, D).

    The first half of a head is paired with its second, as Llama does it. With a `sign` of -1.0 it is the transpose:
    what a gradient behind the turn is before it. Su et al., *RoFormer* (2021).
    """
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    (cosine, other_cosine), (sine, other_sine) = (each[:, None].split(half, -1) for each in (cosines, sines))
    if sign < 0:
        sine, other_sine = other_sine, sine
    found = x.new_empty(x.shape)
    torch.mul(first, cosine, out=found[..., :half]).addcmul_(second, sine, value=-sign)
    torch.mul(second, other_cosine, out=found[..., half:]).addcmul_(first, other_sine, value=sign)
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
        torch.mul(gradients[0], silu(gate), out=to_up)
        torch.ops.aten.silu_backward.grad_input(gradients[0] * up, gate, grad_input=to_gate)
        return found
