"""What is wrong with a model's files, by file and field: for errors that libraries raise without naming either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from workbench.files import json_in

_OBJECTS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "model.safetensors.index.json",
)
_COUNTS = (
    "hidden_size", "n_embd", "d_model", "num_attention_heads", "n_head", "num_hidden_layers", "n_layer", "vocab_size",
    "intermediate_size", "num_key_value_heads", "head_dim", "max_position_embeddings",
)  # fmt: skip
_INDEX = "model.safetensors.index.json"


def first_fault(folder: Path) -> str:
    """What is wrong with config.json or the index of the weights, as "FILE: what is wrong"; empty where nothing is.

    Quick, for a look before anything is loaded: some of it would be found at the first prompt only, or read elsewhere.
    """
    return _fault(folder, "config.json") or _fault(folder, _INDEX)


def fault_in(folder: Path) -> str:
    """The first fault that can be found in a model's folder, as `first_fault`; for when loading it has failed."""
    for name in _OBJECTS:
        if fault := _fault(folder, name):
            return fault
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (OSError, ValueError, SafetensorError) as error:
            return f"{path}: {error}"
    config = json_in((folder / "config.json").read_bytes()) if (folder / "config.json").is_file() else {}
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    if heads and width and not config.get("head_dim") and width % heads:
        return f"{folder / 'config.json'}: hidden_size is {width}, which num_attention_heads, {heads}, does not divide"
    return ""


def _fault(folder: Path, name: str) -> str:
    path = folder / name
    if not path.is_symlink() and not path.exists():
        return ""
    try:
        document = json_in(path.read_bytes())
    except (OSError, ValueError) as error:
        return f"{path}: {error}"
    if not isinstance(document, dict):
        return f"{path}: is no JSON object"
    fault = next(_FAULTS[name](document, folder), "") if name in _FAULTS else ""
    return f"{path}: {fault}" if fault else ""


def _in_config(config: Mapping[str, Any], _: Path) -> Iterator[str]:
    for name, kind in (("model_type", str), ("architectures", list)):
        if name in config and not isinstance(config[name], kind):
            yield f"{name} is {config[name]!r:.60}"
    inner = config.get("text_config")
    if inner is not None and not isinstance(inner, dict):
        yield f"text_config is {inner!r:.60}, no object"
    shape = inner if isinstance(inner, dict) else config
    for name in _COUNTS:
        value = shape.get(name)
        if value is not None and (type(value) is not int or not 0 < value < 2**31):
            yield f"{name} is {value!r:.60}, not a whole number above 0"
    heads = shape.get("num_attention_heads") or shape.get("n_head")
    groups = shape.get("num_key_value_heads")
    if heads and groups and heads % groups:
        yield f"num_attention_heads is {heads}, which num_key_value_heads, {groups}, does not divide"


def _in_index(index: Mapping[str, Any], folder: Path) -> Iterator[str]:
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        yield "weight_map does not say which file has which weight"
        return
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            yield f"weight_map names {name!r:.60}, which is not in the model's folder"
        elif not (folder / name).is_file():
            yield f"weight_map names {name!r:.60}, which is not there"


def _in_tokenizer(_: Mapping[str, Any], folder: Path) -> Iterator[str]:
    try:
        Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises no other
        yield str(error)


_FAULTS = {"config.json": _in_config, _INDEX: _in_index, "tokenizer.json": _in_tokenizer}
