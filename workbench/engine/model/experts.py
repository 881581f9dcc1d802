"""Experts of a mixture in 4 bits: packed as they are loaded, unpacked a layer at a time in forward and backward.

transformers 5 holds the experts of a layer in parameters of three dimensions, which bitsandbytes, that looks for linear
layers, passes by: of Qwen3-30B-A3B 57 GB would stay in 16 bits. Here each is quantized as soon as it is read, so that
never more than one is there in full, and stands in its module as bitsandbytes' own parametrization of it. Experts are
frozen, so the backward needs no more of a matrix than its numbers: it unpacks them again and keeps none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from bitsandbytes.functional import QuantState, dequantize_4bit, dequantize_blockwise, quantize_4bit
from bitsandbytes.nn.parametrize import (
    Bnb4bitParametrization,
    replace_parameter_4bit,
    replace_parameter_4bit_prequantized,
)
from torch import Tensor, nn
from transformers.integrations.bitsandbytes import Bnb4bitQuantize
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, _grouped_linear
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
from transformers.quantizers.quantizers_utils import get_module_from_name

_NAME = "in 4 bits"
"""What transformers knows our experts' forward by."""
_KIND = "bitsandbytes_4bit"
_MATRICES = ("gate_up_proj", "up_proj", "down_proj")


@contextmanager
def experts_in_4bit() -> Iterator[None]:
    """Meanwhile, a model that is loaded in 4 bits has its experts in 4 bits too."""
    AUTO_QUANTIZER_MAPPING[_KIND] = _Quantizer
    try:
        yield
    finally:
        AUTO_QUANTIZER_MAPPING[_KIND] = Bnb4BitHfQuantizer


def packed_experts(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, int]]:
    """The matrices of experts that are held in 4 bits: the name that each has unpacked, what holds it, its weights."""
    for path, module in model.named_modules():
        for name in _MATRICES:
            if (state := _state(module, name)) is not None:
                yield f"{path}.{name}", module.parametrizations[name].original, state.shape.numel()


def has_experts(model: nn.Module) -> bool:
    """Whether `model` is a mixture, packed or not, whose experts are known here."""
    return any(_known(module) for module in model.modules())


def pack(model: Any) -> None:
    """Packs the experts of `model` that are not, as NF4 with double quantization, and gives them our forward.

    Experts of families with a way of their own (Llama 4, Granite) stay as they are.
    """
    found = False
    for module in model.modules():
        for name in _MATRICES if _known(module) else ():
            if _three_sided(module, name):
                replace_parameter_4bit(module, name, compress_statistics=True)
            found |= _state(module, name) is not None
    if found:
        model.set_experts_implementation(_NAME)


def _known(module: nn.Module) -> bool:
    """Whether transformers lets the forward of these experts be another."""
    return all(hasattr(module, name) for name in ("num_experts", "is_transposed", "has_bias", "has_gate"))


def _three_sided(module: nn.Module, name: str) -> bool:
    parameter = module._parameters.get(name)
    return parameter is not None and parameter.ndim == 3


def _state(module: nn.Module, name: str) -> QuantState | None:
    """How a matrix is packed; None where it is not, or more than that is made of it (an adapter by PEFT)."""
    made = getattr(module, "parametrizations", {})
    if name not in made or len(made[name]) != 1 or not isinstance(made[name][0], Bnb4bitParametrization):
        return None
    state: QuantState = made[name][0].quant_state
    return state


