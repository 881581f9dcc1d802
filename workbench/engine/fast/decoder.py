"""Decoders of Llama's kind on the CPU, layer by layer in a dozen operations each, for rows that lie in one line.

It gives what transformers' own layers give, and leaves out what nobody needs: of the last layer, all that comes before
the first token that predicts something.

What a layer does besides its linear layers is one operation each, whose backward is written out. Autograd would make a
dozen small steps of each and keep what lies between them: for a small model, they take longer than its matrix products.

Attention is computed branch by branch. Each branch of a row sees the trunk and itself as plain text does. Its queries
go in blocks, each over the keys before its end only, so what a mask would hide is mostly not computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from workbench.engine.fast.attention import causal, row_mask
from workbench.engine.fast.lora import Projections, fits
from workbench.engine.fast.pair_rows import PairRows, RowParts

_KINDS = {"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"}
"""Layers of transformers that differ in their projections' biases and in norms of heads, and in nothing else."""
_BLOCK = 192
"""Queries that go at once: fewer save products, and cost calls."""
_APART = 1024
"""Products of a query and a key, per head, that are saved where branches are computed apart: fewer cost more calls
than they are worth."""
_DROPPED, _CAUSAL = 0.0, False
"""The share of attention that is dropped, and whether the kernel is to mask by itself."""
_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

RopeAngles = tuple[Tensor, Tensor]
"""Cosines of the angles of T positions, and their sines, the first half of them negative: (T, heads, D) each. Angles
are the same for all heads and both halves, but written out, so that a product with them runs through in one go."""


class Decoder:
    """The layers of `base`, a causal language model that `suits` approves of, as they are now: with or without LoRA."""

    def __init__(self, base: Any) -> None:
        self._inner = base.base_model
        layers = self._inner.layers
        self._layers = [_Layer(layer, last=layer is layers[-1]) for layer in layers]
        config = self._inner.config
        windows = (
            getattr(layer.self_attn, "sliding_window", getattr(config, "sliding_window", None)) for layer in layers
        )
        self.window: float = min((window for window in windows if window is not None), default=math.inf)
        """Tokens that a side of a pair may have: a layer sees no more of them."""

    @property
    def projections(self) -> list[Projections]:
        """All products of its layers with their weights."""
        return [projections for layer in self._layers for projections in layer.projections]

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
        """(N, H): the states that predict the response tokens of `rows`, whose sides are no longer than `window`."""
        x = self._inner.embed_tokens(rows.ids)[0]
        cosines, sines = self._inner.rotary_emb(x[None], rows.positions)
        of_all = rope_angles(cosines[0], sines[0], self._inner.config.num_attention_heads)
        firsts, kept, predicting = _predicting(rows)
        every = _Queries(kept, of_all, of_all, [row_blocks(parts, x.dtype) for parts in rows.parts])
        blocks = [row_blocks(parts, x.dtype, first) for parts, first in zip(rows.parts, firsts, strict=True)]
        last = _Queries(kept, (of_all[0][kept], of_all[1][kept]), of_all, blocks)
        for layer in self._layers:
            x = layer(x, last if layer is self._layers[-1] else every)
        return _norm(self._inner.norm, x)[predicting]


@dataclass(frozen=True, slots=True)
class _Queries:
    """The tokens that attend in a layer. `kept` are those that do in the last one, as indices of the line; the angles
    are those of this layer's queries, and of all tokens."""

    kept: Tensor
    angles: RopeAngles
    key_angles: RopeAngles
    rows: list[RowBlocks]


class _Layer:
    def __init__(self, layer: Any, last: bool) -> None:
        attention, self._before, self._between = layer.self_attn, layer.input_layernorm, layer.post_attention_layernorm
        self._attention = attention
        keys_values = [attention.k_proj, attention.v_proj]
        # In the last layer not all tokens have a query.
        self._query = Projections([attention.q_proj]) if last else None
        self._heads_of_all = Projections(keys_values if last else [attention.q_proj, *keys_values])
        self._out, self._down = Projections([attention.o_proj]), Projections([layer.mlp.down_proj])
        self._gates = Projections([layer.mlp.gate_proj, layer.mlp.up_proj])

    @property
    def projections(self) -> list[Projections]:
        """All of its products."""
        always = [self._heads_of_all, self._out, self._gates, self._down]
        return always if self._query is None else [self._query, *always]

    def __call__(self, x: Tensor, queries: _Queries) -> Tensor:
        """The states (Q, H) of the tokens with a query, of states (T, H)."""
        state = _norm(self._before, x)
        *query, key, value = self._heads_of_all(state).split(self._heads_of_all.widths, 1)
        if self._query is not None:
            x, state = x[queries.kept], state[queries.kept]
            query = [self._query(state)]
        heads = self._heads(query[0], "q_norm"), self._heads(key, "k_norm"), self._heads(value)
        attended = row_attention(*heads, queries.angles, queries.key_angles, queries.rows, self._attention.scaling)
        x = x + self._out(attended.flatten(1))
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
    """Of each row, its first token that predicts something; all tokens from there on, as indices of the line; and of
    each prediction, the index among those."""
    starts = torch.tensor([0, *(parts.total for parts in rows.parts)]).cumsum(0)
    begins, ends = starts[:-1], starts[1:]
    firsts = ends.scatter_reduce(0, rows.pairs, rows.predictors, "amin")
    kept = torch.cat([torch.arange(begin, end) for begin, end in zip(firsts.tolist(), ends.tolist(), strict=True)])
    before = (firsts - begins).cumsum(0)
    return (firsts - begins).tolist(), kept, rows.predictors - before[rows.pairs]


