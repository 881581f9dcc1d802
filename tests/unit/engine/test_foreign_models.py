"""Models that come damaged, or were never right: an error that names file and field, whatever the libraries raise."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
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
