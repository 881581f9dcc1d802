"""A Llama of any size with random weights in NF4, made on its device: no file, and one layer at a time whole."""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig
from transformers.quantizers import AutoHfQuantizer

SHAPES: dict[str, dict[str, int]] = {
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
    "dry": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
    },
}
_SPREAD = 0.02


def random_quantized(shape: dict[str, int], device: torch.device, dtype: torch.dtype) -> Any:
    """The model in eval mode: linear layers in NF4 with double quantization, embeddings and head in `dtype`."""
    config = LlamaConfig(
        **shape, max_position_embeddings=8192, rope_theta=500000.0, tie_word_embeddings=False, bos_token_id=None
    )
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    generator = torch.Generator(device).manual_seed(0)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and not name.endswith("lm_head"):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, _quantized(module, device, dtype, generator))
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                made = torch.ones(parameter.shape, dtype=dtype, device=device)
                if parameter.dim() > 1:
                    made.normal_(0, _SPREAD, generator=generator)
                setattr(module, name, nn.Parameter(made, requires_grad=False))
    # Its frequencies are no parameters, and were made of nothing on the meta device.
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config).to(device)
    _mark(model, device, dtype)
    return model.eval()


def parameters(shape: dict[str, int]) -> int:
    """Weights of the model, each counted once, whatever it is stored in."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**shape, tie_word_embeddings=False, bos_token_id=None))
    return sum(parameter.numel() for parameter in model.parameters())


def _quantized(layer: nn.Linear, device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> Linear4bit:
    made = Linear4bit(
        layer.in_features, layer.out_features, bias=False, compute_dtype=dtype, quant_type="nf4", device="meta"
    )
    made.support_avx512bf16_for_cpu = False  # Packed for it, a layer would pass no gradient on.
    weight = torch.empty((layer.out_features, layer.in_features), dtype=dtype, device=device)
    weight.normal_(0, _SPREAD, generator=generator)
    made.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True, module=made).to(
        device
    )
    return made


def _mark(model: Any, device: torch.device, dtype: torch.dtype) -> None:
    """What `from_pretrained` notes of a quantized model, which adapters and trainers look at."""
    asked = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    model.hf_quantizer = AutoHfQuantizer.from_config(asked)
    model.config.quantization_config = asked
    model.is_loaded_in_4bit = model.is_quantized = True
    model.quantization_method = asked.quant_method
    model.hf_device_map = {"": device}