@dataclass(frozen=True, slots=True)
class QueryBlock:
    """A branch's next `queries`, its first `keys`, and what is added to their scores, (1, 1, queries, keys)."""

    queries: int
    keys: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Branch:
    """Tokens of a row that follow on its first `trunk` ones, and the blocks of those with a query: its last ones."""

    trunk: int
    own: slice
    blocks: tuple[QueryBlock, ...]

    def seen(self, heads: Tensor) -> Tensor:
        """What its tokens see of heads (1, heads, L, D) of the row."""
        own = heads[:, :, self.own]
        return torch.cat([heads[:, :, : self.trunk], own], 2) if self.trunk else own


@dataclass(frozen=True, slots=True)
class RowBlocks:
    """A row of so many tokens: trunk and chosen are a branch, and rejected is one; or all of a short row is."""

    tokens: int
    branches: tuple[Branch, ...]


def row_blocks(parts: RowParts, dtype: torch.dtype, first: int = 0) -> RowBlocks:
    """The row of these parts whose tokens from `first` on have a query."""
    total, begin, device = parts.total, parts.trunk + parts.chosen, torch.device("cpu")
    if parts.chosen * parts.rejected < _APART:
        return RowBlocks(total, (_branch(0, slice(0, total), first, row_mask(parts, total, dtype, device)),))
    mask = causal(max(begin, total - parts.chosen), dtype, device)
    branches = (0, slice(0, begin)), (parts.trunk, slice(begin, total))
    return RowBlocks(total, tuple(_branch(trunk, own, first, mask) for trunk, own in branches))


def _branch(trunk: int, own: slice, first: int, mask: Tensor) -> Branch:
    keys = trunk + own.stop - own.start
    before = trunk + max(0, first - own.start)  # What comes before the first query.
    count = max(1, round((keys - before) / _BLOCK)) if keys > before else 0
    ends = [before + (keys - before) * number // max(1, count) for number in range(count + 1)]
    blocks = (QueryBlock(end - at, end, mask[None, None, at:end, :end]) for at, end in pairwise(ends))
    return Branch(trunk, own, tuple(blocks))


def row_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    angles: RopeAngles,
    key_angles: RopeAngles,
    rows: Sequence[RowBlocks],
    scale: float,
) -> Tensor:
    """(Q, heads, D): `query` is (Q, heads, D); `key` and `value` are (T, some, D), of all tokens, where `some` divides
    `heads`. The angles are those of the queries, and of all tokens.

    Dao et al., *FlashAttention* (2022).
    """
    attended: Tensor = _RowAttention.apply(query, key, value, angles, key_angles, rows, scale)
    return attended


class _RowAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        angles: RopeAngles,
        key_angles: RopeAngles,
        rows: Sequence[RowBlocks],
        scale: float,
    ) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        query, key = apply_rope(query, angles), _wide(apply_rope(key, key_angles), groups)
        value = _wide(value, groups)
        attended, sums = [query[None, :0]], []  # Maybe there is no query.
        queries = iter(_of_blocks(rows, query))
        for row, k, v in zip(rows, _of_rows(rows, key), _of_rows(rows, value), strict=True):
            for branch in row.branches:
                keys, values = branch.seen(k), branch.seen(v)
                for block in branch.blocks:
                    seen = keys[:, :, : block.keys], values[:, :, : block.keys]
                    heads, log_sums = _forward(next(queries), *seen, attn_mask=block.mask, scale=scale)
                    attended.append(heads.transpose(1, 2))
                    sums.append(log_sums)
        result = torch.cat(attended, 1)[0]
        ctx.save_for_backward(query, key, value, result, *sums)
        ctx.rows, ctx.scale, ctx.groups, ctx.angles = rows, scale, groups, (angles, key_angles)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, result, *sums = ctx.saved_tensors
        parts = (_of_blocks(ctx.rows, heads) for heads in (gradients[0], query, result))
        queries = zip(*parts, sums, strict=True)
        to_query, to_key, to_value = [query[None, :0]], [], []
        for row, k, v in zip(ctx.rows, _of_rows(ctx.rows, key), _of_rows(ctx.rows, value), strict=True):
            of_keys, of_values = [], []
            for branch in row.branches:
                keys, values = branch.seen(k), branch.seen(v)
                to_k, to_v = keys[:, :, :0], values[:, :, :0]
                for block in branch.blocks:
                    g, q, o, log_sums = next(queries)
                    seen = keys[:, :, : block.keys], values[:, :, : block.keys]
                    of_q, of_k, of_v = _backward(
                        g, q, *seen, o, log_sums, _DROPPED, _CAUSAL, attn_mask=block.mask, scale=ctx.scale
                    )
                    to_query.append(of_q.transpose(1, 2))
                    # The blocks before see fewer keys.
                    of_k[:, :, : to_k.shape[2]] += to_k
                    of_v[:, :, : to_v.shape[2]] += to_v
                    to_k, to_v = of_k, of_v
                of_keys.append(to_k if branch.blocks else torch.zeros_like(keys))
                of_values.append(to_v if branch.blocks else torch.zeros_like(values))
            to_key += _in_order(row, of_keys)
            to_value += _in_order(row, of_values)
        keys, values = (_narrow(torch.cat(parts, 1)[0], ctx.groups) for parts in (to_key, to_value))
        angles, key_angles = ctx.angles
        to_queries = apply_rope(torch.cat(to_query, 1)[0], angles, sign=-1.0)
        return to_queries, apply_rope(keys, key_angles, sign=-1.0), values, None, None, None, None


