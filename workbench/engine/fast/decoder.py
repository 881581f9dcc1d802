"""Decoders of Llama's kind on the CPU, layer by layer in a dozen operations each, for rows that lie in one line.

It gives what transformers' own layers give, and leaves out what nobody asks for: of the last layer, all that comes
before the first token that predicts something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.engine.fast.attention import check_window
from workbench.engine.fast.layers import RopeAngles, rms_norm, rope_angles, swiglu
from workbench.engine.fast.lora import Projections, fits
from workbench.engine.fast.row_attention import Row, row, row_attention
from workbench.engine.fast.rows import PairRows

_KINDS = {"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"}
"""Layers of transformers that differ in their projections' biases and in norms of heads, and in nothing else."""


class Decoder:
    """The layers of `base`, a causal language model that `suits` approves of, as they are now: with or without LoRA."""

    def __init__(self, base: Any) -> None:
        self._inner = base.base_model
        layers = self._inner.layers
        self._layers = [_Layer(layer, last=layer is layers[-1]) for layer in layers]

    @property
    def projections(self) -> list[Projections]:
        """All products of its layers with their weights."""
        return [each for layer in self._layers for each in layer.projections]

    @staticmethod
    def suits(base: Any) -> bool:
        """Whether the layers are of a kind that is known here, and hold nothing that is not."""
        config, layers = base.config.get_text_config(), getattr(base.base_model, "layers", ())
        if not len(layers) or {type(layer).__name__ for layer in layers} - _KINDS or base.is_gradient_checkpointing:
            return False
        linear = (module for layer in layers for module in _linear(layer))
        plain = config.hidden_act == "silu" and not config.attention_dropout and base.dtype == torch.float32
        return plain and base.device.type == "cpu" and all(fits(module) for module in linear)

    def __call__(self, rows: PairRows) -> Tensor:
        """(N, H): the states that predict the response tokens of `rows`.

        Raises `NotImplementedError` where a layer does not attend to all of a row.
        """
        x = self._inner.embed_tokens(rows.ids)[0]
        cosines, sines = self._inner.rotary_emb(x[None], rows.positions)
        of_all = rope_angles(cosines[0], sines[0], self._inner.config.num_attention_heads)
        longest = max(each.total for each in rows.parts)
        for layer in self._inner.layers:
            check_window(getattr(layer.self_attn, "sliding_window", None), longest)
        firsts, kept, places = _predicting(rows)
        every = _Asked(kept, of_all, of_all, [row(each, x.dtype) for each in rows.parts])
        asking = [row(each, x.dtype, first) for each, first in zip(rows.parts, firsts, strict=True)]
        last = _Asked(kept, (of_all[0][kept], of_all[1][kept]), of_all, asking)
        for layer in self._layers:
            x = layer(x, last if layer is self._layers[-1] else every)
        norm = self._inner.norm
        return rms_norm(x, norm.weight, norm.variance_epsilon)[places]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which tokens ask in the last layer; the angles of those that ask in this one, and of all; and who sees whom."""

    kept: Tensor
    own: RopeAngles
    angles: RopeAngles
    rows: list[Row]


class _Layer:
    def __init__(self, layer: Any, last: bool) -> None:
        attention, self._before, self._between = layer.self_attn, layer.input_layernorm, layer.post_attention_layernorm
        self._attention = attention
        seen = [attention.k_proj, attention.v_proj]
        # In the last layer not all tokens ask.
        self._query = Projections([attention.q_proj]) if last else None
        self._seen = Projections(seen if last else [attention.q_proj, *seen])
        self._out, self._down = Projections([attention.o_proj]), Projections([layer.mlp.down_proj])
        self._gates = Projections([layer.mlp.gate_proj, layer.mlp.up_proj])

    @property
    def projections(self) -> list[Projections]:
        """All of its products."""
        every = [self._query, self._seen, self._out, self._gates, self._down]
        return [each for each in every if each is not None]

    def __call__(self, x: Tensor, asked: _Asked) -> Tensor:
        """The states (Q, H) of the tokens that ask, of states (T, H)."""
        state = _norm(self._before, x)
        *query, key, value = self._seen(state).split(self._seen.widths, 1)
        if self._query is not None:
            x, state = x[asked.kept], state[asked.kept]
            query = [self._query(state)]
        heads = self._heads(query[0], "q_norm"), self._heads(key, "k_norm"), self._heads(value)
        seen = row_attention(*heads, asked.own, asked.angles, asked.rows, self._attention.scaling)
        x = x + self._out(seen.flatten(1))
        return x + self._down(swiglu(self._gates(_norm(self._between, x))))

    def _heads(self, states: Tensor, norm: str = "") -> Tensor:
        """(T, heads, D)."""
        heads = states.unflatten(1, (-1, self._attention.head_dim))
        of_heads = getattr(self._attention, norm, None) if norm else None
        return heads if of_heads is None else _norm(of_heads, heads)


def _norm(module: Any, x: Tensor) -> Tensor:
    return rms_norm(x, module.weight, module.variance_epsilon)


def _linear(layer: Any) -> list[Any]:
    attention, mlp = layer.self_attn, layer.mlp
    heads = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    return [*heads, mlp.gate_proj, mlp.up_proj, mlp.down_proj]


def _predicting(rows: PairRows) -> tuple[list[int], Tensor, Tensor]:
    """Of each row, its first token that predicts something; all tokens from there on, as places in the line; and of
    each prediction, the place among those."""
    starts = torch.tensor([0, *(each.total for each in rows.parts)]).cumsum(0)
    begins, ends = starts[:-1], starts[1:]
    firsts = ends.scatter_reduce(0, rows.pairs, rows.places, "amin")
    kept = torch.cat([torch.arange(begin, end) for begin, end in zip(firsts.tolist(), ends.tolist(), strict=True)])
    before = (firsts - begins).cumsum(0)
    return (firsts - begins).tolist(), kept, rows.places - before[rows.pairs]