class _Quantizer(Bnb4BitHfQuantizer):
    """transformers' own for bitsandbytes, which packs experts besides."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.states = dict[str, dict[str, Any]]()

    def param_needs_quantization(self, model: Any, param_name: str, **named: Any) -> bool:
        """Whether the loader is to hand a parameter to `get_quantize_ops`."""
        module, name = get_module_from_name(model, param_name)
        own = _known(module) and name in _MATRICES and _three_sided(module, name)
        return own or super().param_needs_quantization(model, param_name, **named)

    def get_quantize_ops(self) -> Bnb4bitQuantize:
        """What packs a parameter as soon as it is read."""
        return _Quantize(self)

    def _process_model_after_weight_loading(self, model: Any, **named: Any) -> Any:
        model = super()._process_model_after_weight_loading(model, **named)
        for path, state in self.states.items():
            module, name = get_module_from_name(model, path)
            replace_parameter_4bit_prequantized(module, name, state, module._parameters[name].device)
        self.states.clear()
        pack(model)
        return model


class _Quantize(Bnb4bitQuantize):
    def convert(
        self,
        input_dict: dict[str, Any],
        full_layer_name: str | None = None,
        model: nn.Module | None = None,
        **named: Any,
    ) -> dict[str, Tensor]:
        """Each of `input_dict` packed, by the name of its parameter."""
        packed, others = dict[str, Tensor](), dict[str, Any]()
        for path, value in input_dict.items():
            whole = value[0] if isinstance(value, list) else value
            if not _known(get_module_from_name(model, path)[0]):
                others[path] = value
                continue
            numbers, state = quantize_4bit(whole.contiguous(), quant_type="nf4", compress_statistics=True)
            self.hf_quantizer.states[path] = state.as_dict(packed=True)
            packed[path] = nn.Parameter(numbers, requires_grad=False)
        return packed | (super().convert(others, full_layer_name, model, **named) if others else {})


def _forward(self: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """In place of the experts' own: (T, H) of states (T, H), the experts of each token and their weights (T, K).

    Tokens are put in the order of their experts, so that a matrix reads those of its own at once.
    """
    first = "gate_up_proj" if self.has_gate else "up_proj"
    if _state(self, first) is None or _state(self, "down_proj") is None:
        outputs: Tensor = ALL_EXPERTS_FUNCTIONS["grouped_mm"](self, hidden_states, top_k_index, top_k_weights)
        return outputs
    expert, order = top_k_index.reshape(-1).sort()
    # Of a few tokens, as in an answer that is being drawn, only the matrices that they need are unpacked.
    needed = expert.unique_consecutive() if len(expert) < self.num_experts else None
    present = torch.arange(self.num_experts, device=expert.device) if needed is None else needed
    ends = torch.searchsorted(expert, present, right=True).to(torch.int32)

    def through(states: Tensor, name: str) -> Tensor:
        made: Tensor = _Product.apply(states, self, name, needed, ends)
        return made + getattr(self, f"{name}_bias")[expert] if self.has_bias else made

    inner = through(hidden_states[order // top_k_index.shape[-1]], first)
    made = through(self._apply_gate(inner) if self.has_gate else self.act_fn(inner), "down_proj")
    if self.has_post_expert_norm:
        made = self.post_expert_norm(made)
    made = made * top_k_weights.reshape(-1)[order, None]
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    summed = made[places].view(*top_k_index.shape, -1).sum(1)
    return summed.to(hidden_states.dtype)


ALL_EXPERTS_FUNCTIONS.register(_NAME, _forward)


class _Product(torch.autograd.Function):
    """States (S, in), in the order of their experts, through one matrix of each: (S, out)."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, experts: Any, name: str, needed: Tensor | None, ends: Tensor) -> Tensor:
        ctx.experts, ctx.name, ctx.kind = experts, name, states.dtype
        ctx.save_for_backward(needed, ends)
        return _grouped_linear(states, _unpacked(experts, name, needed), ends, is_transposed=experts.is_transposed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        needed, ends = ctx.saved_tensors
        matrices = _unpacked(ctx.experts, ctx.name, needed)
        turned = not ctx.experts.is_transposed
        to_states = _grouped_linear(gradients[0].contiguous(), matrices, ends, is_transposed=turned)
        return to_states.to(ctx.kind), None, None, None, None


def _unpacked(experts: Any, name: str, needed: Tensor | None) -> Tensor:
    """The matrices of all experts, or of those `needed`."""
    numbers, state = experts.parametrizations[name].original, experts.parametrizations[name][0].quant_state
    if needed is None or state.shape[1:].numel() % state.blocksize:
        whole: Tensor = dequantize_4bit(numbers, state)
        return whole if needed is None else whole[needed]
    scales = dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax
    of_needed = QuantState(
        absmax=scales.view(state.shape[0], -1)[needed].reshape(-1),
        shape=torch.Size((len(needed), *state.shape[1:])),
        code=state.code,
        blocksize=state.blocksize,
        quant_type=state.quant_type,
        dtype=state.dtype,
    )
    return dequantize_4bit(numbers.view(state.shape[0], -1)[needed].reshape(-1, 1), of_needed)
