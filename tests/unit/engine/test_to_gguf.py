"""GGUF files read back: every weight, every token, and what there is no conversion for."""

import builtins
import json
import math
import shlex
from dataclasses import dataclass

import gguf
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig

from tests.unit.engine.random_models import make
from tests.unit.engine.test_merge import model_for, run_for
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.shipping.merge_adapter import merge
from workbench.engine.shipping.to_gguf import _splits, check_architecture, convert
from workbench.errors import WorkbenchError

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


@dataclass
class Read:
    """A GGUF file: its metadata, and its tensors as float32."""

    fields: dict
    tensors: dict
    kinds: dict


def read(path):
    found = gguf.GGUFReader(path)
    numbers = {each.name: gguf.quants.dequantize(each.data, each.tensor_type) for each in found.tensors}
    return Read(
        {name: field.contents() for name, field in found.fields.items()},
        {name: torch.tensor(array) for name, array in numbers.items()},
        {each.name: each.tensor_type.name for each in found.tensors},
    )


def named(name):
    """GGUF's name of a weight, by the table above."""
    for own, theirs in NAMES.items():
        if own in name:
            layer = f"blk.{name.split('.')[2]}." if ".layers." in name else ""
            return f"{layer}{theirs}.{name.rpartition('.')[2]}"
    raise AssertionError(name)


