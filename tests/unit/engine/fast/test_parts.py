"""The pieces of the fast path by themselves: the head, the masks, micro-batches, LoRA as one operation."""

import time
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch.nn.attention.flex_attention import create_block_mask
from transformers.integrations.flex_attention import WrappedFlexAttention
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.unit.engine.fast.models import LIMIT, pairs, saved
from workbench.engine.fast import head
from workbench.engine.fast.attention import PairMasks, block_mask, kernel_options, pair_attention, row_mask
from workbench.engine.fast.batch import Lanes, even_batches, micro_batches
from workbench.engine.fast.lora import adapted, adapters_off, fuse
from workbench.engine.fast.pair_rows import RowParts, packed, padded, row_parts
from workbench.engine.model.loading import load_base
from workbench.engine.model.token_ids import PairIds


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("scale", "softcap"), [(1.0, None), (0.5, None), (2.0, 3.0)])
def test_the_head_is_a_log_softmax_of_the_logits(bias, scale, softcap, monkeypatch):
    monkeypatch.setattr(head, "TILE_BYTES", {"cpu": 4 * 50 * 7})  # tiles of seven tokens
    torch.manual_seed(0)
    weight, shift = torch.randn(50, 8), torch.randn(50) if bias else None
    states, targets, gradient = (
        torch.randn(23, 8, requires_grad=True),
        torch.randint(0, 50, (23,)),
        torch.randn(23),
    )
    found = head.token_scores(head.Head(weight, shift, scale, softcap), states, targets)
    (slope,) = torch.autograd.grad((found.logps * gradient).sum(), states)
    logits = torch.nn.functional.linear(states, weight, shift) * scale
    logits = logits if softcap is None else torch.tanh(logits / softcap) * softcap
    logps = logits.log_softmax(-1)
    expected = logps.gather(-1, targets[:, None])[:, 0]
    (right,) = torch.autograd.grad((expected * gradient).sum(), states)
    torch.testing.assert_close(found.logps, expected)
    torch.testing.assert_close(slope, right, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.entropy, -(logps.exp() * logps).sum(-1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.mean_logits, logits.mean(-1), rtol=1e-4, atol=1e-5)
    assert torch.equal(found.is_top1.bool(), logits.argmax(-1) == targets)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_token_sees_what_its_own_side_would_show_it(trunk, chosen, rejected):
    row = RowParts(trunk, chosen, rejected)
    seen = row_mask(row, row.total, torch.float32, torch.device("cpu")) == 0
    sides = [[*range(trunk + chosen)], [*range(trunk), *range(trunk + chosen, row.total)]]
    for query in range(row.total):
        side = next(each for each in sides if query in each)
        assert seen[query].nonzero()[:, 0].tolist() == [key for key in side if key <= query]


@pytest.mark.parametrize("window", [None, 5, 40])
def test_the_mask_of_flex_attention_is_that_of_the_rows(window):
    rows = packed([pair.cut(LIMIT) for pair in pairs(9)], 128)
    width = rows.ids.shape[1]
    assert width % 128 == 0
    place, zero = torch.arange(width), torch.tensor(0)
    found = block_mask(rows, window)
    mask = found.mask_mod(zero, zero, place[:, None], place)
    begin = 0
    for each in rows.parts:
        here = slice(begin, begin + each.total)
        assert torch.equal(mask[here, here], row_mask(each, each.total, torch.float32, place.device, window) == 0)
        assert not mask[here, : here.start].any()
        assert not mask[here, here.stop :].any()
        begin += each.total
    assert mask.any(1).all()


@pytest.mark.parametrize("window", [None, 100, 300])
def test_blocks_that_are_not_looked_at_hide_nothing_and_whole_ones_show_everything(window):
    ids = [PairIds([1] * prompt, [2] * chosen, [3] * rejected) for prompt, chosen, rejected in SIZES]
    rows = packed(ids, 128)
    width, zero = rows.ids.shape[1], torch.tensor(0)
    found, place = block_mask(rows, window), torch.arange(width)
    mask = found.mask_mod(zero, zero, place[:, None], place)
    counts = mask.reshape(width // 128, 128, width // 128, 128).sum((1, 3))
    partial, whole = (
        blocks(found.kv_num_blocks, found.kv_indices),
        blocks(found.full_kv_num_blocks, found.full_kv_indices),
    )
    assert not (partial & whole).any()
    assert not counts[~(partial | whole)].any()
    assert (counts[whole] == 128**2).all()
    assert torch.equal(
        partial | whole,
        blocks(found.q_num_blocks, found.q_indices).T | blocks(found.full_q_num_blocks, found.full_q_indices).T,
    )
    # What could be left out is what torch leaves out, which looks at every token.
    exact = create_block_mask(found.mask_mod, 1, 1, width, width, device="cpu")
    torchs = blocks(exact.kv_num_blocks, exact.kv_indices) | blocks(exact.full_kv_num_blocks, exact.full_kv_indices)
    assert int((partial | whole).sum()) <= (1.15 if window is None else 1.5) * int(torchs.sum())
    assert int(whole.sum()) >= 0.5 * int(blocks(exact.full_kv_num_blocks, exact.full_kv_indices).sum())


SIZES = [(700, 300, 310), (20, 130, 40), (5, 5, 5), (400, 600, 20), (64, 64, 64), (300, 2, 700)]


def blocks(counts, indices):
    """(blocks, blocks): which are named."""
    named = torch.zeros(indices.shape[-2:], dtype=torch.bool)
    for line, (count, order) in enumerate(zip(counts[0, 0].tolist(), indices[0, 0].tolist(), strict=True)):
        named[line, order[:count]] = True
    return named


def test_lines_of_every_width_are_compiled_six_times(monkeypatch):
    """For the reference, the loss and an evaluation: what Dynamo gives its backend, which runs it as it is."""
    graphs, compiled = [], torch.compile

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, **_: compiled(function, backend=backend))
    monkeypatch.setattr(WrappedFlexAttention, "_is_flex_compiled", False)
    monkeypatch.setattr(WrappedFlexAttention, "_instance", None)
    torch._dynamo.reset()
    layer = torch.nn.Module()
    for tokens in (500, 380, 900, 120, 1800, 1300, 640, 1500):
        rows = packed([PairIds([1] * (tokens // 2), [2] * (tokens // 4), [3] * 9)], 128)
        masks, width = PairMasks(partial(block_mask, rows), tokens), rows.ids.shape[1]
        query, key = torch.randn(1, 4, width, 16), torch.randn(1, 2, width, 16)
        for training in (False, True):
            for gradient in (False, True):
                layer.train(training)
                with torch.set_grad_enabled(gradient):
                    pair_attention(sdpa_attention_forward, layer, query, key, key, None, pair_masks=masks)
    assert 1 <= len(graphs) <= 6


@pytest.mark.parametrize(
    ("head_dim", "kilobytes", "smaller"),
    [(64, 99, False), (128, 99, False), (160, 99, True), (256, 99, True), (512, 99, False), (256, 163, False)],
    ids=str,
)
def test_wide_heads_get_smaller_blocks_on_cards_with_little_shared_memory(head_dim, kilobytes, smaller):
    """By what Triton's pipeline holds, in bfloat16: a block of one side, and the stages but one of two of the other."""
    options = kernel_options(head_dim, kilobytes * 1024)
    assert bool(options) == smaller
    if options:
        number = 2 * 256  # bytes of a head, rounded up to a power of two
        forward = options["fwd_BLOCK_M"] + 2 * options["fwd_BLOCK_N"] * (options["fwd_num_stages"] - 1)
        assert forward * number <= kilobytes * 1024
        backward = 2 * options["bwd_BLOCK_N1"] + 2 * options["bwd_BLOCK_M1"] * options["bwd_num_stages"]
        assert backward * number <= kilobytes * 1024


def test_rows_have_a_place_for_every_token_of_both_responses():
    some = [pair.cut(LIMIT) for pair in pairs(9)]
    for rows in (packed(some), padded(some)):
        flat, places = rows.ids.reshape(-1), rows.positions.reshape(-1)
        for number, pair in enumerate(some):
            own = rows.pairs == number
            for side, response in enumerate((pair.chosen, pair.rejected)):
                counted = own & (rows.sides[side] == 1)
                assert rows.targets[counted].tolist() == response
                before = [*pair.prompt, *response][len(pair.prompt) - 1 : -1]
                assert flat[rows.predictors[counted]].tolist() == before
                wanted = range(len(pair.prompt) - 1, len(pair.prompt) + len(response) - 1)
                assert places[rows.predictors[counted]].tolist() == list(wanted)
    assert sum(row_parts(pair).total for pair in some) == packed(some).ids.numel()


@given(st.lists(st.integers(1, 100), min_size=1, max_size=30), st.integers(1, 8), st.integers(1, 200), st.booleans())
def test_micro_batches_have_every_pair_once_and_keep_their_limits(sizes, most, budget, padded):
    found = micro_batches(sizes, most, budget, padded=padded)
    assert sorted(index for part in found for index in part) == list(range(len(sizes)))
    for part in found:
        widths = [sizes[index] for index in part]
        assert len(part) <= most
        assert len(part) == 1 or (len(part) * max(widths) if padded else sum(widths)) <= budget
    if not padded:
        assert [index for part in found for index in part] == list(range(len(sizes)))


_SIZES = st.lists(st.integers(1, 100), min_size=1, max_size=30)


@given(_SIZES, st.integers(1, 4), st.integers(0, 8), st.integers(1, 500))
def test_even_batches_have_every_pair_once_and_are_even(sizes, lanes, more, budget):
    most = lanes + more
    found = even_batches([RowParts(size, 0, 0) for size in sizes], lanes, most, budget)
    assert sorted(index for part in found for index in part) == list(range(len(sizes)))
    assert len(found) == len(sizes) or len(found) % lanes == 0
    assert all(found)
    # As many parts as there are lanes are in memory at once.
    assert sum(sorted(map(len, found))[-lanes:]) <= most
    if most // lanes * lanes >= len(sizes) and budget >= sum(sizes):
        work = [size * (1 + size / 2000) for size in sizes]
        loads = sorted(sum(work[index] for index in part) for part in found)
        assert loads[-1] - loads[0] <= max(work) + 1e-9


def test_lanes_have_the_same_work_not_the_same_tokens():
    responses_apart = [RowParts(100, 0, 0), RowParts(0, 50, 50), RowParts(100, 0, 0), RowParts(0, 50, 50)]
    assert [sorted(part) for part in even_batches(responses_apart, 2, 4, 4096)] == [[0, 1], [2, 3]]
    long_apart = [RowParts(400, 0, 0), *[RowParts(100, 0, 0)] * 5]
    assert [sorted(part) for part in even_batches(long_apart, 2, 6, 4096)] == [[0], [1, 2, 3, 4, 5]]


def test_lanes_keep_the_order_tell_errors_and_leave_the_threads_as_they_were():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        lanes = Lanes(8)
        assert (lanes.count, Lanes(1).count) == (2, 1)

        def late(number):
            time.sleep(0.01 * (5 - number))
            return number, torch.get_num_threads()

        seen = lanes.map(late, range(5))
        assert seen == [(number, 1) for number in range(5)]
        with pytest.raises(ZeroDivisionError):
            lanes.map(lambda number: 1 / number, [1, 0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_lora_as_one_operation_gives_what_peft_gives(quantization):
    found = []
    for fused in (False, True):
        base = load_base(saved("qwen3"), quantization, device="cpu")
        torch.manual_seed(0)
        config = LoraConfig(
            r=4, lora_alpha=12, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
        )
        model = get_peft_model(base, config).float()
        if fused:
            fuse(model)
        ids = torch.arange(40).reshape(2, 20)
        model(input_ids=ids).logits.square().mean().backward()
        with torch.no_grad(), adapters_off(adapted(model)) if fused else model.disable_adapter():
            bare = model(input_ids=ids).logits
        with torch.no_grad():
            both = torch.stack([bare, model(input_ids=ids).logits])
        found.append((both, {name: each.grad for name, each in model.named_parameters() if each.grad is not None}))
    (plain, slopes), (one, others) = found
    assert (plain[0] - plain[1]).abs().max() > 0.1
    torch.testing.assert_close(one, plain, rtol=1e-4, atol=1e-4)
    assert slopes.keys() == others.keys()
    for name, slope in slopes.items():
        torch.testing.assert_close(others[name], slope, rtol=1e-3, atol=1e-5 * float(slope.abs().max() + 1), msg=name)
