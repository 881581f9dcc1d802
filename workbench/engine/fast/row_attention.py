"""Attention of rows that lie in one line, on the CPU: heads turned by their positions, and each row by itself, as one
operation.

Each branch of a row sees the trunk and itself as plain text does. Its queries go in blocks, each over the keys before
its end only. So much of what a mask over the whole row would hide is never computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from workbench.engine.fast.attention import causal, row_mask
from workbench.engine.fast.layers import RopeAngles, apply_rope
from workbench.engine.fast.rows import Parts

_BLOCK = 192
"""Queries that go at once: fewer save products, and cost calls."""
_APART = 1024
"""Products of a query and a key, per head, that are saved where branches are computed apart: fewer cost more calls
than they are worth."""
_DROPPED, _CAUSAL = 0.0, False
"""The share of attention that is dropped, and whether the kernel is to mask by itself."""
_forth = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_back = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True, slots=True)
class Block:
    """So many queries of a branch, so many of its keys, from the first on, and what is added to the scores of the ones
    at the others, (1, 1, queries, keys)."""

    queries: int
    keys: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Branch:
    """Tokens of a row that follow on its first `trunk` ones, and the blocks of those that ask: its last ones."""

    trunk: int
    own: slice
    blocks: tuple[Block, ...]

    def seen(self, heads: Tensor) -> Tensor:
        """What its tokens see of heads (1, heads, L, D) of the row."""
        own = heads[:, :, self.own]
        return torch.cat([heads[:, :, : self.trunk], own], 2) if self.trunk else own


@dataclass(frozen=True, slots=True)
class Row:
    """A row of so many tokens: trunk and chosen are a branch, and rejected is one; or all of a short row is."""

    tokens: int
    branches: tuple[Branch, ...]


def row(parts: Parts, dtype: torch.dtype, first: int = 0) -> Row:
    """The row of these parts whose tokens from `first` on ask."""
    total, begin, device = parts.total, parts.trunk + parts.chosen, torch.device("cpu")
    if parts.chosen * parts.rejected < _APART:
        return Row(total, (_branch(0, slice(0, total), first, row_mask(parts, total, dtype, device)),))
    mask = causal(max(begin, total - parts.chosen), dtype, device)
    places = (0, slice(0, begin)), (parts.trunk, slice(begin, total))
    return Row(total, tuple(_branch(trunk, own, first, mask) for trunk, own in places))


def _branch(trunk: int, own: slice, first: int, mask: Tensor) -> Branch:
    keys = trunk + own.stop - own.start
    before = trunk + max(0, first - own.start)  # What comes before the first that asks.
    count = max(1, round((keys - before) / _BLOCK)) if keys > before else 0
    ends = [before + (keys - before) * number // max(1, count) for number in range(count + 1)]
    blocks = (Block(end - at, end, mask[None, None, at:end, :end]) for at, end in pairwise(ends))
    return Branch(trunk, own, tuple(blocks))


def row_attention(
    query: Tensor, key: Tensor, value: Tensor, asking: RopeAngles, all_of: RopeAngles, rows: Sequence[Row], scale: float
) -> Tensor:
    """(Q, heads, D): `query` is (Q, heads, D), of the tokens that ask; `key` and `value` are (T, some, D), of all of
    them, where `some` divides `heads`. The angles are those of the tokens that ask, and of all of them.

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
        asking: RopeAngles,
        all_of: RopeAngles,
        rows: Sequence[Row],
        scale: float,
    ) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        query, key, value = apply_rope(query, asking), _wide(apply_rope(key, all_of), groups), _wide(value, groups)
        found, sums = [query[None, :0]], []  # Maybe nothing asks.
        queries = iter(_of_blocks(rows, query))
        for each, k, v in zip(rows, _of_rows(rows, key), _of_rows(rows, value), strict=True):
            for branch in each.branches:
                keys, values = branch.seen(k), branch.seen(v)
                for block in branch.blocks:
                    seen = keys[:, :, : block.keys], values[:, :, : block.keys]
                    heads, total = _forth(next(queries), *seen, attn_mask=block.mask, scale=scale)
                    found.append(heads.transpose(1, 2))
                    sums.append(total)
        result = torch.cat(found, 1)[0]
        ctx.save_for_backward(query, key, value, result, *sums)
        ctx.rows, ctx.scale, ctx.groups, ctx.angles = rows, scale, groups, (asking, all_of)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, result, *sums = ctx.saved_tensors
        blocks = (_of_blocks(ctx.rows, each) for each in (gradients[0], query, result))
        asked = zip(*blocks, sums, strict=True)
        to_query, to_key, to_value = [query[None, :0]], [], []
        for each, k, v in zip(ctx.rows, _of_rows(ctx.rows, key), _of_rows(ctx.rows, value), strict=True):
            of_keys, of_values = [], []
            for branch in each.branches:
                keys, values = branch.seen(k), branch.seen(v)
                to_k, to_v = keys[:, :, :0], values[:, :, :0]
                for block in branch.blocks:
                    g, q, o, total = next(asked)
                    seen = keys[:, :, : block.keys], values[:, :, : block.keys]
                    of_q, of_k, of_v = _back(
                        g, q, *seen, o, total, _DROPPED, _CAUSAL, attn_mask=block.mask, scale=ctx.scale
                    )
                    to_query.append(of_q.transpose(1, 2))
                    # The blocks before see fewer keys.
                    of_k[:, :, : to_k.shape[2]] += to_k
                    of_v[:, :, : to_v.shape[2]] += to_v
                    to_k, to_v = of_k, of_v
                of_keys.append(to_k if branch.blocks else torch.zeros_like(keys))
                of_values.append(to_v if branch.blocks else torch.zeros_like(values))
            to_key += _in_order(each, of_keys)
            to_value += _in_order(each, of_values)
        keys, values = (_narrow(torch.cat(parts, 1)[0], ctx.groups) for parts in (to_key, to_value))
        asking, all_of = ctx.angles
        queries = apply_rope(torch.cat(to_query, 1)[0], asking, sign=-1.0)
        return queries, apply_rope(keys, all_of, sign=-1.0), values, None, None, None, None


def _of_rows(rows: Sequence[Row], heads: Tensor) -> Sequence[Tensor]:
    """(1, heads, L, D), as kernels want it, of each row of heads (T, heads, D)."""
    return heads.transpose(0, 1)[None].split([each.tokens for each in rows], 2)


def _of_blocks(rows: Sequence[Row], heads: Tensor) -> Sequence[Tensor]:
    return heads.transpose(0, 1)[None].split(
        [block.queries for each in rows for branch in each.branches for block in branch.blocks], 2
    )


def _in_order(row: Row, gradients: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of what each branch of a row sees, as those of its tokens, one part after the other."""
    first, *others = gradients
    branches = row.branches[1:]
    for branch, other in zip(branches, others, strict=True):
        first[:, :, : branch.trunk] += other[:, :, : branch.trunk]
    own = [other[:, :, branch.trunk :] for branch, other in zip(branches, others, strict=True)]
    return [each.transpose(1, 2) for each in (first, *own)]


def _wide(heads: Tensor, groups: int) -> Tensor:
    """Each head as often as there are query heads that share it."""
    return heads if groups == 1 else heads.repeat_interleave(groups, 1)


def _narrow(heads: Tensor, groups: int) -> Tensor:
    return heads if groups == 1 else heads.unflatten(1, (-1, groups)).sum(2)
