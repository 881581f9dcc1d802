"""Linear layers of one input, with their LoRA adapters, as one operation on the CPU: what PEFT does in ten small steps
a layer costs a small model half its time.

The numbers are PEFT's, y = x Wᵀ + b + s · (x Aᵀ) Bᵀ, but the adapter is added to the weights for the moment, W + s B A:
that is small work where the tokens of a step are many more than the ranks, and spares the outputs and the gradient of
x a pass each. What the backward keeps is x alone; there is no gradient for W. Where W is held in 4 bits, it is unpacked
for each use. Of a small model it is unpacked once, and lies both ways round, as each direction is faster with its own:
that takes memory that does not matter, and saves a tenth of the time.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft.tuners.lora import Linear
from peft.tuners.lora.bnb import Linear4bit as LoraLinear4bit
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from workbench.runs.activation_memory import KEPT_WEIGHTS


def fuse(model: torch.nn.Module, groups: Sequence[Projections] = ()) -> None:
    """Lets LoRA layers of `model` run as one operation where that is all they are.

    Layers with dropout, DoRA or another variant, or a base of another kind, stay as they are. `groups` are those that
    are used besides, of the same layers: then these keep the weights.
    """
    layers = [layer for layer in adapted(model) if fits(layer)]
    made = [Projections([layer]) for layer in layers]
    kept = groups or made
    if sum(projections.count for projections in kept) <= KEPT_WEIGHTS:
        for projections in kept:
            projections.keep()
    for layer, projection in zip(layers, made, strict=True):
        layer.projections = projection
        layer.forward = types.MethodType(_forward, layer)


def fits(module: torch.nn.Module) -> bool:
    """Whether `Projections` does all that this layer does: a linear one in float32 or NF4, at most with plain LoRA."""
    base = module
    if isinstance(module, BaseTunerLayer):
        if not isinstance(module, Linear | LoraLinear4bit) or getattr(module, "fan_in_fan_out", False):
            return False
        still = all(isinstance(dropout, torch.nn.Identity) for dropout in module.lora_dropout.values())
        if module.lora_variant or any(module.lora_bias.values()) or not still:
            return False
        base = module.get_base_layer()
    if type(base) is Linear4bit:
        return base.compute_dtype == torch.float32 and base.weight.quant_state is not None
    return type(base) is torch.nn.Linear and base.weight.dtype == torch.float32


def adapted(model: torch.nn.Module) -> list[BaseTunerLayer]:
    """The layers of `model` that have adapters."""
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


@contextmanager
def adapters_off(layers: Sequence[BaseTunerLayer]) -> Iterator[None]:
    """As PeftModel's `disable_adapter`, for a forward without gradients: that one walks through all modules ten times,
    which takes longer than the forward of a small model."""
    on = [layer for layer in layers if not layer.disable_adapters]
    for layer in on:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in on:
            layer._disable_adapters = False


@dataclass(frozen=True, slots=True)
class _Lora:
    """Which outputs it adds to, and which of the ranks of all adapters together are its own."""

    outputs: slice
    ranks: slice
    scale: float


class Projections:
    """Linear layers that `fits` approves of, of inputs of one width, as a product with their weights together."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self._layers = layers
        self._bases = [layer.base_layer if isinstance(layer, BaseTunerLayer) else layer for layer in layers]
        self.widths = [base.out_features for base in self._bases]
        self._outputs = [slice(*ends) for ends in pairwise(accumulate(self.widths, initial=0))]
        self._kept: tuple[Tensor, Tensor] | None = None

    @property
    def count(self) -> int:
        """How many weights `keep` unpacks."""
        return sum(base.in_features * base.out_features for base in self._bases)

    def keep(self) -> None:
        """Unpacks the weights once and for all."""
        weight = self._unpacked()
        self._kept = weight, weight.T.contiguous()
        for base, outputs in zip(self._bases, self._outputs, strict=True):
            base.unpacked = weight[outputs]

    def __call__(self, x: Tensor) -> Tensor:
        """(T, outputs of all layers) of x (T, inputs), which is float32."""
        adapters, matrices, rank = [], [], 0
        for layer, of_layer in zip(self._layers, self._outputs, strict=True):
            if isinstance(layer, BaseTunerLayer) and not layer.disable_adapters:
                (name,) = layer.active_adapters
                if name in layer.lora_A:
                    first, second = layer.lora_A[name].weight, layer.lora_B[name].weight
                    adapters.append(_Lora(of_layer, slice(rank, rank + len(first)), layer.scaling[name]))
                    matrices += [first, second]
                    rank += len(first)
        outputs: Tensor = _Projected.apply(x, self, adapters, *matrices)
        return outputs

    def forward_weight(self, adapters: Sequence[_Lora], matrices: Sequence[Tensor]) -> Tensor:
        """(inputs, outputs): the weights for a product in the forward, with what adapters add."""
        if self._kept is None:
            return self.backward_weight(adapters, matrices).T
        if not adapters:
            return self._kept[1]
        merged = self._kept[1].clone()
        for adapter, first, second in zip(adapters, matrices[::2], matrices[1::2], strict=True):
            merged[:, adapter.outputs].addmm_(first.T, second.T, alpha=adapter.scale)
        return merged

    def backward_weight(self, adapters: Sequence[_Lora], matrices: Sequence[Tensor]) -> Tensor:
        """(outputs, inputs): the same for a product in the backward."""
        weight = self._unpacked() if self._kept is None else self._kept[0]
        if not adapters:
            return weight
        merged = weight.clone()
        for adapter, first, second in zip(adapters, matrices[::2], matrices[1::2], strict=True):
            merged[adapter.outputs].addmm_(second, first, alpha=adapter.scale)
        return merged

    def bias(self) -> Tensor | None:
        """(outputs,), if any layer has one."""
        biases = [base.bias for base in self._bases]
        if not any(bias is not None for bias in biases):
            return None
        whole = (
            _weight(base).new_zeros(base.out_features) if bias is None else bias
            for base, bias in zip(self._bases, biases, strict=True)
        )
        return torch.cat(list(whole))

    def _unpacked(self) -> Tensor:
        """(outputs, inputs)."""
        weights = [_weight(base) for base in self._bases]
        return weights[0] if len(weights) == 1 else torch.cat(weights)


