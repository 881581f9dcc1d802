"""The fast path gives the numbers that stock TRL gives: log-probabilities, gradients, losses, metrics."""

import copy
import inspect
import types
from dataclasses import replace

import pytest
import torch
import transformers.integrations.flex_attention as flex
from peft import get_peft_model
from transformers import AutoModelForCausalLM, Gemma3Config, Gemma3TextConfig, GptOssConfig, Lfm2Config, MistralConfig

from tests.unit.engine.fast.models import LIMIT, losses, pairs, saved, stir, trainer, wide
from workbench.config import build_config
from workbench.engine.fast import attention, proof
from workbench.engine.fast.attention import KERNELS, PairMasks
from workbench.engine.fast.decoder import Decoder
from workbench.engine.fast.forward import PairForward, RowLayout, _states
from workbench.engine.fast.loop import PairLoop
from workbench.engine.fast.pair_rows import packed
from workbench.engine.fast.proof import UnsuitableError, plain, shared, suited
from workbench.engine.methods.pairwise import PairTrainer, _planned
from workbench.engine.methods.trainer_setup import TrainerInputs, lora
from workbench.engine.model.loading import load_base
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.data import Prepared
from workbench.engine.training.watcher import Watcher
from workbench.errors import WorkbenchError

FAMILIES = ["llama", "qwen3", "mistral", "gemma", "phi", "gpt2"]


def both(model, path, train, **values):
    """The same run by TRL's path and by the fast one, with an adapter that says something, the same in both."""
    made = [trainer(model, train, path / str(fast), fast=fast, **values) for fast in (False, True)]
    assert [type(each) for each in made] == [PairTrainer, PairLoop]
    for each in made:
        stir(each)
    return made


def gradients(each):
    return {name: value.grad.clone() for name, value in each.model.named_parameters() if value.grad is not None}


class Seen:
    """Keeps what the loss saw of each batch's pairs."""

    def __init__(self):
        self.logps = []

    def __call__(self, seen, _step):
        self.logps.append(torch.tensor(seen.logps))

    def gather(self):
        pass


def seen(each, count):
    """What a training step on the first pairs sees of each (4, B), the adapter's gradient after it, and the loss."""
    each.recorder = found = Seen()
    each.model.train()
    if isinstance(each, PairLoop):
        batch = each.batch("train", range(count))
        each.forward_backward(batch)
        loss = each.measure(batch, count, training=True)["loss"] / count
    else:
        each.current_gradient_accumulation_steps = 1
        rows = [each.train_dataset[place] for place in range(count)]
        loss = float(each.training_step(each.model, each.data_collator(rows)))
    return found.logps[0], gradients(each), loss


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_and_gradients_are_those_of_trl(family, quantization, tmp_path):
    plain, fast = both(wide(family), tmp_path, pairs(8), quantization=quantization, batch_size=8)
    expected, slope, loss = seen(plain, 8)
    found, fast_slope, fast_loss = seen(fast, 8)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (expected[:2] - expected[2:]).abs().max() > 0.01  # the adapter does say something
    assert fast_loss == pytest.approx(loss, abs=1e-5)
    assert slope.keys() == fast_slope.keys()
    scale = max(float(value.abs().max()) for value in slope.values())
    for name, value in slope.items():
        torch.testing.assert_close(fast_slope[name], value, rtol=1e-3, atol=1e-4 * scale, msg=name)


@pytest.mark.parametrize("level", ["quarter", "half", "all"])
def test_layers_that_are_computed_again_change_no_number(level, tmp_path):
    folder = saved("llama", num_hidden_layers=4)
    once, again = (
        trainer(folder, pairs(8), tmp_path / each, checkpointing=each, batch_size=8) for each in ("none", level)
    )
    for each in (once, again):
        stir(each)
    layers = [layer.gradient_checkpointing for layer in again.model.get_base_model().model.layers]
    assert sum(layers) == {"quarter": 1, "half": 2, "all": 4}[level]
    expected, slope, loss = seen(once, 8)
    found, other_slope, other_loss = seen(again, 8)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)
    assert other_loss == pytest.approx(loss, abs=1e-6)
    scale = max(float(value.abs().max()) for value in slope.values())
    for name, value in slope.items():
        torch.testing.assert_close(other_slope[name], value, rtol=1e-4, atol=1e-5 * scale, msg=name)


