"""Attention of rows that lie in one line, on the CPU: heads turned by their positions, and each row by itself, as one
operation.

A row's queries go in blocks, each over the keys before its end only: much of what the mask would hide is never
computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from workbench.engine.fast.layers import rotated

_BLOCK = 192
"""Queries that go at once: fewer save products, and cost calls."""
_DROPPED, _CAUSAL = 0.0, False
"""The share of attention that is dropped, and whether the kernel is to mask by itself."""
_forth = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_back = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

Turns = tuple[Tensor, Tensor]
"""Cosines and sines, each (T, D), of the angles of T positions."""


@dataclass(frozen=True, slots=True)
class Block:
    """So many queries of a row, so many of its keys, from the first on, and what is added to the scores of the ones at
    the others, (1, 1, queries, keys)."""

    queries: int
    keys: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Row:
    """A row of so many tokens, and the blocks of those that ask: its last ones."""

    tokens: int
    blocks: tuple[Block, ...]


def row(mask: Tensor, first: int = 0) -> Row:
    """The row of a `mask` (1, 1, L, L) whose tokens from `first` on ask."""
    length = mask.shape[-1]
    count = max(1, round((length - first) / _BLOCK)) if length > first else 0
    ends = [first + (length - first) * number // max(1, count) for number in range(count + 1)]
    return Row(length, tuple(Block(end - begin, end, mask[:, :, begin:end, :end]) for begin, end in pairwise(ends)))


def row_attention(
    query: Tensor, key: Tensor, value: Tensor, asking: Turns, all_of: Turns, rows: Sequence[Row], scale: float
) -> Tensor:
    """(Q, heads, D): `query` is (Q, heads, D), of the tokens that ask; `key` and `value` are (T, some, D), of all of
    them, where `some` divides `heads`. The turns are those of the tokens that ask, and of all of them.

    Dao et al., *FlashAttention* (2022).
    """
    found: Tensor = _RowAttention.apply(query, key, value, asking, all_of, rows, scale)
    return found


class _RowAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        asking: Turns,
        all_of: Turns,
        rows: Sequence[Row],
        scale: float,
    ) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        query, key, value = rotated(query, *asking), _wide(rotated(key, *all_of), groups), _wide(value, groups)
        found, sums = [query[None, :0]], []  # Maybe nothing asks.
        queries = iter(_of_blocks(rows, query))
        for each, k, v in zip(rows, _of_rows(rows, key), _of_rows(rows, value), strict=True):
            for block in each.blocks:
                seen, total = _forth(
                    next(queries), k[:, :, : block.keys], v[:, :, : block.keys], attn_mask=block.mask, scale=scale
                )
                found.append(seen.transpose(1, 2))
                sums.append(total)
        result = torch.cat(found, 1)[0]
        ctx.save_for_backward(query, key, value, result, *asking, *all_of, *sums)
        ctx.rows, ctx.scale, ctx.groups = rows, scale, groups
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, result, asked_cosines, asked_sines, cosines, sines = ctx.saved_tensors[:8]
        blocks = (_of_blocks(ctx.rows, each) for each in (gradients[0], query, result))
        asked = zip(*blocks, ctx.saved_tensors[8:], strict=True)
        to_query, to_key, to_value = [query[None, :0]], [], []
        for each, k, v in zip(ctx.rows, _of_rows(ctx.rows, key), _of_rows(ctx.rows, value), strict=True):
            to_k, to_v = k[:, :, :0], v[:, :, :0]
            for block in each.blocks:
                g, q, o, total = next(asked)
                seen = k[:, :, : block.keys], v[:, :, : block.keys]
                of_q, of_k, of_v = _back(
                    g, q, *seen, o, total, _DROPPED, _CAUSAL, attn_mask=block.mask, scale=ctx.scale
                )
                to_query.append(of_q.transpose(1, 2))
                # The blocks before see fewer keys.
                of_k[:, :, : to_k.shape[2]] += to_k
                of_v[:, :, : to_v.shape[2]] += to_v
                to_k, to_v = of_k, of_v
            to_key.append((to_k if each.blocks else torch.zeros_like(k)).transpose(1, 2))
            to_value.append((to_v if each.blocks else torch.zeros_like(v)).transpose(1, 2))
        keys, values = (_narrow(torch.cat(parts, 1)[0], ctx.groups) for parts in (to_key, to_value))
        queries = rotated(torch.cat(to_query, 1)[0], asked_cosines, asked_sines, sign=-1.0)
        return queries, rotated(keys, cosines, sines, sign=-1.0), values, None, None, None, None


def _of_rows(rows: Sequence[Row], heads: Tensor) -> Sequence[Tensor]:
    """(1, heads, L, D), as kernels want it, of each row of heads (T, heads, D)."""
    return heads.transpose(0, 1)[None].split([each.tokens for each in rows], 2)


def _of_blocks(rows: Sequence[Row], heads: Tensor) -> Sequence[Tensor]:
    return heads.transpose(0, 1)[None].split([block.queries for each in rows for block in each.blocks], 2)


def _wide(heads: Tensor, groups: int) -> Tensor:
    """Each head as often as there are query heads that share it."""
    return heads if groups == 1 else heads.repeat_interleave(groups, 1)


def _narrow(heads: Tensor, groups: int) -> Tensor:
    return heads if groups == 1 else heads.unflatten(1, (-1, groups)).sum(2)