def _weight(base: Any) -> Tensor:
    if (unpacked := getattr(base, "unpacked", None)) is not None:
        return unpacked
    if isinstance(base, Linear4bit):
        return dequantize_4bit(base.weight.data, base.weight.quant_state)
    weight: Tensor = base.weight.detach()
    return weight


def _forward(self: Any, x: Tensor, *arguments: Any, **named: Any) -> Tensor:
    """In place of a LoRA layer's own."""
    if arguments or named or self.merged or len(self.active_adapters) != 1 or x.dtype != torch.float32:
        return type(self).forward(self, x, *arguments, **named)
    outputs: Tensor = self.projections(x.reshape(-1, x.shape[-1]))
    return outputs.view(*x.shape[:-1], outputs.shape[-1])


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Projections, adapters: Sequence[_Lora], *matrices: Tensor) -> Tensor:
        ctx.save_for_backward(x, *matrices)
        ctx.group, ctx.adapters = group, adapters
        weight, bias = group.forward_weight(adapters, matrices), group.bias()
        return x @ weight if bias is None else torch.addmm(bias, x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, *matrices) = gradients, ctx.saved_tensors
        to_x = gradient @ ctx.group.backward_weight(ctx.adapters, matrices) if ctx.needs_input_grad[0] else None
        if not ctx.adapters:
            return to_x, None, None
        low = x @ torch.cat(matrices[::2]).T
        inner, to_seconds = torch.empty_like(low), []
        for adapter, second in zip(ctx.adapters, matrices[1::2], strict=True):
            part = gradient[:, adapter.outputs]
            torch.mm(part, second, out=inner[:, adapter.ranks]).mul_(adapter.scale)
            # This way round, the product takes half as long.
            to_seconds.append((low[:, adapter.ranks].T @ part).mul_(adapter.scale).T.contiguous())
        to_firsts = inner.T @ x
        both = zip((to_firsts[adapter.ranks] for adapter in ctx.adapters), to_seconds, strict=True)
        return to_x, None, None, *(matrix for pair in both for matrix in pair)