def test_moments_in_8_bits_train_as_those_in_float32_do(tmp_path):
    """On both paths; of matrices that have 4,096 weights and more."""
    settings = {"lora_r": 128, "batch_size": 4, "max_steps": 4, "quantization": "none", "learning_rate": 1e-4}
    made = {
        (kind, fast): trainer(
            saved("llama"), pairs(8), tmp_path / f"{kind}{fast}", optimizer=kind, fast=fast, **settings
        )
        for kind in ("adamw", "adamw_8bit")
        for fast in (True, False)
    }
    found = {key: losses(each) for key, each in made.items()}
    in_bytes = [state["state1"].dtype for state in made["adamw_8bit", True]._optimizer.state.values()]
    assert torch.uint8 in in_bytes
    assert found["adamw_8bit", True] == pytest.approx(found["adamw_8bit", False], abs=1e-4)
    assert found["adamw_8bit", True] == pytest.approx(found["adamw", True], rel=0.02)
    assert found["adamw_8bit", True][-1] != found["adamw", True][-1]


def test_moments_in_8_bits_are_refused_where_they_would_be_shared_out(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(WorkbenchError, match="FSDP shares the optimizer's states out") as told:
        trainer(saved("llama"), pairs(2), tmp_path, optimizer="adamw_8bit")
    assert "optimizer" in told.value.fields


@pytest.mark.parametrize(("free", "level", "tokens"), [(2**34, "none", 16384), (2**20, "all", 1024)])
def test_on_cuda_a_run_goes_by_the_memory_that_is_free(free, level, tokens, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 2**40))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)
    config = build_config({"pairs": ["x"], "model": saved("llama"), "max_length": LIMIT})
    model = types.SimpleNamespace(device=torch.device("cuda:0"))
    inputs = TrainerInputs(config, model, None, Prepared(pairs(8), [], 0, 0, 0), tmp_path, Watcher())
    for layout in (RowLayout.FLEX, RowLayout.APART):
        planned = _planned(inputs, layout)
        assert (planned.config.checkpointing, planned.tokens_at_once) == (level, tokens)
    unknown = replace(inputs, config=config.model_copy(update={"model": "nobody/has-this"}))
    assert _planned(unknown, RowLayout.FLEX).config.checkpointing == "all"


@pytest.fixture
def _flex_on_the_cpu(monkeypatch):
    """FlexAttention as it is written down, uncompiled: torch has a backward of it on the CPU, and only forbids it;
    transformers does not ask it there for the log-sum-exp that sinks need."""
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *_: None)
    source, asks = inspect.getsource(flex.flex_attention_forward), 'return_lse = query.device.type != "cpu"'
    assert source.count(asks) == 1
    exec(source.replace(asks, "return_lse = True"), as_on_cuda := dict(vars(flex)))
    monkeypatch.setattr(attention, "flex_attention_forward", as_on_cuda["flex_attention_forward"])
    with torch.compiler.set_stance("force_eager"):
        yield


