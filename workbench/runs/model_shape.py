"""A model's shape, read from its config.json: what its memory follows from. Nothing is loaded or downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.files import json_in
from workbench.models import resolve

_WITHOUT_GATE = ("gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "falcon", "phi", "starcoder2", "mpt")
"""Families whose feed-forward layers are two matrices, not three."""
_FOUR_NORMS = ("gemma2", "gemma3", "gemma4", "glm4")
"""Families whose layers have a norm before and after attention, and before and after the feed-forward part."""
_NORMED_HEADS = ("qwen3", "gemma3", "gemma4", "olmo2", "olmo3", "exaone4", "hunyuan_v1", "apertus", "nanochat")
"""Families with a norm of queries and of keys."""
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_TOKENIZER_ENTRY = 130
"""Bytes an entry of tokenizer.json takes, as in those of Llama 3 and Qwen 2.5."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A frozen linear layer that every decoder layer has; the name is that of Llama's."""

    name: str
    inputs: int
    outputs: int

    @property
    def weights(self) -> int:
        """Entries of the matrix."""
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder-only transformer. `gated`: its feed-forward layers have a gate; `norms`: those of a layer's stream;
    `normed_heads`: queries and keys have norms too."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    intermediate: int
    vocabulary: int
    tied: bool
    gated: bool = True
    norms: int = 2
    normed_heads: bool = False

    @property
    def query(self) -> int:
        """Width of the queries, and of what attention gives."""
        return self.heads * self.head

    @property
    def key(self) -> int:
        """Width of the keys, and of the values."""
        return self.kv_heads * self.head

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers of one decoder layer: what is quantized and gets adapters."""
        feed = [Linear("gate_proj", self.hidden, self.intermediate)] if self.gated else []
        return (
            Linear("q_proj", self.hidden, self.query),
            Linear("k_proj", self.hidden, self.key),
            Linear("v_proj", self.hidden, self.key),
            Linear("o_proj", self.query, self.hidden),
            *feed,
            Linear("up_proj", self.hidden, self.intermediate),
            Linear("down_proj", self.intermediate, self.hidden),
        )

    def adapted(self, targets: Iterable[str]) -> tuple[Linear, ...]:
        """The linear layers that `target_modules` means, by the ends of their names."""
        wanted = tuple(targets)
        if wanted == ("all-linear",):
            return self.linears
        return tuple(linear for linear in self.linears if linear.name.endswith(wanted))

    @property
    def quantized(self) -> int:
        """Weights in linear layers of decoder layers."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def exact(self) -> int:
        """Weights that are never quantized: embeddings, output layer, norms."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden * (self.norms * self.layers + 1)

    @property
    def parameters(self) -> int:
        """All weights of the base model."""
        return self.quantized + self.exact

    @property
    def tokenizer_bytes(self) -> int:
        """What the tokenizer takes on disk, about."""
        return self.vocabulary * _TOKENIZER_ENTRY


def shape_of(model: str) -> Shape:
    """The shape of what `--model` names. Raises `WorkbenchError` where it cannot be known without a download."""
    where = resolve(model)
    path = Path(where) / "config.json" if Path(where).is_dir() else _cached(where)
    if path is None:
        raise WorkbenchError(
            "The model is not on this machine yet",
            f"{model} will be downloaded first.",
            "Its size is known after that.",
        )
    try:
        return read_shape(json_in(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise WorkbenchError(
            "The model's size is not known", f"{path} is not what a language model has: {error!r}."
        ) from error


def read_shape(config: Mapping[str, Any]) -> Shape:
    """The shape in a config.json. Raises `KeyError`, `TypeError` or `ValueError` where it says too little."""
    config = config.get("text_config") or config
    experts = next((int(config[name] or 0) for name in _EXPERTS if name in config), 0)
    if experts > 1:
        raise ValueError(f"a mixture of {experts} experts, which no quantization makes smaller")
    hidden = int(_first(config, "hidden_size", "n_embd", "d_model"))
    heads = int(_first(config, "num_attention_heads", "n_head", "n_heads"))
    kind = str(config.get("model_type", ""))
    wide = config.get("intermediate_size") or config.get("n_inner") or config.get("ffn_dim") or 4 * hidden
    shape = Shape(
        hidden=hidden,
        layers=int(_first(config, "num_hidden_layers", "n_layer", "n_layers")),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head=int(config.get("head_dim") or hidden // heads),
        intermediate=int(wide),
        vocabulary=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings", kind.startswith(("gemma", "gpt2")))),
        gated=kind not in _WITHOUT_GATE,
        norms=4 if kind.startswith(_FOUR_NORMS) else 2,
        normed_heads=kind.startswith(_NORMED_HEADS),
    )
    sizes = (hidden, shape.layers, heads, shape.kv_heads, shape.head, shape.intermediate, shape.vocabulary)
    if min(sizes) <= 0:
        raise ValueError("a size below one")
    return shape


def _first(config: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if config.get(name):
            return config[name]
    raise KeyError(names[0])


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    return Path(cached) if isinstance(cached, str) else None
