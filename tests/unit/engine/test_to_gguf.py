"""GGUF files read back: every weight, every token, and what there is no conversion for."""

import builtins
import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path

import gguf
import pytest
import regex
import torch
from huggingface_hub import snapshot_download
from hypothesis import assume, example, given, settings, strategies
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.unit.engine.random_models import make
from tests.unit.engine.test_merge import model_for, run_for
from workbench.demo import weights
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.shipping.merge_adapter import merge
from workbench.engine.shipping.pre_tokenizers import ggml_name
from workbench.engine.shipping.to_gguf import check_architecture, convert
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


LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
BYTE_WORDS = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Digits(individual_digits=True)


def split(digits, words=LETTERS, behavior="isolated", **options):
    return pre_tokenizers.Split(Regex(words + digits + REST), behavior, **options)


def steps(*each):
    return pre_tokenizers.Sequence(list(each))


LLAMA_CPP = {
    "gpt-2": (BYTE_WORDS, [WORDS]),
    "smollm": (steps(DIGITS, BYTE_WORDS), [r"\p{N}", WORDS]),
    "llama-bpe": (steps(split(r"\p{N}{1,3}"), BYTES), [LETTERS + r"\p{N}{1,3}" + REST]),
    "smaug-bpe": (steps(split(r"\p{N}{1,3}"), BYTES), [LETTERS + r"\p{N}{1,3}" + REST]),
    "qwen2": (steps(split(r"\p{N}"), BYTES), [LETTERS + r"\p{N}" + REST]),
    "deepseek-coder": (
        steps(
            *(pre_tokenizers.Split(Regex(each), "isolated") for each in ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+")),
            pre_tokenizers.Split(Regex("[一-龥ࠀ-一가-퟿]+"), "isolated"),
            DIGITS,
            BYTES,
        ),
        ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
    ),
}
"""By llama.cpp's name: such a pre-tokenizer, and the patterns that llama.cpp applies one after another."""


def trained(folder, name):
    """A random Llama with a tokenizer that was trained after the pre-tokenizer of this name."""
    backend = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    backend.pre_tokenizer, backend.decoder = LLAMA_CPP[name][0], decoders.ByteLevel()
    texts = [str(number) + __doc__ + LETTERS + "Grüße, 你好。  12 345\n\n1. x" for number in range(50)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"initial_alphabet": alphabet, "special_tokens": ["<|end|>"], "show_progress": False}
    backend.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=600, **options))
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>").save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=backend.get_vocab_size(), num_key_value_heads=2, **sizes, eos_token_id=0)
    LlamaForCausalLM(config).save_pretrained(folder)
    convert(folder, folder / "model.gguf", "fp32", name=name, progress=lambda *_: None)
    return backend


def as_llama_cpp_does(fields, patterns):
    """Token ids by what is in the file alone: its pieces by the patterns, the merges by their rank."""
    ids = {token: number for number, token in enumerate(fields["tokenizer.ggml.tokens"])}
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(fields["tokenizer.ggml.merges"])}
    spelled = bytes_to_unicode()

    def pieces(text):
        found = [text]
        for pattern in patterns:
            found = [part for piece in found for part in regex.split(f"({pattern})", piece, flags=regex.V1) if part]
        return found

    def merged(piece):
        word = [spelled[byte] for byte in piece.encode()]
        while len(word) > 1:
            at = min(range(len(word) - 1), key=lambda at: ranks.get((word[at], word[at + 1]), math.inf))
            if (word[at], word[at + 1]) not in ranks:
                break
            word[at : at + 2] = [word[at] + word[at + 1]]
        return [ids[token] for token in word if token in ids]  # SmolLM2 has no token for some bytes

    return lambda text: [token for piece in pieces(text) for token in merged(piece)]


WILD = strategies.lists(
    strategies.one_of(
        strategies.sampled_from(
            [" ", "  ", "\n\n", "1. ", "12", "'LL", "'s", "it's", "你好", "٣", "½", "<|", "\r\n\t"]
        ),
        strategies.text(max_size=6),
    ),
    max_size=8,
).map("".join)