def _check_layouts(base, longest, layouts):
    kernel = base.config._attn_implementation
    expected = plain(base, longest, packed(longest))
    assert len(expected.logps) == sum(len(pair.chosen) + len(pair.rejected) for pair in longest)
    scale = float(expected.gradients.abs().max())
    for layout in layouts:
        found = shared(base, longest, layout)
        base.set_attn_implementation(kernel)
        torch.testing.assert_close(found.logps, expected.logps, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(found.gradients, expected.gradients, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.usefixtures("_flex_on_the_cpu")
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layout_gives_the_numbers_of_plain_rows(family):
    """FlexAttention is for CUDA; its rows, masks and places are the same on the CPU. Windows are narrower than rows."""
    base = load_base(saved(family), "none", device="cpu")
    # Gemma 2 changes its attention scores, which SDPA does not.
    layouts = [layout for layout in RowLayout if (family, layout) != ("gemma", RowLayout.LINE)]
    _check_layouts(base, [pair.cut(LIMIT) for pair in pairs(7)], layouts)


def _random_model(config):
    torch.manual_seed(7)
    return AutoModelForCausalLM.from_config(config(**SMALL)).eval()


SMALL = {
    "vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 48, "initializer_range": 0.3, "sliding_window": 12, "pad_token_id": 0,
    "num_local_experts": 4, "num_experts_per_tok": 2, "layer_types": ["sliding_attention", "full_attention"] * 2,
}  # fmt: skip


@pytest.mark.usefixtures("_flex_on_the_cpu")
@pytest.mark.parametrize(
    ("config", "layouts"),
    [
        (Gemma3TextConfig, list(RowLayout)),
        # SDPA knows no sinks.
        (GptOssConfig, [layout for layout in RowLayout if layout is not RowLayout.LINE]),
    ],
)
def test_layers_with_and_without_a_window_see_what_they_should(config, layouts):
    _check_layouts(_random_model(config), [pair.cut(LIMIT) for pair in pairs(7)], layouts)


def test_a_model_that_sees_is_trained_on_its_text_alone():
    """Gemma 3 of 4B and more: its vision tower has layers of the same names, which no pair passes."""
    sees = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vision = {**sees, "image_size": 28, "patch_size": 14}
    base = _random_model(lambda **sizes: Gemma3Config(text_config=sizes, vision_config=vision, mm_tokens_per_image=4))
    longest = [pair.cut(LIMIT) for pair in pairs(7)]
    assert any("vision_tower" in name for name, _ in base.named_modules())
    assert suited(base, longest) == (RowLayout.LINE, "")
    _check_layouts(base, longest, [RowLayout.LINE, RowLayout.LINES, RowLayout.APART])
    for targets in (["all-linear"], ["q_proj", "fc1"]):
        config = build_config({"pairs": ["x"], "lora_r": 4, "target_modules": targets})
        model = get_peft_model(copy.deepcopy(base), lora(config, base))
        shared(model.get_base_model(), longest, RowLayout.LINE)
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        assert len(trained) == 4 * 2 * (7 if targets == ["all-linear"] else 1)
        assert all("language_model" in name for name in trained)


def test_layers_that_carry_a_state_along_the_line_get_a_line_a_response():
    """Short convolutions, which no mask reaches: in a shared row, rejected would follow on chosen."""
    layers = {"layer_types": ["conv", "full_attention"] * 2, "sliding_window": None}
    base = _random_model(lambda **sizes: Lfm2Config(**sizes | layers))
    longest = [pair.cut(LIMIT) for pair in pairs(7)]
    layout, slower_because = suited(base, longest)
    assert layout is RowLayout.APART
    assert "a line a pair, a mask: log-probabilities differ" in slower_because
    _check_layouts(base, longest, [RowLayout.APART])


def test_a_kernel_without_a_backward_is_refused(monkeypatch):
    """FlexAttention on the CPU: its forward is right to the last digit."""
    monkeypatch.setattr(proof, "candidates", lambda *_: [RowLayout.FLEX, RowLayout.LINE])
    base = load_base(saved("llama"), "none", device="cpu")
    with torch.compiler.set_stance("force_eager"):
        layout, slower_because = suited(base, [pair.cut(LIMIT) for pair in pairs(2)])
    assert layout is RowLayout.LINE
    assert slower_because.startswith("one line, FlexAttention: FlexAttention does not support backward on CPU")


def test_a_backward_that_is_wrong_in_a_few_tokens_is_found_out(monkeypatch):
    """Two tokens in a hundred: no sum, and no share of 99 in 100, would show it."""

    class _Wrong(torch.autograd.Function):
        @staticmethod
        def forward(_ctx, states):
            return states.clone()

        @staticmethod
        def backward(_ctx, gradient):
            gradient = gradient.clone()
            gradient[:1] *= 1.2
            return gradient

    states = PairForward._read

    def read(self, rows, score):
        return states(self, rows, lambda head, of_tokens, targets: score(head, _Wrong.apply(of_tokens), targets))

    base = load_base(saved("llama"), "none", device="cpu")
    longest = [pair.cut(LIMIT) for pair in pairs(2)]
    assert suited(base, longest) == (RowLayout.LINE, "")
    monkeypatch.setattr(PairForward, "_read", read)
    with pytest.raises(UnsuitableError, match=r"gradients differ by .* in 99 of 100 tokens and by .* at most"):
        suited(base, longest)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_thirty_steps_have_the_losses_of_trl(quantization, tmp_path):
    train = pairs(40)
    settings = {"epochs": 3.0, "learning_rate": 5e-3, "quantization": quantization}
    plain, fast = both(saved("llama"), tmp_path, train, **settings)
    expected, found = losses(plain), losses(fast)
    assert len(expected) == 30
    assert max(expected) - min(expected) > 0.1
    assert found == pytest.approx(expected, abs=1e-3)


LOSSES = [
    {"loss_type": ["ipo"]},
    {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]},
    {"loss_type": ["sigmoid_norm"]},
    {"loss_type": ["aot"]},
    {"loss_type": ["aot_unpaired", "robust"], "label_smoothing": 0.1},
    {"method": "simpo", "beta": 2.0},
    {"method": "orpo", "beta": 0.1},
]


@pytest.mark.parametrize("values", LOSSES, ids=str)
def test_a_step_is_the_mean_over_its_pairs_whatever_its_micro_batches(values, tmp_path):
    """TRL takes all eight at once; the fast path takes them one by one."""
    whole = {"fast": False, "quantization": "none", "batch_size": 8, **values}
    plain = trainer(saved("llama"), pairs(8), tmp_path / "whole", **whole)
    stir(plain)
    expected, slope, loss = seen(plain, 8)
    fast = trainer(saved("llama"), pairs(8), tmp_path / "one", **whole | {"fast": True, "gradient_accumulation": 8})
    assert isinstance(fast, PairLoop)
    stir(fast)
    found, fast_slope, fast_loss = seen(fast, 8)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert fast_loss == pytest.approx(loss, rel=1e-4)
    scale = max(float(value.abs().max()) for value in slope.values())
    for name, value in slope.items():
        torch.testing.assert_close(fast_slope[name], value, rtol=1e-3, atol=2e-4 * scale, msg=name)


@pytest.fixture
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize("values", [{}, {"loss_type": ["aot"]}], ids=str)
def test_pairs_side_by_side_on_two_cores_give_the_numbers_of_trl(values, tmp_path):
    settings = {"quantization": "none", "epochs": 2.0, "learning_rate": 5e-3, **values}
    plain, *fast = (
        trainer(saved("qwen3"), pairs(16), tmp_path / str(number), fast=number > 0, **settings) for number in range(3)
    )
    assert all(each._lanes is not None for each in fast)
    expected, found, again = map(losses, (plain, *fast))
    assert len(expected) == 8
    assert found == pytest.approx(expected, abs=1e-4)
    assert again == found  # to the last bit
    assert torch.get_num_threads() == 2


def test_a_step_that_runs_out_of_memory_is_made_again_in_parts(monkeypatch, tmp_path):
    """More than 150 tokens at once are too much here: in the reference, in training and in evaluations."""
    held_out, told = pairs(6, seed=2), []
    settings = {"quantization": "none", "batch_size": 8, "max_steps": 3, "holdout": held_out}
    plain_run, short_of_memory = (trainer(saved("gpt2"), pairs(16), tmp_path / name, **settings) for name in "ab")
    plain_run.run(evaluate_first=True)
    enough = PairForward._read

    def read(self, rows, score):
        states = enough(self, rows, score)
        if rows.ids.numel() > 150 and len(rows.parts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return states

    monkeypatch.setattr(PairForward, "_read", read)
    monkeypatch.setattr(short_of_memory.told, "memory_ran_out", lambda *what: told.append(what))
    short_of_memory.run(evaluate_first=True)
    assert told
    assert told[-1][1] <= 150
    for found, expected in zip(short_of_memory.told.logs, plain_run.told.logs, strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for found, expected in zip(short_of_memory.told.evaluations, plain_run.told.evaluations, strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_pair_that_is_too_large_alone_is_the_end(monkeypatch, tmp_path):
    def read(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    made = trainer(saved("gpt2"), pairs(4), tmp_path, batch_size=4)
    monkeypatch.setattr(PairForward, "_read", read)
    with pytest.raises(torch.OutOfMemoryError):
        made.run()


def test_all_of_the_model_is_in_training_from_the_first_step_on(monkeypatch, tmp_path):
    each, seen = trainer(saved("gpt2"), pairs(8), tmp_path, max_steps=2), []
    forward_backward = each.forward_backward

    def watched(*arguments):
        seen.append(all(module.training for module in each.model.modules()))
        return forward_backward(*arguments)

    monkeypatch.setattr(each, "forward_backward", watched)
    each.run()
    assert len(seen) == 2
    assert all(seen)


def test_metrics_have_the_names_and_values_of_trl(tmp_path):
    plain, fast = both(saved("llama"), tmp_path, pairs(8), holdout=pairs(5, seed=2), batch_size=8, max_steps=2)
    for each in (plain, fast):
        each.run(evaluate_first=True)
    assert (len(plain.told.logs), len(plain.told.evaluations)) == (2, 3)
    assert set(plain.told.logs[0]) > {"loss", "grad_norm", "learning_rate", "rewards/margins", "num_tokens"}
    for expected, found in zip(plain.told.logs, fast.told.logs, strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for expected, found in zip(plain.told.evaluations, fast.told.evaluations, strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_decoders_of_llamas_kind_are_run_layer_by_layer(family, monkeypatch):
    """The states are those of transformers' own layers; the others go through these."""
    monkeypatch.setattr("workbench.engine.fast.decoder._BLOCK", 8)
    base = load_base(wide(family), "none", device="cpu")
    assert Decoder.suits(base) == (family in ("llama", "qwen3", "mistral"))
    if Decoder.suits(base):
        rows = packed([pair.cut(LIMIT) for pair in pairs(7)])
        base.set_attn_implementation(KERNELS["sdpa"])
        with torch.no_grad():
            expected = _states(base, rows, RowLayout.LINE)
            torch.testing.assert_close(Decoder(base)(rows), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["down_proj"], ["o_proj", "gate_proj"]], ids=str)
def test_some_layers_alone_may_have_adapters(targets, tmp_path):
    plain, fast = both(saved("qwen3"), tmp_path, pairs(6), batch_size=6, target_modules=targets)
    expected, slope, _ = seen(plain, 6)
    found, fast_slope, _ = seen(fast, 6)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert slope.keys() == fast_slope.keys()
    for name, value in slope.items():
        torch.testing.assert_close(fast_slope[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_no_pair_sees_another():
    base = load_base(saved("llama"), "none", device="cpu")
    rows = [pair.cut(LIMIT) for pair in pairs(6)]
    changed = [*rows[:2], pairs(9, seed=5)[-1], *rows[3:]]
    for layout in RowLayout:
        forward = PairForward(base, layout)
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            before, after = forward(forward.rows(rows)).sums, forward(forward.rows(changed)).sums
        moved = (before - after).abs().max(0).values
        assert moved[2] > 1
        assert max(moved[:2].max(), moved[3:].max()) < 1e-4


def test_a_branch_does_not_see_the_other():
    base = load_base(saved("llama"), "none", device="cpu")
    one = pairs(8)[7].cut(LIMIT)
    other = type(one)(one.prompt, [one.chosen[0] + 1, *one.chosen[1:]], one.rejected)
    forward = PairForward(base, RowLayout.LINE)
    with torch.no_grad():
        before, after = forward(forward.rows([one])).sums, forward(forward.rows([other])).sums
    assert abs(before[0] - after[0]) > 0.1
    assert before[1] == pytest.approx(float(after[1]), abs=1e-4)


def test_why_a_faster_layout_is_refused_is_told_and_logged(capfd, monkeypatch):
    def refuses(*_, **__):
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr("workbench.engine.fast.forward.row_masks", refuses)
    monkeypatch.setattr("workbench.engine.fast.forward.Decoder.suits", lambda _: False)
    base = load_base(saved("llama"), "none", device="cpu")
    reason = "one line, an attention a row: no such kernel"
    assert suited(base, [pair.cut(LIMIT) for pair in pairs(2)]) == (RowLayout.LINES, reason)
    log = capfd.readouterr().err
    assert f"Shared prompts do not fit the model as {reason}" in log
    assert "in refuses" in log  # the traceback


def test_a_window_that_a_layout_passes_by_is_found_out(monkeypatch):
    """Two tokens of a row are past a window of all but two."""
    base = load_base(saved("mistral", sliding_window=30), "none", device="cpu")
    before, longest = base.config._attn_implementation, [PairIds([7] * 3, [*range(10, 39)], [*range(50, 79)])]
    assert suited(base, longest) == (RowLayout.LINE, "")
    monkeypatch.setattr(PairMasks, "of", lambda self, _window: self._make(None))
    layout, slower_because = suited(base, longest)
    assert layout is RowLayout.LINES
    assert slower_because.startswith("one line, an attention a row: log-probabilities differ")
    assert base.config._attn_implementation == before


def test_in_half_precision_rounding_is_allowed_and_a_window_passed_by_is_not(monkeypatch):
    """The sum over a response was within 2% of the right one."""
    sizes = SMALL | {"num_hidden_layers": 8, "sliding_window": 24, "layer_types": None, "initializer_range": 0.1}
    base = _random_model(lambda **_: MistralConfig(**sizes)).to(torch.bfloat16)
    longest = [PairIds([*range(10, 40)], [*range(50, 70)], [*range(90, 108)])] * 2
    assert suited(base, longest) == (RowLayout.LINE, "")
    monkeypatch.setattr(PairMasks, "of", lambda self, _window: self._make(None))
    layout, slower_because = suited(base, longest)
    assert layout is RowLayout.LINES
    assert "differ by" in slower_because


@pytest.mark.parametrize(
    ("family", "layout", "slower_because"),
    [
        ("mistral", RowLayout.LINE, ""),
        ("gemma", RowLayout.LINES, f"{RowLayout.LINE}: a layer changes its attention scores"),
    ],
)
def test_windows_narrower_than_the_rows_do_not_leave_the_fast_path(family, layout, slower_because, tmp_path):
    """Their layers see 12 tokens; losses are TRL's."""
    plain_trl, fast = both(saved(family), tmp_path, pairs(8), max_steps=2)
    assert (fast.path, fast.slower_because) == (str(layout), slower_because)
    assert losses(fast) == pytest.approx(losses(plain_trl), abs=1e-4)


def test_other_forwards_keep_the_models_own_attention():
    """Gemma 2 squeezes its scores: a sample, or the distance from the base, is to be that of the model."""
    base = load_base(saved("gemma"), "none", device="cpu")
    ids = torch.tensor([pairs(9)[8].prompt])
    with torch.no_grad():
        expected = base(input_ids=ids).logits
        PairForward(base, RowLayout.FLEX)
        torch.testing.assert_close(base(input_ids=ids).logits, expected)


@pytest.mark.parametrize("loss", ["sigmoid", "aot"])
def test_a_run_that_falls_back_to_trl_holds_no_more_tokens_at_once(loss, monkeypatch, tmp_path):
    """8 pairs of rows of 64 tokens are 1,024; aot compares pairs with each other, so it has to have them together."""

    def unsuited(_base):
        raise UnsuitableError("for a test")

    settings = {"quantization": "none", "batch_size": 8, "max_steps": 3, "loss_type": [loss]}
    whole = trainer(saved("llama"), pairs(8), tmp_path / "whole", fast=False, **settings)
    monkeypatch.setattr(proof, "_check", unsuited)
    monkeypatch.setattr("workbench.runs.activation_memory.TOKEN_BUDGET", {"cpu": 300})
    made = trainer(saved("llama"), pairs(8), tmp_path / "parts", fast=True, **settings)
    parts = 1 if loss == "aot" else 4
    assert (type(made), made.args.gradient_accumulation_steps) == (PairTrainer, parts)
    assert made.args.per_device_train_batch_size == 8 // parts
    assert made.slower_because.startswith("for a test")
    assert ("a step goes through the model in 4 parts" in made.slower_because) == (parts == 4)
    assert losses(made) == pytest.approx(losses(whole), abs=1e-4)


def test_fast_false_is_plain_trl(tmp_path):
    made = trainer(saved("llama"), pairs(4), tmp_path, fast=False)
    assert (type(made), made.slower_because) == (PairTrainer, "fast = false")
