"""What is written out by hand equals what autograd makes of the plain formulas."""

from itertools import accumulate

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.autograd import gradcheck
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from workbench.config import build_config
from workbench.engine.fast.attention import row_mask
from workbench.engine.fast.decoder import apply_rope, rms_norm, rope_angles, row_attention, row_blocks, swiglu
from workbench.engine.fast.lora import adapted, fuse
from workbench.engine.fast.pair_rows import RowParts
from workbench.engine.model.loading import load_base
from workbench.runs.activation_memory import Lengths
from workbench.runs.estimate import estimate
from workbench.runs.model_shape import shape_of


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
    heads, angles = drawn(5, 3, 8), drawn(5, 4).repeat(1, 2)
    cosines, sines = angles.cos(), angles.sin()
    lines = heads.transpose(0, 1)[None]
    expected, _ = apply_rotary_pos_emb(lines, lines, cosines[None], sines[None])
    by = rope_angles(cosines, sines, 4)
    torch.testing.assert_close(apply_rope(heads, by), expected[0].transpose(0, 1))
    other = drawn(5, 3, 8)
    ahead = (apply_rope(heads, by) * other).sum()
    torch.testing.assert_close((heads * apply_rope(other, by, sign=-1.0)).sum(), ahead)


def turned(heads, angles):
    first, second = heads.chunk(2, -1)
    return heads * angles.cos()[:, None] + torch.cat([-second, first], -1) * angles.sin()[:, None]


@pytest.mark.parametrize("heads", [(2, 2), (4, 2), (3, 1)])
@pytest.mark.parametrize("block", [2, 3, 192])
@pytest.mark.parametrize("apart", [0, 5, 1024])
@pytest.mark.parametrize("firsts", [(0, 0, 0), (3, 6, 2), (8, 4, 7), (9, 6, 8)])
def test_attention_is_that_of_each_row_by_itself(heads, block, apart, firsts, monkeypatch):
    """All tokens ask; or some of the first row, none of the second and most of the third; or some of rejected alone; or
    none at all. Branches are computed apart, or not, or some."""
    monkeypatch.setattr("workbench.engine.fast.decoder._BLOCK", block)
    monkeypatch.setattr("workbench.engine.fast.decoder._APART", apart)
    many, some = heads
    parts = (RowParts(4, 3, 2), RowParts(2, 2, 2), RowParts(3, 4, 1))
    masks = [row_mask(each, each.total, torch.float64, torch.device("cpu"))[None, None] for each in parts]
    tokens = [each.total for each in parts]
    asks = [place >= first for first, count in zip(firsts, tokens, strict=True) for place in range(count)]
    asking = torch.tensor(asks).nonzero()[:, 0]
    angles = drawn(sum(tokens), 4).repeat(1, 2)
    by = rope_angles(angles.cos(), angles.sin(), many)
    query = drawn(len(asking), many, 8, gradient=True)
    key, value = drawn(23, some, 8, gradient=True), drawn(23, some, 8, gradient=True)
    rows = [row_blocks(each, torch.float64, first) for each, first in zip(parts, firsts, strict=True)]

    def ours(q, k, v):
        return row_attention(q, k, v, (by[0][asking], by[1][asking]), by, rows, 0.3)

    def plain(q, k, v):
        mask = torch.full((23, 23), -torch.inf, dtype=torch.float64)
        for end, each in zip(accumulate(tokens), masks, strict=True):
            mask[end - each.shape[-1] : end, end - each.shape[-1] : end] = each[0, 0]
        q, k = turned(q, angles[asking]), turned(k, angles)
        k, v = (each.repeat_interleave(many // some, 1) for each in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) * 0.3 + mask[asking]
        return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)

    torch.testing.assert_close(ours(query, key, value), plain(query, key, value))
    weights, inputs = drawn(len(asking), many, 8), (query, key, value)
    found, expected = (torch.autograd.grad((each(*inputs) * weights).sum(), inputs) for each in (ours, plain))
    torch.testing.assert_close(found, expected)


def test_the_weights_that_are_kept_unpacked_take_what_the_estimate_says():
    model = get_peft_model(load_base("tiny", "nf4", device="cpu"), LoraConfig(r=4, target_modules="all-linear"))
    fuse(model)
    kept = [each.projections._kept for each in adapted(model)]
    taken = sum(weight.nbytes + transposed.nbytes for weight, transposed in kept)
    found = estimate(shape_of("tiny"), build_config({"pairs": ["x"]}), Lengths.at_most(64), "cpu")
    assert taken == next(part.bytes for part in found.parts if part.name == "weights unpacked")
