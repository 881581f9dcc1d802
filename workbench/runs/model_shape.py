"""A model's shape, read from its config.json: what its memory follows from. Nothing is loaded or downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.files import json_in
from workbench.models import resolve

_WITHOUT_GATE = ("gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "falcon", "phi", "starcoder2", "mpt")
"""Families whose feed-forward layers are two matrices, not three."""
_FOUR_NORMS = ("gemma2", "gemma3", "gemma4", "glm4")
"""Families whose layers have a norm before and after attention, and before and after the feed-forward part."""
_NORMED_HEADS = ("qwen3", "gemma3", "gemma4", "olmo2", "olmo3", "olmoe", "exaone4", "hunyuan_v1", "apertus", "nanochat")
"""Families with a norm of queries and of keys."""
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_WHOLE_EXPERTS = ("llama4", "dbrx", "jetmoe", "longcat", "doge", "step3p7", "switch", "nllb")
"""Families whose experts have a way of their own, in which no quantization makes them smaller."""
_TOKENIZER_ENTRY = 130
"""Bytes an entry of tokenizer.json takes, as in those of Llama 3 and Qwen 2.5."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A frozen linear layer that so many decoder layers have; the name is that of Llama's."""

    name: str
    inputs: int
    outputs: int
    layers: int

    @property
    def weights(self) -> int:
        """Entries of the matrix."""
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder-only transformer. `gated`: its feed-forward layers have a gate; `norms`: those of a layer's stream;
    `normed_heads`: queries and keys have norms too.

    Of a mixture, `sparse` of the layers have `experts` in place of a feed-forward layer, each `expert` wide, `used` of
    them for a token, and one that is `shared` wide for all.
    """

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
    experts: int = 0
    used: int = 0
    expert: int = 0
    shared: int = 0
    sparse: int = 0

    @property
    def query(self) -> int:
        """Width of the queries, and of what attention gives."""
        return self.heads * self.head

    @property
    def key(self) -> int:
        """Width of the keys, and of the values."""
        return self.kv_heads * self.head

    @property
    def attention(self) -> tuple[Linear, ...]:
        """The linear layers before and after attention."""
        return (
            Linear("q_proj", self.hidden, self.query, self.layers),
            Linear("k_proj", self.hidden, self.key, self.layers),
            Linear("v_proj", self.hidden, self.key, self.layers),
            Linear("o_proj", self.query, self.hidden, self.layers),
        )

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers of decoder layers: what is quantized beside experts."""
        dense = self._feed_forward(self.intermediate, self.layers - self.sparse)
        return (*self.attention, *dense, *(self._feed_forward(self.shared, self.sparse) if self.shared else ()))

    def _feed_forward(self, width: int, layers: int) -> tuple[Linear, ...]:
        gate = [Linear("gate_proj", self.hidden, width, layers)] if self.gated else []
        up, down = (
            Linear("up_proj", self.hidden, width, layers),
            Linear("down_proj", width, self.hidden, layers),
        )
        return (*gate, up, down) if layers else ()

    def adapted(self, targets: Iterable[str]) -> tuple[Linear, ...]:
        """The linear layers that `target_modules` means, by the ends of their names; only attention's, of a mixture."""
        wanted, of_model = tuple(targets), self.attention if self.experts else self.linears
        if wanted == ("all-linear",):
            return of_model
        return tuple(linear for linear in of_model if linear.name.endswith(wanted))

    @property
    def matrices(self) -> int:
        """Matrices of a feed-forward layer."""
        return 3 if self.gated else 2

    @property
    def expert_weights(self) -> int:
        """Weights in experts, without those for all tokens."""
        return self.sparse * self.experts * self.matrices * self.expert * self.hidden

    @property
    def wide(self) -> int:
        """The width of what a token's feed-forward layer makes between its matrices, in the widest layer."""
        dense = self.intermediate if self.sparse < self.layers else 0
        return max(dense, self.used * self.expert + self.shared)

    @property
    def quantized(self) -> int:
        """Weights in linear layers of decoder layers, and in experts."""
        return sum(linear.weights * linear.layers for linear in self.linears) + self.expert_weights

    @property
    def exact(self) -> int:
        """Weights that are never quantized: embeddings, output layer, norms, and what chooses experts."""
        ends = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return ends + self.hidden * (self.norms * self.layers + 1 + self.sparse * self.experts)

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
    shape = _with_experts(shape, config, kind)
    sizes = [hidden, shape.layers, heads, shape.kv_heads, shape.head, shape.intermediate, shape.vocabulary]
    if shape.experts:
        sizes += [shape.used, shape.expert, shape.sparse, shape.shared + 1]
    if min(sizes) <= 0:
        raise ValueError("a size below one")
    return shape


def _with_experts(shape: Shape, config: Mapping[str, Any], kind: str) -> Shape:
    """What a config.json says of a mixture besides; `shape` as it is where it is none."""
    experts = next((int(config[name] or 0) for name in _EXPERTS if name in config), 0)
    if experts <= 1:
        return shape
    if kind.startswith(_WHOLE_EXPERTS) or config.get("kv_lora_rank"):
        raise ValueError(f"a mixture of {experts} experts of a kind of its own")
    width = int(config.get("moe_intermediate_size") or shape.intermediate)
    shared = config.get("shared_expert_intermediate_size") or int(config.get("n_shared_experts") or 0) * width
    return replace(
        shape,
        experts=experts,
        used=int(_first(config, "num_experts_per_tok", "experts_per_token", "moe_topk", "moe_k")),
        expert=width,
        shared=int(shared),
        sparse=_sparse(config, shape.layers),
    )


def _sparse(config: Mapping[str, Any], layers: int) -> int:
    """How many layers have experts: all, but for some that are named, the first ones, or all but every n-th."""
    if kinds := config.get("mlp_layer_types"):
        return sum(kind == "sparse" for kind in kinds)
    dense, every = set(config.get("mlp_only_layers") or ()), int(config.get("decoder_sparse_step") or 1)
    first = int(config.get("first_k_dense_replace") or 0)
    return sum(number not in dense and not (number + 1) % every for number in range(first, layers))


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