def _of_rows(rows: Sequence[RowBlocks], heads: Tensor) -> Sequence[Tensor]:
    """(1, heads, L, D), as kernels want it, of each row of heads (T, heads, D)."""
    return heads.transpose(0, 1)[None].split([row.tokens for row in rows], 2)


def _of_blocks(rows: Sequence[RowBlocks], heads: Tensor) -> Sequence[Tensor]:
    sizes = [block.queries for row in rows for branch in row.branches for block in branch.blocks]
    return heads.transpose(0, 1)[None].split(sizes, 2)


def _in_order(row: RowBlocks, gradients: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of what each branch of a row sees, as those of its tokens, one part after the other."""
    first, *others = gradients
    own = [first]
    for branch, other in zip(row.branches[1:], others, strict=True):
        first[:, :, : branch.trunk] += other[:, :, : branch.trunk]
        own.append(other[:, :, branch.trunk :])
    return [part.transpose(1, 2) for part in own]


def _wide(heads: Tensor, groups: int) -> Tensor:
    """Each head as often as there are query heads that share it."""
    return heads if groups == 1 else heads.repeat_interleave(groups, 1)


def _narrow(heads: Tensor, groups: int) -> Tensor:
    return heads if groups == 1 else heads.unflatten(1, (-1, groups)).sum(2)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x (..., H), divided by the root of the mean of its squares, times `weight` (H,), which gets no gradient.

    Zhang and Sennrich, *Root Mean Square Layer Normalization* (2019).
    """
    normed: Tensor = _RmsNorm.apply(x, weight, epsilon)
    return normed


def swiglu(both: Tensor) -> Tensor:
    """silu(gate) · up, (T, I), of gate and up beside each other, (T, 2 I). Shazeer, *GLU Variants* (2020)."""
    product: Tensor = _Swiglu.apply(both)
    return product


def rope_angles(cosines: Tensor, sines: Tensor, heads: int) -> RopeAngles:
    """What `apply_rope` takes, of the `cosines` and `sines` (T, D) of T positions, for so many heads at most."""
    first, second = sines.chunk(2, 1)
    signed = torch.cat([-first, second], 1)
    return cosines[:, None].expand(-1, heads, -1).contiguous(), signed[:, None].expand(-1, heads, -1).contiguous()


def apply_rope(x: Tensor, angles: RopeAngles, sign: float = 1.0) -> Tensor:
    """Heads x (T, heads, D), turned by the angles of their positions.

    The first half of a head is paired with its second, as Llama does it. With a `sign` of -1.0 it is the transpose:
    what a gradient behind the turn is before it. Su et al., *RoFormer* (2021).
    """
    cosines, sines = (values[:, : x.shape[1]] for values in angles)
    turned = x * cosines
    for half, other, sine in zip(turned.chunk(2, -1), reversed(x.chunk(2, -1)), sines.chunk(2, -1), strict=True):
        half.addcmul_(other, sine, value=sign)
    return turned


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
        to_x = gradients[0] * weight
        along = torch.linalg.vecdot(to_x, x).unsqueeze(-1)
        along.mul_(scale.pow(3)).div_(x.shape[-1])
        return to_x.mul_(scale).addcmul_(x, along, value=-1.0), None, None


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
        to_both = torch.empty_like(both)
        to_gate, to_up = to_both.chunk(2, -1)
        sigmoid = torch.sigmoid(gate)
        passed = gate * sigmoid
        torch.mul(gradients[0], passed, out=to_up)
        # silu's slope is σ + silu · (1 − σ); its own kernel takes several times as long.
        slope = passed.addcmul_(passed, sigmoid, value=-1.0).add_(sigmoid)
        torch.mul(gradients[0], up, out=to_gate).mul_(slope)
        return to_both
