"""Attention within rows that share a prompt: which token may attend to which, for each kernel.

transformers' decoders take their attention from a registry; `KERNEL` is ours in it. It does three things: FlexAttention
where it is given a `BlockMask` (CUDA), a scaled-dot-product attention a row where the rows lie in one line (CPU: no
padding, so that a long pair costs its neighbours nothing), and plain SDPA for all other forwards of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workbench.engine.fast.pair_rows import PairRows, RowParts
from workbench.runs.activation_memory import MASK_MULTIPLE

KERNEL = "workbench_pairs"
"""The name of this attention in transformers' registry."""
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


def row_mask(parts: RowParts, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(width, width) to add to the scores: 0 where the token of a line may attend to that of a column, else very low.

    `width` may be more than the row. Padding comes last, so nothing else sees it; it sees something itself, as a
    softmax over nothing is no number.
    """
    mask = causal(width, dtype, device).clone()
    begin = parts.trunk + parts.chosen
    mask[begin:, parts.trunk : begin] = torch.finfo(dtype).min
    return mask


def padded_mask(rows: PairRows, dtype: torch.dtype) -> Tensor:
    """(B, 1, L, L) for rows that have a line each."""
    width = rows.ids.shape[1]
    return torch.stack([row_mask(parts, width, dtype, rows.ids.device) for parts in rows.parts])[:, None]


def row_masks(rows: PairRows, dtype: torch.dtype) -> list[Tensor]:
    """(1, 1, T, T) for each of the rows that lie in one line."""
    return [row_mask(parts, parts.total, dtype, rows.ids.device)[None, None] for parts in rows.parts]


def causal(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(width, width) to add to the scores of plain text: 0 where the token of a line may attend to that of a column,
    else very low. To be read only."""
    return _triangle(-(-width // MASK_MULTIPLE) * MASK_MULTIPLE, dtype, device)[:width, :width]


@lru_cache(maxsize=4)
def _triangle(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((width, width), torch.finfo(dtype).min, dtype=dtype, device=device).triu_(1)


def block_mask(rows: PairRows) -> BlockMask:
    """For FlexAttention, of rows that lie in one line; padding at its end is a row of its own."""
    width, device = rows.ids.shape[1], rows.ids.device
    row, branch = torch.zeros((2, width), dtype=torch.int32)
    begin = 0
    for number, parts in enumerate(rows.parts):
        row[begin : begin + parts.total] = number
        branch[begin + parts.trunk : begin + parts.total] = 1
        branch[begin + parts.trunk + parts.chosen : begin + parts.total] = 2
        begin += parts.total
    row[begin:] = len(rows.parts)
    row, branch = row.to(device), branch.to(device)

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        apart = (branch[query] == 2) & (branch[key] == 1)
        return (query >= key) & (row[query] == row[key]) & ~apart

    return create_block_mask(visible, None, None, width, width, device=str(device), _compile=device.type == "cuda")


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


def check_window(window: int | None, longest: int) -> None:
    """Raises `NotImplementedError` where a layer attends to fewer tokens than the longest row has."""
    if window is not None and window < longest:
        raise NotImplementedError(f"a layer attends to {window} tokens only, which is less than a row")


def pair_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | BlockMask | None,
    *,
    scaling: float | None = None,
    pair_masks: Sequence[Tensor] | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """The attention of a layer; `query`, `key` and `value` are (lines, heads, T, width), the result (lines, T, ...).

    Raises `NotImplementedError` where the layer wants more than rows in one line can have.
    """
    if isinstance(attention_mask, BlockMask):
        options = kernel_options(query.shape[-1], _shared_memory(query.device))
        return flex_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, kernel_options=options, **others
        )
    if pair_masks is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    sizes = [mask.shape[-1] for mask in pair_masks]
    check_window(others.get("sliding_window"), max(sizes))
    if others.get("softcap") is not None or others.get("s_aux") is not None or others.get("position_bias") is not None:
        raise NotImplementedError("a layer changes its attention scores")
    groups = query.shape[1] // key.shape[1]
    lines = (heads.split(sizes, dim=2) for heads in (query, repeat_kv(key, groups), repeat_kv(value, groups)))
    attended = [
        scaled_dot_product_attention(one, two, three, attn_mask=mask, scale=scaling)
        for one, two, three, mask in zip(*lines, pair_masks, strict=True)
    ]
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(KERNEL, pair_attention)
AttentionMaskInterface.register(KERNEL, sdpa_mask)
