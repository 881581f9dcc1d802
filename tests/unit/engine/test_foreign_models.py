"""Models that come damaged, or were never right: an error that names file and field, whatever the libraries raise."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from workbench.engine.model.downloads import from_pretrained, load_tokenizer
from workbench.engine.model.loading import load_base, load_reward_base
from workbench.errors import WorkbenchError
from workbench.tiny import WEIGHTS

DEEP = "[" * 100_000 + "]" * 100_000


def setting(name: str, value: Any, file: str = "config.json") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        document = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**document, name: value}))

    return change


def content(file: str, text: str | bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / file).write_bytes(text.encode() if isinstance(text, str) else text)

    return change


def loop(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("tokenizer.json")


def absent_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def outside(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "x.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "../x.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def truncated(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def huge_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")


def weights(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        file = folder / "model.safetensors"
        save_file(change(load_file(file)), file, {"format": "pt"})

    return rewrite


def fifo(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def link_out(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(f"../{name}")

    return change


def linked_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "x.safetensors")
    (folder / "model-1.safetensors").symlink_to("../x.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


DOWN, NORM = "model.layers.1.mlp.down_proj.weight", "model.norm.weight"
GENERATION, TOKENIZER = "generation_config.json", "tokenizer_config.json"
CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a list": (content("config.json", "[1, 2]"), "config.json: is no JSON object"),
    "null": (content("config.json", "null"), "config.json: is no JSON object"),
    "a text": (content("config.json", '"x"'), "config.json: is no JSON object"),
    "deep": (content("config.json", DEEP), "config.json: is nested too deeply"),
    "deep inside": (content("config.json", '{"model_type": "llama", "x": ' + DEEP + "}"), "config.json: is nested"),
    "no UTF-8": (content("config.json", b"\xff\xfe\x00"), "config.json: is not UTF-8"),
    "no heads": (setting("num_attention_heads", 0), "num_attention_heads is 0"),
    "heads of text": (setting("num_attention_heads", "abc"), "num_attention_heads is 'abc'"),
    "half a head": (setting("num_attention_heads", 1.5), "num_attention_heads is 1.5"),
    "no width": (setting("hidden_size", []), "hidden_size is []"),
    "groups": (setting("num_key_value_heads", 7), "num_key_value_heads, 7, does not divide"),
    "a huge vocabulary": (setting("vocab_size", 10**30), "vocab_size is 1000"),
    "a model type of a number": (setting("model_type", 5), "model_type is 5"),
    "an inner text": (setting("text_config", "x"), "text_config is 'x'"),
    "tokenizer of nothing": (content("tokenizer.json", "{}"), "tokenizer"),
    "tokenizer of a list": (content("tokenizer.json", "[]"), "tokenizer.json: is no JSON object"),
    "deep tokenizer": (content("tokenizer.json", DEEP), "tokenizer.json: is nested too deeply"),
    "tokenizer of another kind": (setting("model", {"type": "Nope"}, "tokenizer.json"), "tokenizer"),
    "tokenizer settings": (content("tokenizer_config.json", "[]"), "tokenizer_config.json: is no JSON object"),
    "a loop": (loop, "tokenizer.json"),
    "an absent shard": (absent_shard, "model-00001-of-00002.safetensors"),
    "a shard elsewhere": (outside, "x.safetensors"),
    "half the weights": (truncated, "model.safetensors"),
    "a header without end": (huge_header, "model.safetensors"),
    "a pickle by another name": (content("model.safetensors", pickle.dumps({"a": 1})), "model.safetensors"),
    "no weights": (content("model.safetensors", b""), "model.safetensors"),
    "a weight is missing": (
        weights(lambda all_: {name: one for name, one in all_.items() if name != DOWN}),
        f"{DOWN} is missing",
    ),
    "all weights of another name": (
        weights(lambda all_: {f"x.{name}": all_[name] for name in all_}),
        "is missing, and",
    ),
    "a layer more than there is": (setting("num_hidden_layers", 5), "model.layers.4."),
    "a layer fewer than there is": (setting("num_hidden_layers", 3), "model.layers.3."),
    "another kind of model": (setting("model_type", "gpt2"), "is missing, and so on"),
    "a bias without a place": (
        weights(lambda all_: all_ | {DOWN.replace("weight", "bias"): torch.zeros(192)}),
        "down_proj.bias has no place",
    ),
    "another shape": (
        weights(lambda all_: all_ | {NORM: torch.zeros(7)}),
        f"{NORM} has the shape (7,); by",
    ),
    "a smaller vocabulary": (setting("vocab_size", 1000), "embed_tokens.weight has the shape (1536, 192)"),
    "a width for a terabyte": (setting("intermediate_size", 2**30), "intermediate_size is 1,073,741,824"),
    "a million layers": (setting("num_hidden_layers", 10**6), "num_hidden_layers is 1000000, over 10,000"),
    "whole numbers": (
        weights(lambda all_: {name: one.to(torch.int32) for name, one in all_.items()}),
        "is held as I32, and config.json says of no quantization",
    ),
    "NaN": (weights(lambda all_: all_ | {NORM: all_[NORM] * torch.nan}), f"{NORM} has values that are NaN"),
    "4 bits that are none": (
        setting("quantization_config", {"quant_method": "bitsandbytes", "load_in_4bit": True}),
        "quantization_config says that model.layers.0.self_attn.q_proj.weight",
    ),
    "tuples": (setting("return_dict", None), "return_dict is None"),
    "a kernel to download": (setting("_attn_implementation", "some/kernel"), "_attn_implementation names a kernel"),
    "an adapter beside it": (content("adapter_config.json", '{"r": "abc"}'), "adapter_config.json"),
    "a rate of text": (setting("attention_dropout", "x"), "config.json: attention_dropout is 'x': "),
    "an activation that is none": (setting("hidden_act", "nope"), "config.json: hidden_act is 'nope': "),
    "rotations of a list": (setting("rope_parameters", [1]), "config.json: rope_parameters is [1]: "),
    "a dtype that is none": (setting("dtype", "float99"), "config.json: dtype is 'float99': "),
    "a stop of text": (setting("eos_token_id", "x", GENERATION), "generation_config.json: eos_token_id is 'x'"),
    "a cache that is none": (setting("cache_implementation", "x", GENERATION), "cache_implementation is 'x': "),
    "a length of text": (setting("model_max_length", "x", TOKENIZER), "model_max_length is 'x', no number"),
    "a class of a number": (setting("tokenizer_class", 5, TOKENIZER), "config.json: tokenizer_class is 5: "),
    "a side that is none": (setting("padding_side", "up", TOKENIZER), "padding_side is 'up': "),
    "a tokenizer that keeps nothing": (
        setting("normalizer", {"type": "Replace", "pattern": {"Regex": "."}, "content": ""}, "tokenizer.json"),
        "makes no tokens",
    ),
    "a pipe for settings": (fifo("generation_config.json"), "generation_config.json: is no file"),
    "a pipe for weights": (fifo("model.safetensors"), "model.safetensors: is no file"),
    "a pipe for an index": (fifo("model.safetensors.index.json"), "index.json: is no file"),
    "a link out for weights": (link_out("model.safetensors"), "which is not in the folder"),
    "a link out for a template": (link_out("chat_template.jinja"), "chat_template.jinja: is a link to"),
    "a shard that is a link out": (linked_shard, "model-1.safetensors: is a link to"),
    "a generation config of a list": (content("generation_config.json", "[]"), "generation_config.json"),
}


def load_both(model: str) -> None:
    load_tokenizer(model)
    load_base(model, "none", device="cpu")


@pytest.mark.parametrize("case", CASES)
def test_what_a_foreign_model_provokes_names_its_file(case: str, tmp_path: Path) -> None:
    damage, words = CASES[case]
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS, folder)
    damage(folder)
    with pytest.raises(WorkbenchError) as caught:
        load_both(str(folder))
    assert words in str(caught.value), str(caught.value)


def test_a_snapshot_in_the_cache_of_the_hub_is_loaded(tmp_path: Path) -> None:
    """Its files are links to where the cache keeps all: `models--ORG--NAME/blobs`."""
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0a1b2c"
    shutil.copytree(WEIGHTS, snapshot)
    blobs = tmp_path / "models--org--name" / "blobs"
    blobs.mkdir()
    for path in list(snapshot.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(f"../../blobs/{path.name}")
    load_both(str(snapshot))
    (tmp_path / "linked").symlink_to(snapshot)
    load_both(str(tmp_path / "linked"))


def test_a_new_head_is_the_only_weight_that_may_be_made_up(tmp_path: Path) -> None:
    load_reward_base("tiny", "none")
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS, folder)
    weights(lambda all_: {name: one for name, one in all_.items() if name != DOWN})(folder)
    with pytest.raises(WorkbenchError, match=r"down_proj\.weight is missing"):
        load_reward_base(str(folder), "none")
    with pytest.raises(WorkbenchError, match=r"score\.weight is missing"):
        from_pretrained(AutoModelForSequenceClassification, str(WEIGHTS))