def turned(weight, heads):
    """Rows half a head apart beside each other, one by one."""
    size = len(weight) // heads
    rows = [
        head * size + half * (size // 2) + place
        for head in range(heads)
        for place in range(size // 2)
        for half in (0, 1)
    ]
    return weight[rows]


def converted(tmp_path, family, dtype, **options):
    model = model_for(tmp_path / "base", family, **options)
    folder = run_for(tmp_path / "runs", model, tmp_path / "base" / "adapter")
    merge(folder, tmp_path / "merged", dtype=dtype)
    told = merge(folder, tmp_path / "model.gguf", dtype=dtype, form="gguf")
    assert told.bytes == (tmp_path / "model.gguf").stat().st_size
    assert {path.name for path in tmp_path.iterdir()} == {"base", "runs", "merged", "model.gguf"}
    return tmp_path / "merged", read(tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("family", "dtype", "heads", "options"),
    [
        ("tiny", "bf16", (6, 6), {}),
        ("llama", "fp32", (4, 2), {"tied": True}),
        ("llama", "fp16", (4, 2), {}),
        ("qwen3", "fp32", None, {}),
    ],
)
def test_every_weight_is_there_to_the_bit(tmp_path, family, dtype, heads, options):
    merged, found = converted(tmp_path, family, dtype, **options)
    weights = load_file(merged / "model.safetensors")
    assert len(found.tensors) == len(weights)
    for name, weight in weights.items():
        if heads and "q_proj" in name:
            weight = turned(weight, heads[0])
        if heads and "k_proj" in name:
            weight = turned(weight, heads[1])
        torch.testing.assert_close(found.tensors[named(name)], weight.float(), rtol=0, atol=0)
        exact = weight.ndim == 1 or dtype == "fp32"
        assert found.kinds[named(name)] == ("F32" if exact else {"bf16": "BF16", "fp16": "F16"}[dtype])


def test_the_tokenizer_and_the_sizes_are_told(tmp_path):
    merged, found = converted(tmp_path, "tiny", "bf16")
    tokenizer = load_tokenizer("tiny")
    tokens = found.fields["tokenizer.ggml.tokens"]
    assert [tokenizer.convert_tokens_to_ids(token) for token in tokens] == list(range(1536))
    kinds = found.fields["tokenizer.ggml.token_type"]
    assert [kinds[place] for place in tokenizer.all_special_ids] == [gguf.TokenType.CONTROL] * 2
    assert kinds[100] == gguf.TokenType.NORMAL
    backend = json.loads((merged / "tokenizer.json").read_text())
    assert found.fields["tokenizer.ggml.merges"] == [" ".join(pair) for pair in backend["model"]["merges"]]
    assert found.fields["tokenizer.ggml.pre"] == "gpt-2"
    assert found.fields["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id
    assert found.fields["tokenizer.ggml.add_bos_token"] is False
    assert found.fields["tokenizer.ggml.add_eos_token"] is False
    assert found.fields["tokenizer.chat_template"] == tokenizer.chat_template
    assert found.fields["general.architecture"] == "llama"
    config = AutoModelForCausalLM.from_pretrained(merged).config
    for key, value in {
        "block_count": config.num_hidden_layers,
        "attention.head_count": config.num_attention_heads,
        "rope.freq_base": 10000.0,
        "context_length": config.max_position_embeddings,
        "attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
    }.items():
        assert found.fields[f"llama.{key}"] == value


def test_llama3s_scaling_of_positions_is_told(tmp_path):
    rope = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    make(tmp_path / "m", "llama")
    config = LlamaConfig.from_pretrained(tmp_path / "m")
    config.head_dim, config.rope_parameters = 16, rope | {"original_max_position_embeddings": 64}
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path / "m")
    convert(tmp_path / "m", tmp_path / "f.gguf", "fp32", name="x", progress=lambda *_: None)
    plain = 500.0 ** -(torch.arange(0, 16, 2) / 16)
    scaled = plain / read(tmp_path / "f.gguf").tensors["rope_freqs.weight"]
    torch.testing.assert_close(scaled, model.model.rotary_emb.inv_freq, rtol=1e-5, atol=0)
    assert (scaled != plain).any()
    assert math.isclose(scaled[0].item(), plain[0].item())


@pytest.mark.parametrize(("family", "reason"), [("gpt2", "GPT2LMHeadModel"), ("mistral", "looks back 12 tokens")])
def test_without_a_conversion_the_commands_are_told_before_anything_is_loaded(tmp_path, family, reason):
    model = model_for(tmp_path / "a base", family)
    folder = run_for(tmp_path / "runs", model, tmp_path / "a base" / "adapter")
    said = []
    with pytest.raises(WorkbenchError) as error:
        merge(folder, tmp_path / "my model.gguf", form="gguf", progress=lambda what, _: said.append(what))
    assert not said
    assert reason in error.value.message
    first, second = error.value.hint.splitlines()[-2:]
    merged = str(tmp_path / "my model")
    assert shlex.split(first) == ["workbench", "merge", folder.id, "--to", merged, "--dtype", "bf16"]
    assert shlex.split(second)[1:] == [
        *("llama.cpp/convert_hf_to_gguf.py", merged),
        *("--outfile", str(tmp_path / "my model.gguf"), "--outtype", "bf16"),
    ]


def test_without_the_package_the_way_to_get_it_is_told(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "gguf":
            raise ImportError("No module named 'gguf'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(WorkbenchError, match=r"alignment-workbench\[gguf\]"):
        check_architecture("tiny", "run", tmp_path / "f.gguf", "bf16")


def test_what_a_tokenizer_does_before_its_merges_is_known_or_refused(tmp_path):
    make(tmp_path, "llama")
    backend = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))

    def told(before, ignore_merges=False):
        backend.pre_tokenizer = before
        document = json.loads(backend.to_str())
        document["model"]["ignore_merges"] = ignore_merges
        return _splits(document)

    letters = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    rest = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    def split(digits):
        pattern = Regex(letters + digits + rest)
        return pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated"), plain])

    assert told(pre_tokenizers.ByteLevel(add_prefix_space=False)) == "gpt-2"
    assert told(split(r"\p{N}{1,3}"), ignore_merges=True) == "llama-bpe"
    assert told(split(r"\p{N}{1,3}")) == ""
    assert told(split(r"\p{N}"), ignore_merges=True) == ""
    assert told(split(r"\p{N}")) == "qwen2"
    assert told(split(r"\p{N}{1,2}")) == ""
    assert told(pre_tokenizers.ByteLevel(add_prefix_space=True)) == ""
    assert told(plain) == ""
    assert told(pre_tokenizers.Whitespace()) == ""
