"""LoRA layers on the CPU as one operation each: what PEFT does in ten small steps costs a small model half its time.

The numbers are PEFT's: y = x Wᵀ + b + s · (x Aᵀ) Bᵀ. The product with W is not copied before the adapter's is added to
it, and what the backward keeps is x and x Aᵀ alone. There is no gradient for the base's W. Where it is held in 4 bits,
it is unpacked for each use; but of a small model it is unpacked once: that takes memory that does not matter, and
unpacking three times a step takes a tenth of the time.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft.tuners.lora import Linear
from peft.tuners.lora.bnb import Linear4bit as LoraLinear4bit
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

_UNPACKED = 64 * 1024**2
"""Bytes that a model's unpacked weights may take to be kept."""


def fuse(model: torch.nn.Module) -> None:
    """Lets LoRA layers of `model` run as one operation where that is all they are.

    Layers with dropout, DoRA or another variant, or a base of another kind, stay as they are.
    """
    layers = [module for module in model.modules() if _plain(module)]
    packed = [layer.base_layer for layer in layers if isinstance(layer.base_layer, Linear4bit)]
    if sum(4 * base.in_features * base.out_features for base in packed) <= _UNPACKED:
        for base in packed:
            base.unpacked = _weight(base)
    for layer in layers:
        layer.forward = types.MethodType(_forward, layer)


@contextmanager
def adapters_off(model: torch.nn.Module) -> Iterator[None]:
    """As PeftModel's `disable_adapter`, for a forward without gradients: that one walks through all modules ten times,
    which takes longer than the forward of a small model."""
    layers = [
        module for module in model.modules() if isinstance(module, BaseTunerLayer) and not module.disable_adapters
    ]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def _plain(module: torch.nn.Module) -> bool:
    if not isinstance(module, Linear | LoraLinear4bit) or getattr(module, "fan_in_fan_out", False):
        return False
    base = module.get_base_layer()
    whole = type(base) is torch.nn.Linear and base.weight.dtype == torch.float32
    packed = type(base) is Linear4bit and base.compute_dtype == torch.float32 and base.weight.quant_state is not None
    bare = not module.lora_variant and not any(module.lora_bias.values())
    still = all(isinstance(each, torch.nn.Identity) for each in module.lora_dropout.values())
    return (whole or packed) and bare and still


def _forward(self: Any, x: Tensor, *arguments: Any, **named: Any) -> Tensor:
    if arguments or named or self.merged or len(self.active_adapters) != 1 or x.dtype != torch.float32:
        return type(self).forward(self, x, *arguments, **named)
    base = self.base_layer
    if self.disable_adapters:
        return torch.nn.functional.linear(x, _weight(base), base.bias) if not x.requires_grad else base(x)
    name = self.active_adapters[0]
    if name not in self.lora_A or self.lora_A[name].weight.dtype != x.dtype:
        return type(self).forward(self, x)
    found: Tensor = _Lora.apply(x, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name], base)
    return found


def _weight(base: Any) -> Tensor:
    """(outputs, inputs), as numbers."""
    if isinstance(base, Linear4bit):
        if (kept := getattr(base, "unpacked", None)) is not None:
            return kept
        return dequantize_4bit(base.weight.data, base.weight.quant_state)
    weight: Tensor = base.weight
    return weight


class _Lora(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, first: Tensor, second: Tensor, scale: float, base: Any) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ first.T
        found = torch.nn.functional.linear(flat, _weight(base), base.bias)
        found.addmm_(low, second.T, alpha=scale)
        ctx.save_for_backward(flat, low, first, second)
        ctx.scale, ctx.base, ctx.shape = scale, base, x.shape
        return found.view(*x.shape[:-1], found.shape[-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        flat, low, first, second = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        inner = (gradient @ second).mul_(ctx.scale)
        to_second = (gradient.T @ low).mul_(ctx.scale)
        to_first = inner.T @ flat
        if not ctx.needs_input_grad[0]:
            return None, to_first, to_second, None, None
        to_x = (gradient @ _weight(ctx.base)).addmm_(inner, first)
        return to_x.view(ctx.shape), to_first, to_second, None, None
