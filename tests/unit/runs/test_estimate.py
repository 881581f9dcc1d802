import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workbench.config import build_config
from workbench.runs.activation_memory import Lengths
from workbench.runs.estimate import (
    Judge,
    Plan,
    adapter_weights,
    advice,
    as_settings,
    checkpointing,
    disk,
    estimate,
    planned,
    plans,
    smaller,
)
from workbench.runs.model_shape import Shape

LLAMA_8B = Shape(4096, 32, 32, 8, 128, 14336, 128256, tied=False)
GIB = 2**30

shapes = st.builds(
    lambda heads, head, kv, layers, wide, vocabulary, tied: Shape(
        heads * head, layers, heads, min(kv, heads), head, wide, vocabulary, tied
    ),
    st.integers(1, 64),
    st.sampled_from([32, 64, 128, 256]),
    st.integers(1, 8),
    st.integers(1, 100),
    st.integers(64, 40000),
    st.integers(256, 300_000),
    st.booleans(),
)
devices = st.sampled_from(["cuda", "cpu"])
kinds = st.sampled_from(["nf4", "int8", "none"])
batches = st.integers(1, 64)
limits = st.integers(16, 8192)


def config(**values):
    return build_config({"pairs": ["x"], **values})


def needed(shape, device, length=1024, **values):
    return estimate(shape, config(max_length=length, **values), Lengths.at_most(length), device).total


def part(found, name):
    return next(each.bytes for each in found.parts if each.name.startswith(name))


def test_the_weights_of_llama_3_1_8b():
    assert LLAMA_8B.parameters == 8_030_261_248
    found = estimate(LLAMA_8B, config(), Lengths.at_most(1024), "cuda")
    # 6.98 billion weights in 0.516 bytes each; two matrices of 128,256 by 4,096 and the norms in bfloat16.
    assert part(found, "weights in 4 bits") == pytest.approx(3.60e9, rel=0.002)
    assert part(found, "weights not quantized") == pytest.approx(2.10e9, rel=0.002)
    assert adapter_weights(LLAMA_8B, config()) == 41_943_040
    assert part(found, "adapter") == part(found, "gradients") == 4 * 41_943_040
    assert part(found, "optimizer") == 8 * 41_943_040
    whole = estimate(LLAMA_8B, config(quantization="none"), Lengths.at_most(1024), "cuda")
    assert sum(each.bytes for each in whole.parts[:2]) == 2 * LLAMA_8B.parameters


def test_moments_in_8_bits_take_a_quarter():
    small, large = (
        estimate(LLAMA_8B, config(optimizer=each), Lengths.at_most(1024), "cuda") for each in ("adamw_8bit", "adamw")
    )
    assert part(small, "optimizer") == pytest.approx(part(large, "optimizer") / 4, rel=0.02)
    saved = [disk(LLAMA_8B, config(optimizer=each))[0] for each in ("adamw_8bit", "adamw")]
    assert saved[0] < saved[1] / 1.8


def test_checkpointing_keeps_one_layer_instead_of_all():
    levels = ("all", "half", "quarter", "none", "auto")
    found = [estimate(LLAMA_8B, config(checkpointing=each), Lengths.at_most(1024), "cuda").training for each in levels]
    assert found[4] == found[0] < found[1] < found[2] < found[3]
    assert found[0] < found[3] / 5


@given(shapes, limits, st.integers(0, 200 * GIB))
def test_no_more_is_computed_again_than_memory_asks(shape, limit, free):
    lengths = Lengths.at_most(limit)
    asked = config(max_length=limit)
    chosen, choice = planned(shape, asked, lengths, "cuda", free), plans(asked, "cuda")
    needed = [estimate(shape, asked, lengths, "cuda", plan=plan).total for plan in choice]
    assert chosen == next(
        (plan for plan, amount in zip(choice, needed, strict=True) if amount <= 0.9 * free), choice[-1]
    )


def test_what_computes_layers_again_and_what_does_not():
    assert checkpointing(config(), "cpu") == ["none"]
    assert checkpointing(config(fast=False), "cuda") == checkpointing(config(method="kto"), "cuda") == ["all"]
    assert checkpointing(config(fast=False, checkpointing="half"), "cuda") == ["all"]
    assert checkpointing(config(checkpointing="half"), "cpu") == ["half"]
    assert plans(config(), "cpu") == [Plan("none", 4096)]
    assert plans(config(fast=False), "cuda") == [Plan("all", 16384)]
    assert plans(config(checkpointing="half"), "cuda")[-1] == Plan("half", 1024)


def test_fewer_tokens_at_once_come_before_layers_that_are_computed_again():
    """A card of 24 GB, on pairs of hh-rlhf: nothing is computed again, where all was."""
    lengths = Lengths(800, 600, 1100)
    plan = planned(LLAMA_8B, config(batch_size=32), lengths, "cuda", 80 * GIB)
    assert plan == Plan("none", 8192)
    tight = planned(LLAMA_8B, config(batch_size=32), lengths, "cuda", 23 * GIB)
    assert tight == Plan("none", 2048)
    assert planned(LLAMA_8B, config(batch_size=32), lengths, "cuda", 8 * GIB).checkpointing == "all"


@given(shapes, devices, kinds, batches, limits)
def test_more_pairs_need_no_less(shape, device, kind, batch, length):
    less, more = (needed(shape, device, length, quantization=kind, batch_size=each) for each in (batch, batch + 1))
    assert 0 < less <= more


