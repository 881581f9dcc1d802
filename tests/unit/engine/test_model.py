"""Loading models: quantization, adapters, and what is said when it does not work."""

import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertModel

from workbench.engine.model import downloads, loading
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import attach_adapter, load_base, revision
from workbench.engine.model.rendering import FALLBACK_TEMPLATE
from workbench.engine.model.token_ids import stop_token_id, stop_token_ids
from workbench.errors import WorkbenchError
from workbench.models import resolve
from workbench.tiny import WEIGHTS

IDS = torch.arange(40, 72)[None]


def test_nf4_is_near_the_base_and_a_quarter_of_its_size():
    plain, nf4 = load_base("tiny", "none", device="cpu"), load_base("tiny", "nf4", device="cpu")
    layer = nf4.model.layers[0].mlp.up_proj
    assert layer.weight.quant_state.quant_type == "nf4"
    assert layer.weight.quant_state.nested
    assert layer.weight.nbytes * 8 == plain.model.layers[0].mlp.up_proj.weight.nbytes
    with torch.no_grad():
        one, other = (m(IDS).logits.log_softmax(-1) for m in (plain, nf4))
    drift = (one.exp() * (one - other)).sum(-1).mean()
    assert one.dtype == other.dtype == torch.float32
    assert 1e-6 < drift < 0.1


def test_int8_computes():
    with torch.no_grad():
        assert load_base("tiny", "int8", device="cpu")(IDS).logits.isfinite().all()


def test_gradients_are_right_after_a_forward_in_eval_mode():
    """bitsandbytes 0.50 on a CPU with AVX512-BF16 would lose them: see `_keep_exact`."""

    def gradient(*, evaluate_first):
        model = load_base("tiny", "nf4", device="cpu")
        if evaluate_first:
            with torch.no_grad():
                model(IDS)
        model.train()
        embedded = model.get_input_embeddings()(IDS).detach().requires_grad_()
        model(inputs_embeds=embedded, labels=IDS).loss.backward()
        return embedded.grad

    torch.testing.assert_close(gradient(evaluate_first=True), gradient(evaluate_first=False))


def test_adapters_are_attached_as_they_were_saved(tmp_path):
    torch.manual_seed(0)
    base = load_base("tiny", "nf4", device="cpu")
    for name in ("one", "two"):
        made = get_peft_model(load_base("tiny", "nf4", device="cpu"), LoraConfig(r=4, target_modules="all-linear"))
        for parameter in made.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter.data, std=0.05)
        made.save_pretrained(tmp_path / name)
    with torch.no_grad():
        alone = base(IDS).logits.clone()
        model = attach_adapter(base, tmp_path / "one", "one")
        assert model is attach_adapter(model, tmp_path / "two", "two")
        weights = [p for n, p in model.named_parameters() if "lora_" in n]
        assert len(weights) == 2 * 2 * 7 * 4
        assert {p.dtype for p in weights} == {torch.float32}
        shifted = {}
        for name in ("one", "two"):
            model.set_adapter(name)
            shifted[name] = model(IDS).logits.clone()
        with model.disable_adapter():
            torch.testing.assert_close(model(IDS).logits, alone)
        made.eval()
        torch.testing.assert_close(shifted["two"], made(IDS).logits)
    assert (shifted["one"] - shifted["two"]).abs().max() > 0.1
    assert not model.training


def test_an_adapter_for_another_model_is_refused(tmp_path):
    base = load_base("tiny", "none", device="cpu")
    with pytest.raises(WorkbenchError, match="adapter_config"):
        attach_adapter(base, tmp_path, "x")
    made = get_peft_model(load_base("tiny", "none", device="cpu"), LoraConfig(r=4, target_modules=["q_proj"]))
    made.save_pretrained(tmp_path)
    config = tmp_path / "adapter_config.json"
    config.write_text(config.read_text().replace('"q_proj"', '"no_such_layer"'))
    with pytest.raises(WorkbenchError, match="does not fit"):
        attach_adapter(base, tmp_path, "x")


def test_the_stop_token_is_the_one_that_closes_a_turn():
    tokenizer, model = load_tokenizer("tiny"), load_base("tiny", "none", device="cpu")
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert stop_token_id(tokenizer, model) == end
    assert stop_token_ids(tokenizer, model) == {end}
    tokenizer.eos_token = "<|pad|>"
    assert stop_token_id(tokenizer, model) == end  # the template's, as in Qwen's base models
    assert stop_token_ids(tokenizer, model) == {end, tokenizer.eos_token_id}
    tokenizer.chat_template = FALLBACK_TEMPLATE
    assert stop_token_id(tokenizer, model) == tokenizer.eos_token_id


def test_the_revision_tells_weights_apart(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(WEIGHTS, copy)
    assert revision(str(copy)) == revision("tiny")
    (copy / "README.md").write_text("x")
    assert revision(str(copy)) == revision("tiny")
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert revision(str(copy)) != revision("tiny")


def test_large_weights_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_WHOLE", 0)
    monkeypatch.setattr(loading, "_SAMPLE", 64)
    (tmp_path / "config.json").write_text("{}")
    weights = bytearray(100_000)
    seen = set()
    for place in (None, 0, 50_000, 99_999):
        if place is not None:
            weights[place] = 1
        (tmp_path / "model.safetensors").write_bytes(weights)
        seen.add(revision(str(tmp_path)))
    assert len(seen) >= 3  # begin and end always count


def test_a_tokenizer_without_template_gets_the_fallback(tmp_path):
    shutil.copytree(WEIGHTS, tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").unlink()
    config = tmp_path / "m" / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"pad_token": "<|pad|>",', ""))
    tokenizer = load_tokenizer(str(tmp_path / "m"))
    assert tokenizer.chat_template == FALLBACK_TEMPLATE
    assert tokenizer.pad_token == tokenizer.eos_token
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "User: Hi\nAssistant:"


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/nowhere-at-all", "a/b/c"])
def test_a_missing_folder_is_told(name):
    with pytest.raises(WorkbenchError, match="No such model"):
        resolve(name)


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(WorkbenchError, match=r"config\.json"):
        load_base(str(tmp_path), "none")


def test_a_model_that_generates_nothing_is_told(tmp_path):
    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=20)).save_pretrained(
        tmp_path
    )
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"bert"', '"clip"'))
    with pytest.raises(WorkbenchError, match="Not a causal language model"):
        load_base(str(tmp_path), "none")


def test_without_network_an_unknown_model_is_told_at_once(monkeypatch):
    monkeypatch.setattr(downloads, "hub_reachable", lambda: False)
    with pytest.raises(WorkbenchError, match="cannot be reached"):
        load_tokenizer("org/never-downloaded")
