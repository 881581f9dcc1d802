"""FlexAttention compiled, forward and backward, at the head widths that models have, against plain attention."""

from functools import partial

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tests.unit.engine.fast.models import pairs
from workbench.engine.fast.attention import PairMasks, block_mask, pair_attention, row_masks
from workbench.engine.fast.pair_rows import packed
from workbench.runs.activation_memory import LINE_MULTIPLE

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

HEADS, KEY_HEADS = 8, 2


@pytest.mark.parametrize("width", [64, 128, 256])
def test_the_compiled_kernel_gives_what_plain_attention_gives_forward_and_backward(width):
    rows = packed([pair.cut(120) for pair in pairs(12)], LINE_MULTIPLE).to(torch.device("cuda"))
    count = sum(parts.total for parts in rows.parts)
    torch.manual_seed(0)
    sizes = [(1, heads, rows.ids.shape[1], width) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    given = [torch.randn(size, device="cuda", dtype=torch.bfloat16, requires_grad=True) for size in sizes]
    masks = PairMasks(partial(block_mask, rows), rows.longest)
    found, _ = pair_attention(None, torch.nn.Module(), *given, None, scaling=width**-0.5, pair_masks=masks)
    weights = torch.randn_like(found[:, :count])
    slopes = torch.autograd.grad((found[:, :count] * weights).sum(), given)

    exact = [each.detach().float().requires_grad_() for each in given]
    expected = _plain(exact, rows)
    exact_slopes = torch.autograd.grad((expected * weights.float()).sum(), exact)
    assert _off(found[:, :count], expected) < 0.01
    for name, slope, exact_slope in zip(("query", "key", "value"), slopes, exact_slopes, strict=True):
        assert _off(slope, exact_slope) < 0.02, name


def _plain(given, rows):
    """(1, T, heads, width), an attention a row, in float32."""
    done, begin = [], 0
    for parts, mask in zip(rows.parts, row_masks(rows, torch.float32), strict=True):
        end = begin + parts.total
        query, key, value = (each[:, :, begin:end] for each in given)
        groups = HEADS // KEY_HEADS
        key, value = (each.repeat_interleave(groups, 1) for each in (key, value))
        done.append(scaled_dot_product_attention(query, key, value, attn_mask=mask))
        begin = end
    return torch.cat(done, 2).transpose(1, 2)


def _off(found, expected):
    """The root mean square of the difference, over that of what is expected."""
    return float((found.float() - expected).pow(2).mean().sqrt() / expected.pow(2).mean().sqrt())