@given(shapes, devices, kinds, limits, limits)
def test_longer_pairs_need_no_less(shape, device, kind, one, other):
    assume(one < other)
    assert needed(shape, device, one, quantization=kind) <= needed(shape, device, other, quantization=kind)


@given(shapes, devices, kinds, st.integers(1, 8))
def test_more_layers_need_more(shape, device, kind, more):
    deeper = Shape(
        shape.hidden,
        shape.layers + more,
        shape.heads,
        shape.kv_heads,
        shape.head,
        shape.intermediate,
        shape.vocabulary,
        shape.tied,
    )
    assert needed(shape, device, quantization=kind) < needed(deeper, device, quantization=kind)


@given(shapes, devices, st.integers(1, 128))
def test_a_larger_adapter_needs_more_memory_and_disk(shape, device, rank):
    small, large = config(lora_r=rank), config(lora_r=rank * 2)
    assert needed(shape, device, lora_r=rank) < needed(shape, device, lora_r=rank * 2)
    assert sum(disk(shape, small)) < sum(disk(shape, large))


@given(shapes, devices, limits)
def test_fewer_bits_hold_the_same_weights_in_less(shape, device, length):
    held = [
        estimate(shape, config(quantization=kind), Lengths.at_most(length), device).parts[0].bytes
        for kind in ("nf4", "int8", "none")
    ]
    assert held == sorted(held)


def test_only_targeted_layers_get_adapters():
    some = config(target_modules=["q_proj", "v_proj"])
    assert adapter_weights(LLAMA_8B, some) == 32 * 16 * ((4096 + 4096) + (4096 + 1024))


def test_checkpoints_have_the_adapter_its_moments_and_the_tokenizer():
    checkpoints, adapter = disk(LLAMA_8B, config(keep_checkpoints=3))
    assert adapter == pytest.approx(4 * 41_943_040 + 17e6, rel=0.01)
    assert checkpoints == pytest.approx(4 * (12 * 41_943_040 + 17e6), rel=0.01)


@given(shapes, devices, kinds, batches, limits, st.integers(0, 200 * GIB))
def test_what_is_said_to_fit_fits(shape, device, kind, batch, length, free):
    asked = config(quantization=kind, batch_size=batch, max_length=length)
    changes = smaller(shape, asked, Lengths.at_most(length), device, free)
    if changes:
        changed = build_config({**asked.model_dump(), **changes})
        assert (
            estimate(shape, changed, Lengths.at_most(changed.max_length), device, plan=plans(changed, device)[-1]).total
            <= free
        )


def test_the_fast_path_reads_prompts_once_and_no_more_at_a_time_than_its_budget():
    pair = Lengths(longest=512, responses=600, row=856)
    fast, plain = (config(batch_size=4, max_length=1024, fast=each, quantization="none") for each in (True, False))
    found = [part(estimate(LLAMA_8B, each, pair, "cpu"), "activations") for each in (fast, plain)]
    assert found[0] < found[1]
    more = [estimate(LLAMA_8B, config(batch_size=n, quantization="none"), pair, "cpu").training for n in (8, 64)]
    assert more[1] < more[0] * 1.25
    kto = config(method="kto", batch_size=4, quantization="none")
    assert part(estimate(LLAMA_8B, kto, pair, "cpu"), "activations") == found[1]


def test_the_model_that_judges_answers_is_in_memory_too():
    values = {"method": "grpo", "reward": "run:x", "max_length": 1024}
    policy, most = config(**values), Lengths.at_most(1024)
    alone = estimate(LLAMA_8B, policy, most, "cuda")
    scorer = Judge(LLAMA_8B, config(method="reward"))
    beside = estimate(LLAMA_8B, policy, most, "cuda", judge=scorer)
    # In 4 bits, with its embeddings, without an output layer, with its adapter.
    expected = 3.60e9 + 1.05e9 + 4 * 41_943_040
    assert part(beside, "reward's model") == pytest.approx(expected, rel=0.01)
    assert beside.training - alone.training >= expected * 0.99
    implicit = estimate(LLAMA_8B, policy, most, "cuda", judge=Judge(LLAMA_8B, config()))
    assert part(implicit, "reward's model") > part(beside, "reward's model") + 10**9
    assert part(implicit, "judging") > part(beside, "judging")
    assert not [each for each in alone.parts if each.name in ("reward's model", "judging")]


def test_the_least_costly_change_comes_first():
    asked, most = config(quantization="none"), Lengths.at_most(1024)
    assert smaller(LLAMA_8B, asked, most, "cuda", 30 * GIB) == {"gradient_accumulation": 2}
    assert smaller(LLAMA_8B, asked, most, "cuda", 12 * GIB) == {"quantization": "nf4"}
    assert smaller(LLAMA_8B, asked, most, "cuda", 8 * GIB)["max_length"] < 1024
    assert smaller(LLAMA_8B, asked, most, "cuda", 4 * GIB) == {}


def test_advice_names_settings_to_type():
    assert advice(config()).startswith("These settings would fit: --set gradient_accumulation=")
    assert "gradient_accumulation" in advice(config(model="nobody/has-this"))
    assert "smaller model" in advice(config(batch_size=1, max_length=16))
    assert as_settings({"max_length": 512, "quantization": "nf4"}) == "--set max_length=512 --set quantization=nf4"
