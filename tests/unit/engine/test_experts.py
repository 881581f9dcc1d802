"""Mixtures of experts in 4 bits, against the same model with every matrix quantized and unpacked by hand."""

import json
import shutil

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.unit.engine.fast.models import saved
from tests.unit.engine.random_models import MIXTURES
from tests.unit.engine.training import ROWS, make, plain_logps, read, work
from workbench.engine.fast.forward import RowLayout
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.experts import packed_experts
from workbench.engine.model.loading import load_base, load_reward_base
from workbench.engine.model.token_ids import pair_ids
from workbench.engine.scoring.scorer import Scorer
from workbench.engine.shipping.merge_adapter import merge
from workbench.errors import WorkbenchError
from workbench.pairs.pair import from_row
from workbench.runs.events import Finished, Started, Step, Warned

IDS = torch.randint(9, 300, (2, 40), generator=torch.Generator().manual_seed(3))
FEW = IDS[:1, :1]
"""Of fewer tokens than reach all experts."""


def by_hand(folder):
    """The model by transformers alone, every matrix but the ends' as NF4 has it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim == 3 or (isinstance(module, torch.nn.Linear) and path != "lm_head" and name == "weight"):
                packed, state = quantize_4bit(parameter.data, quant_type="nf4", compress_statistics=True)
                parameter.data = dequantize_4bit(packed, state)
    return model


def gradient_and_kept(model, ids):
    """The gradient of some log-probabilities at the embeddings, and the sizes of all that was kept for it."""
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    sizes = []

    def keep(tensor):
        sizes.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(inputs_embeds=embedded).logits.log_softmax(-1)[..., 5].sum()
    return torch.autograd.grad(loss, embedded)[0], sizes


@pytest.mark.parametrize("family", MIXTURES)
def test_experts_in_4_bits_are_those_quantized_by_hand(family):
    folder = saved(family)
    model, expected = load_base(folder, "nf4", device="cpu"), by_hand(folder)
    packed = list(packed_experts(model))
    assert len(packed) == 2 * model.config.num_hidden_layers
    assert all(holder.nbytes == weights / 2 for _, holder, weights in packed)
    weights = dict(expected.named_parameters())
    for name, _, _ in packed:
        module, _, matrix = name.rpartition(".")
        assert torch.equal(getattr(model.get_submodule(module), matrix), weights[name])
    with torch.no_grad():
        for ids in (IDS, FEW):
            assert torch.equal(model(ids).logits, expected(ids).logits)
    gradient, _ = gradient_and_kept(model, IDS)
    assert torch.equal(gradient, gradient_and_kept(expected, IDS)[0])


@pytest.mark.parametrize("family", ["qwen3_moe", "mixtral"])
def test_what_4_bits_take_from_experts_is_their_rounding(family):
    folder = saved(family)
    model = load_base(folder, "nf4", device="cpu")
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    weights, packed = dict(whole.named_parameters()), list(packed_experts(model))
    assert packed
    for name, _, _ in packed:
        module, _, matrix = name.rpartition(".")
        exact = weights[name].detach()
        off = getattr(model.get_submodule(module), matrix) - exact
        largest = exact.reshape(-1, 64).abs().amax(1, keepdim=True)
        # Half of NF4's widest gap, from -1 to -0.696, and what the scales lose in 8 bits.
        assert float((off.reshape(-1, 64).abs() / largest).max()) < 0.16
        assert float(off.std() / exact.std()) == pytest.approx(0.09, abs=0.02)


def test_the_backward_keeps_no_matrix_of_experts():
    folder = saved("mixtral")
    model, expected = load_base(folder, "nf4", device="cpu"), by_hand(folder)
    matrix = 4 * max(weights for _, _, weights in packed_experts(model))
    assert max(gradient_and_kept(expected, IDS)[1]) == matrix
    assert max(gradient_and_kept(model, IDS)[1]) < matrix


@pytest.fixture(scope="module", params=["qwen3_moe", pytest.param("mixtral", marks=pytest.mark.slow)])
def trained(request, tmp_path_factory):
    values = {"model": saved(request.param), "max_steps": 4, "save_steps": 2, "learning_rate": 2e-3}
    folder = make(tmp_path_factory.mktemp("runs"), sample_tokens=0, **values)
    return folder, work(folder)


def test_a_mixture_trains_on_the_fast_path(trained):
    folder, end = trained
    assert isinstance(end, Finished)
    assert {each.code for each in read(folder, Warned)} <= {"overfitting"}
    (started,) = read(folder, Started)
    assert started.path == str(RowLayout.LINE)
    assert started.slower_because == ""
    whole = AutoModelForCausalLM.from_pretrained(folder.record().config.model)
    assert started.total_parameters == whole.num_parameters() + started.trainable_parameters
    targets = json.loads((folder.adapter / "adapter_config.json").read_text())["target_modules"]
    assert sorted(targets) == ["k_proj", "o_proj", "q_proj", "v_proj"]
    losses = [step.metrics["loss"] for step in read(folder, Step)]
    assert losses[0] == pytest.approx(0.6931, abs=1e-4)
    assert losses[-1] < losses[0]


def test_it_goes_on_from_a_checkpoint_as_if_it_had_not_ended(trained, tmp_path):
    folder, _ = trained
    values = folder.record().config.model_dump(exclude_unset=True)
    again = make(tmp_path, **values)
    shutil.copytree(folder.checkpoints / "checkpoint-2", again.checkpoints / "checkpoint-2")
    lines = folder.events.read_text().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if '"checkpoint-2"' in line or '"step": 2' in line)
    again.events.write_text("".join(lines[: last + 1]))
    assert isinstance(work(again), Finished)
    assert [each.step for each in read(again, Started)] == [0, 2]
    before, after = (load_file(each.adapter / "adapter_model.safetensors") for each in (folder, again))
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=1e-6, atol=1e-6)


def test_it_is_scored_as_by_hand(trained):
    folder, _ = trained
    config = folder.record().config
    scorer = Scorer(config.model, "nf4", device="cpu")
    model = PeftModel.from_pretrained(by_hand(config.model), folder.adapter).eval()
    row = ROWS[0]
    pair = from_row(row, where="a row")
    ids = pair_ids(load_tokenizer(config.model), pair.prompt, pair.chosen, pair.rejected)
    (of_tokens,) = scorer.score_ids([(ids.prompt, ids.chosen)], folder.adapter)
    expected = plain_logps(model, load_tokenizer(config.model), row, "chosen")
    assert float(of_tokens.sum()) == pytest.approx(expected, abs=1e-3)


def test_it_is_merged_into_the_base_in_full(trained, tmp_path):
    folder, _ = trained
    folder.sign()
    merged = merge(folder, tmp_path / "merged", dtype="fp32")
    base = AutoModelForCausalLM.from_pretrained(folder.record().config.model, dtype=torch.float32)
    live = PeftModel.from_pretrained(base, folder.adapter).eval()
    plain = AutoModelForCausalLM.from_pretrained(merged.path, dtype=torch.float32).eval()
    with torch.no_grad():
        torch.testing.assert_close(plain(IDS).logits, live(IDS).logits, rtol=1e-4, atol=1e-4)


def test_a_reward_model_has_them_too():
    assert list(packed_experts(load_reward_base(saved("mixtral"), "nf4")))


@pytest.mark.parametrize("targets", [["q_proj", "down_proj"], ["gate_up_proj"]])
def test_an_adapter_on_experts_is_refused_in_words(targets, tmp_path):
    folder = make(tmp_path, model=saved("mixtral"), sample_tokens=0, target_modules=targets)
    with pytest.raises(
        WorkbenchError, match=f"{targets[-1]} may be of a mixture's experts, on which no adapter trains"
    ):
        work(folder)


def test_a_model_in_other_few_bits_is_refused_in_words(tmp_path):
    shutil.copytree(saved("gpt_oss"), tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quantization_config": {"quant_method": "mxfp4"}}))
    with pytest.raises(WorkbenchError, match="MXFP4") as told:
        load_base(str(tmp_path / "model"), "nf4", device="cpu")
    assert told.value.title == "The model is quantized already"
