"""Attention within rows that share a prompt: which token may attend to which, for each kernel.

transformers' decoders take their attention from a registry; `KERNELS` are ours in it. They do three things:
FlexAttention where the rows' masks are `BlockMask`s (CUDA), a scaled-dot-product attention a row where the rows lie in
one line (CPU: no padding, so that a long pair costs its neighbours nothing), and the model's own attention for all
other forwards.

Layers with a window see so many tokens back by their positions, not by their places in the line: rejected's tokens come
after chosen's, and stand where those do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from workbench.engine.fast.pair_rows import PairRows, RowParts
from workbench.runs.activation_memory import LINE_MULTIPLE, MASK_MULTIPLE

KERNELS = {"sdpa": "workbench_pairs", "eager": "workbench_pairs_eager"}
"""The names of this attention in transformers' registry, by the attention that the model's other forwards keep."""
_SMALL_SHARED_MEMORY = 101 * 1024
"""Bytes a block may have on RTX 3090, 4090, 5090, L40 and their like; an A100 has 163 KB, an H100 227."""
_WIDE_HEAD = 128
_SMALL_BLOCKS = {
    "fwd_BLOCK_M": 32, "fwd_BLOCK_N": 64, "fwd_num_stages": 2, "fwd_num_warps": 4,
    "bwd_BLOCK_M1": 32, "bwd_BLOCK_N1": 32, "bwd_BLOCK_M2": 32, "bwd_BLOCK_N2": 32, "bwd_num_stages": 2,
    "bwd_num_warps": 4,
}  # fmt: skip
"""FlexAttention's own choice for wider heads asks for more than that: 114,688 bytes in the backward (pytorch issue
198224, where these backward blocks were measured to fit, and to be the fastest that do), and three stages in the
forward."""


Masks: TypeAlias = BlockMask | list[Tensor]


class PairMasks:
    """Which token may attend to which, for the window of each layer: `make` makes it for one, or for none at all.

    `longest` are the tokens that the longest side of a pair has: a window that is no narrower is none.
    """

    def __init__(self, make: Callable[[int | None], Masks], longest: int) -> None:
        self._make, self._longest = make, longest
        self._made: dict[int | None, Masks] = {}

    def of(self, window: int | None) -> Masks:
        """For a layer that sees `window` tokens, its own among them; the same object each time."""
        seen = None if window is None or window >= self._longest else window
        if seen not in self._made:
            self._made[seen] = self._make(seen)
        return self._made[seen]


def row_mask(
    parts: RowParts, width: int, dtype: torch.dtype, device: torch.device, window: int | None = None
) -> Tensor:
    """(width, width) to add to the scores: 0 where the token of a line may attend to that of a column, else very low.

    `width` may be more than the row. Padding comes last, so nothing else sees it; it sees something itself, as a
    softmax over nothing is no number.
    """
    mask = causal(width, dtype, device).clone()
    begin = parts.trunk + parts.chosen
    mask[begin:, parts.trunk : begin] = torch.finfo(dtype).min
    if window is not None:
        position = torch.arange(width, device=device)
        position[begin:] -= parts.chosen
        mask[position[:, None] - position >= window] = torch.finfo(dtype).min
    return mask


def padded_mask(rows: PairRows, dtype: torch.dtype, window: int | None = None) -> Tensor:
    """(B, 1, L, L) for rows that have a line each."""
    width = rows.ids.shape[1]
    return torch.stack([row_mask(parts, width, dtype, rows.ids.device, window) for parts in rows.parts])[:, None]


def row_masks(rows: PairRows, dtype: torch.dtype, window: int | None = None) -> list[Tensor]:
    """(1, 1, T, T) for each of the rows that lie in one line."""
    return [row_mask(parts, parts.total, dtype, rows.ids.device, window)[None, None] for parts in rows.parts]


def causal(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(width, width) to add to the scores of plain text: 0 where the token of a line may attend to that of a column,
    else very low. To be read only."""
    return _triangle(-(-width // MASK_MULTIPLE) * MASK_MULTIPLE, dtype, device)[:width, :width]


@lru_cache(maxsize=4)
def _triangle(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((width, width), torch.finfo(dtype).min, dtype=dtype, device=device).triu_(1)


def block_mask(rows: PairRows, window: int | None = None) -> BlockMask:
    """For FlexAttention, of rows that lie in one line of a multiple of `LINE_MULTIPLE`; padding at its end is a row of
    its own.

    Which blocks of the line see which is told from where rows begin and end: a mask of all tokens by all tokens, as
    torch makes one, would take 256 MiB for a long line. A block that may be seen in part only is looked at token by
    token in the kernel, so taking one too many costs time and changes nothing.
    """
    device, shape = rows.ids.device, rows.ids.shape[1]
    row, branch = np.full(shape, len(rows.parts), np.int32), np.zeros(shape, np.int32)
    begin = 0
    for number, parts in enumerate(rows.parts):
        row[begin : begin + parts.total] = number
        branch[begin + parts.trunk : begin + parts.total] = 1
        branch[begin + parts.trunk + parts.chosen : begin + parts.total] = 2
        begin += parts.total
    position = rows.positions[0].cpu().numpy().astype(np.int32)
    partial_blocks, full_blocks = _blocks(row, branch, position, window)
    of_token = [torch.from_numpy(values).to(device) for values in (row, branch, position)]
    rows_of, branch_of, position_of = of_token

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        apart = (branch_of[query] == 2) & (branch_of[key] == 1)
        return (query >= key) & (rows_of[query] == rows_of[key]) & ~apart

    def near(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return visible(batch, head, query, key) & (position_of[query] - position_of[key] < window)

    return BlockMask.from_kv_blocks(
        *_ordered(partial_blocks, device),
        *_ordered(full_blocks, device),
        BLOCK_SIZE=LINE_MULTIPLE,
        mask_mod=visible if window is None else near,
        seq_lengths=(shape, shape),
    )


def _blocks(
    row: np.ndarray, branch: np.ndarray, position: np.ndarray, window: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """(blocks, blocks) each: where a query's block may see some of a key's block, and where it sees all of it."""
    rows, branches, positions = (values.reshape(-1, LINE_MULTIPLE) for values in (row, branch, position))
    first, last = rows.min(1), rows.max(1)
    low, high = positions.min(1), positions.max(1)
    chosen, rejected = (branches == 1), (branches == 2)
    place = np.arange(len(rows))
    some = (place[:, None] >= place) & (first[:, None] <= last) & (last[:, None] >= first)
    some &= ~(rejected.all(1)[:, None] & chosen.all(1))
    alone = first == last
    whole = (place[:, None] > place) & (alone[:, None] & alone) & (first[:, None] == first)
    whole &= ~(rejected.any(1)[:, None] & chosen.any(1))
    if window is not None:
        some &= low[:, None] - high < window
        whole &= high[:, None] - low < window
    return some & ~whole, whole


def _ordered(blocks: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """(1, 1, blocks) how many each query's block sees, and (1, 1, blocks, blocks) which, those first."""
    order = np.argsort(~blocks, axis=1, kind="stable").astype(np.int32)
    counts = blocks.sum(1).astype(np.int32)
    return torch.from_numpy(counts)[None, None].to(device), torch.from_numpy(order)[None, None].to(device)


def kernel_options(head_dim: int, shared_memory: int) -> dict[str, int]:
    """Blocks for FlexAttention's kernels where its own are too large for a card whose blocks share so many bytes."""
    return (
        dict(_SMALL_BLOCKS) if _WIDE_HEAD < head_dim <= 2 * _WIDE_HEAD and shared_memory <= _SMALL_SHARED_MEMORY else {}
    )


@lru_cache
def _shared_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return _SMALL_SHARED_MEMORY + 1
    # What a block may ask for is 1 KB less than what a multiprocessor has.
    return int(torch.cuda.get_device_properties(device).shared_memory_per_multiprocessor) - 1024


def pair_attention(
    own: Callable[..., tuple[Tensor, Tensor | None]],
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    pair_masks: PairMasks | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """The attention of a layer; `query`, `key` and `value` are (lines, heads, T, width), the result (lines, T, ...).

    `own` is what the model does without pairs.
    Raises `NotImplementedError` where the layer wants more than rows in one line can have.
    """
    if pair_masks is None:
        return own(module, query, key, value, attention_mask, scaling=scaling, **others)
    masks = pair_masks.of(others.get("sliding_window"))
    if isinstance(masks, BlockMask):
        options = kernel_options(query.shape[-1], _shared_memory(query.device))
        return flex_attention_forward(
            module, query, key, value, masks, scaling=scaling, kernel_options=options, **others
        )
    if others.get("softcap") is not None or others.get("s_aux") is not None or others.get("position_bias") is not None:
        raise NotImplementedError("a layer changes its attention scores")
    groups, sizes = query.shape[1] // key.shape[1], [mask.shape[-1] for mask in masks]
    lines = (heads.split(sizes, dim=2) for heads in (query, repeat_kv(key, groups), repeat_kv(value, groups)))
    attended = [
        scaled_dot_product_attention(one, two, three, attn_mask=mask, scale=scaling)
        for one, two, three, mask in zip(*lines, masks, strict=True)
    ]
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


def _eager(module: torch.nn.Module, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor | None]:
    """The attention that a family writes out beside its layers, with what it does to scores."""
    attended: tuple[Tensor, Tensor | None] = sys.modules[type(module).__module__].eager_attention_forward(
        module, *arguments, **named
    )
    return attended


AttentionInterface.register(KERNELS["sdpa"], partial(pair_attention, sdpa_attention_forward))
AttentionMaskInterface.register(KERNELS["sdpa"], sdpa_mask)
AttentionInterface.register(KERNELS["eager"], partial(pair_attention, _eager))
AttentionMaskInterface.register(KERNELS["eager"], eager_mask)