@pytest.mark.parametrize("name", ["smollm", *(pytest.param(name, marks=pytest.mark.slow) for name in LLAMA_CPP)])
def test_what_the_file_says_of_its_tokens_gives_the_same_ids_for_any_text(tmp_path, name):
    backend = trained(tmp_path, name)
    fields = read(tmp_path / "model.gguf").fields
    assert fields["tokenizer.ggml.pre"] == name
    ids = as_llama_cpp_does(fields, LLAMA_CPP[name][1])

    @settings(deadline=None, max_examples=150)
    @given(WILD)
    @example("Items:\n\n1. two  2\n\n 3")
    def alike(text):
        assume("<|end|>" not in text and not (name == "deepseek-coder" and "\u3000" in text))
        assert ids(text) == backend.encode(text).ids

    alike()
    # Without the pre-tokenizer's first step the ids are others: what is asked above can fail.
    if name == "smollm":
        assert as_llama_cpp_does(fields, [WORDS])("x  1") != backend.encode("x  1").ids


@pytest.mark.parametrize("name", ["llama-bpe", pytest.param("qwen2", marks=pytest.mark.slow)])
def test_transformers_reads_the_file_back_as_the_same_model(tmp_path, name):
    backend = trained(tmp_path, name)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    text = "It's 12345  and\n\n1. Grüße, 你好。"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert ids[0].tolist() == backend.encode(text).ids
    with torch.no_grad():
        ours, theirs = (
            AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, **options)(ids).logits
            for options in ({}, {"gguf_file": "model.gguf"})
        )
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)


def test_a_pre_tokenizer_is_known_as_it_is_described_or_not_at_all(tmp_path):
    make(tmp_path, "llama")
    backend = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))

    def told(*each, **model):
        backend.pre_tokenizer = each[0] if len(each) == 1 else steps(*each)
        document = json.loads(backend.to_str())
        document["model"] |= {"ignore_merges": False} | model
        return ggml_name(document)

    for name, (before, _) in LLAMA_CPP.items():
        assert told(before, ignore_merges=name == "llama-bpe") == name
    assert told(split(r"\p{N}"), BYTES, ignore_merges=True) is None
    assert told(DIGITS, BYTE_WORDS, ignore_merges=True) is None
    assert told(DIGITS, BYTE_WORDS, byte_fallback=True) is None
    assert told(pre_tokenizers.Digits(individual_digits=False), BYTE_WORDS) is None
    assert told(BYTE_WORDS, DIGITS) is None
    assert told(split(r"\p{N}{1,2}"), BYTES) is None
    assert told(split(r"\p{N}"), BYTE_WORDS) is None
    assert told(split(r"\p{N}", behavior="removed"), BYTES) is None
    assert told(split(r"\p{N}", invert=True), BYTES) is None
    assert told(pre_tokenizers.ByteLevel(add_prefix_space=True)) is None
    assert told(BYTES) is None
    assert told(pre_tokenizers.Whitespace()) is None


def test_an_unknown_tokenizer_is_told_as_it_is_described(tmp_path):
    make(tmp_path, "llama")
    backend = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    backend.pre_tokenizer = steps(pre_tokenizers.Split(Regex("[a-z]+"), "isolated"), BYTES)
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(WorkbenchError) as error:
        check_architecture(str(tmp_path), "run", tmp_path / "f.gguf", "bf16")
    assert "BPE after Split at [a-z]+, ByteLevel" in error.value.message
    assert "convert_hf_to_gguf.py" in error.value.hint


@pytest.mark.slow
def test_smollm2_is_written_with_its_own_tokenizer_and_gives_the_same_logits(tmp_path):
    try:
        folder = Path(weights.find("SmolLM2"))
    except WorkbenchError as error:
        pytest.skip(f"SmolLM2's weights cannot be had here: {error}")
    if not folder.is_dir():
        folder = Path(snapshot_download(str(folder), local_files_only=True))
    convert(folder, tmp_path / "model.gguf", "fp32", name="smol", progress=lambda *_: None)
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    said = {name: fields[f"tokenizer.ggml.{name}"].contents() for name in ("pre", "tokens", "merges")}
    assert said["pre"] == "smollm"
    ids = as_llama_cpp_does({f"tokenizer.ggml.{name}": value for name, value in said.items()}, LLAMA_CPP["smollm"][1])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert ids("Hello world! 123") == [19556, 905, 17, 216, 33, 34, 35]

    @settings(deadline=None, max_examples=100)
    @given(WILD)
    @example("Items:\n\n1. two  2\n\n 3")
    def alike(text):
        assert ids(text) == tokenizer(text, add_special_tokens=False)["input_ids"]

    alike()
    asked = torch.tensor([ids("The capital of France is")])
    with torch.no_grad():
        ours = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(asked).logits
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
        torch.testing.assert_close(theirs(asked).logits, ours, rtol=0, atol=1e-4)
