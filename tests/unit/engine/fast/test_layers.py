"""What is written out by hand equals what autograd makes of the plain formulas."""

from itertools import accumulate

import pytest
import torch
from torch.autograd import gradcheck
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from workbench.engine.fast.attention import row_mask
from workbench.engine.fast.layers import rms_norm, rotated, swiglu
from workbench.engine.fast.row_attention import row, row_attention
from workbench.engine.fast.rows import Parts


def drawn(*shape, gradient=False):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=gradient)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(5, 8), (3, 2, 8)])
def test_the_norm_is_llamas(shape):
    weight, x = drawn(8), drawn(*shape, gradient=True)
    module = LlamaRMSNorm(8, eps=1e-3)
    module.weight.data = weight.float()
    torch.testing.assert_close(rms_norm(x.float(), weight.float(), 1e-3), module(x.float()))
    assert gradcheck(lambda y: rms_norm(y, weight, 1e-3), (x,))


def test_the_gated_unit_is_silu_times_the_other_half():
    both = drawn(5, 12, gradient=True)
    torch.testing.assert_close(swiglu(both), torch.nn.functional.silu(both[:, :6]) * both[:, 6:])
    assert gradcheck(swiglu, (both,))


def test_heads_are_turned_as_llama_turns_them_and_back():
    heads, angles = drawn(5, 3, 8), drawn(5, 8)
    cosines, sines = angles.cos(), angles.sin()
    lines = heads.transpose(0, 1)[None]
    expected, _ = apply_rotary_pos_emb(lines, lines, cosines[None], sines[None])
    torch.testing.assert_close(rotated(heads, cosines, sines), expected[0].transpose(0, 1))
    other = drawn(5, 3, 8)
    ahead = (rotated(heads, cosines, sines) * other).sum()
    torch.testing.assert_close((heads * rotated(other, cosines, sines, sign=-1.0)).sum(), ahead)


def turned(heads, cosines, sines):
    first, second = heads.chunk(2, -1)
    return heads * cosines[:, None] + torch.cat([-second, first], -1) * sines[:, None]


@pytest.mark.parametrize("heads", [(2, 2), (4, 2), (3, 1)])
@pytest.mark.parametrize("block", [2, 3, 192])
@pytest.mark.parametrize("firsts", [(0, 0, 0), (3, 6, 2), (9, 6, 8)])
def test_attention_is_that_of_each_row_by_itself(heads, block, firsts, monkeypatch):
    """All tokens ask; or some of the first row, none of the second and most of the third; or none at all."""
    monkeypatch.setattr("workbench.engine.fast.row_attention._BLOCK", block)
    many, some = heads
    parts = (Parts(4, 3, 2), Parts(2, 2, 2), Parts(3, 4, 1))
    masks = [row_mask(each, each.total, torch.float64, torch.device("cpu"))[None, None] for each in parts]
    tokens = [each.total for each in parts]
    asks = [place >= first for first, count in zip(firsts, tokens, strict=True) for place in range(count)]
    asking = torch.tensor(asks).nonzero()[:, 0]
    angles = drawn(sum(tokens), 8)
    turns = angles.cos(), angles.sin()
    query = drawn(len(asking), many, 8, gradient=True)
    key, value = drawn(23, some, 8, gradient=True), drawn(23, some, 8, gradient=True)
    rows = [row(*each) for each in zip(masks, firsts, strict=True)]

    def ours(q, k, v):
        return row_attention(q, k, v, tuple(each[asking] for each in turns), turns, rows, 0.3)

    def plain(q, k, v):
        mask = torch.full((23, 23), -torch.inf, dtype=torch.float64)
        for end, each in zip(accumulate(tokens), masks, strict=True):
            mask[end - each.shape[-1] : end, end - each.shape[-1] : end] = each[0, 0]
        q, k = turned(q, *(each[asking] for each in turns)), turned(k, *turns)
        k, v = (each.repeat_interleave(many // some, 1) for each in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) * 0.3 + mask[asking]
        return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)

    torch.testing.assert_close(ours(query, key, value), plain(query, key, value))
    weights, inputs = drawn(len(asking), many, 8), (query, key, value)
    found, expected = (torch.autograd.grad((each(*inputs) * weights).sum(), inputs) for each in (ours, plain))
    torch.testing.assert_close(found, expected)
