"""What is wrong with a model's files, by file and field: for errors that libraries raise without naming either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
_MOST = {"num_hidden_layers": 10_000, "n_layer": 10_000, "num_labels": 1_000_000}
"""Counts by which a library builds objects one by one: it would be at it for minutes."""
_OF_WIDTH = ("vocab_size", "intermediate_size", "num_hidden_layers")
"""Of each there are as many rows of weights as it says, or more, each as wide as the model."""
_AT_ONCE = 2**28
"""How many weights may be asked for that no file holds: they are made up first, and refused then."""
_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation")
_INDEX = "model.safetensors.index.json"
_READ = (".json", ".jinja", ".safetensors", ".txt", ".model")
"""How the names of files end that are read of a model."""
_NUMBERS = ("F64", "F32", "F16", "BF16", "F8", "C64")
"""How safetensors names, or begins to name, what weights are held in; integers are of quantized models alone."""


def first_fault(folder: Path) -> str:
    """What is wrong with a model's files, config.json and the index, as "FILE: what is wrong"; empty where nothing is.

    Quick, for a look before anything is loaded: some of it would be found at the first prompt only, or read elsewhere,
    or never end.
    """
    if not folder.is_dir():
        return ""
    odd = next((fault for path in sorted(folder.iterdir()) if path.suffix in _READ for fault in odd_file(path)), "")
    quick = ("config.json", "generation_config.json", "tokenizer_config.json", _INDEX)
    return odd or next(filter(None, (_fault(folder, name) for name in quick)), "")


def odd_file(path: Path) -> Iterator[str]:
    """What is wrong with a file as such, as "FILE: what is wrong": it is none, or a link that leaves its folder.

    A file of a model may lie in the cache of Hugging Face, whose folders are links to `models--NAME/blobs`.
    """
    if path.is_dir():
        return
    if not path.is_file():
        yield f"{path}: is no file" if path.exists() else f"{path}: is a link to nothing"
        return
    target, home = path.resolve(), path.parent.resolve()
    of_cache = target.parent.name == "blobs" and target.parent.parent.name.startswith("models--")
    if path.is_symlink() and not target.is_relative_to(home) and not of_cache:
        yield f"{path}: is a link to {target}, which is not in the folder"


def whole_numbers(files: Sequence[Path]) -> str:
    """The first weight that is held in whole numbers or as true and false, as "FILE: what is wrong"; empty for none."""
    for path in files:
        with safe_open(path, framework="numpy") as weights:
            for name in weights.keys():  # noqa: SIM118 - no dict
                kind = weights.get_slice(name).get_dtype()
                if name.endswith(".weight") and not kind.startswith(_NUMBERS):
                    return f"{path}: {name} is held as {kind}, and config.json says of no quantization"
    return ""


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


def _in_config(config: Mapping[str, Any], folder: Path) -> Iterator[str]:
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
    for name, most in _MOST.items():
        value = shape.get(name)
        if isinstance(value, int | float) and value > most:
            yield f"{name} is {value!r:.60}, over {most:,}"
    for name in _KERNELS:
        if "/" in str(shape.get(name)) or "/" in str(config.get(name)):
            yield f"{name} names a kernel that would be downloaded and run"
    if config.get("return_dict", True) is not True:
        yield f"return_dict is {config['return_dict']!r:.60}, not true"
    room = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    for name in _OF_WIDTH if room and isinstance(shape.get("hidden_size"), int) else ():
        if shape.get(name) and shape[name] * shape["hidden_size"] > max(2 * room, _AT_ONCE):
            yield f"{name} is {shape[name]:,}: {room:,} bytes of weights do not hold as many"
    heads = shape.get("num_attention_heads") or shape.get("n_head")
    groups = shape.get("num_key_value_heads")
    if heads and groups and heads % groups:
        yield f"num_attention_heads is {heads}, which num_key_value_heads, {groups}, does not divide"


def _in_index(index: Mapping[str, Any], folder: Path) -> Iterator[str]:
    places = index.get("weight_map")
    if not isinstance(index.get("metadata", {}), dict):
        yield f"metadata is {index['metadata']!r:.60}, no object"
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


def _in_generation_config(settings: Mapping[str, Any], _: Path) -> Iterator[str]:
    stops = settings.get("eos_token_id")
    for stop in stops if isinstance(stops, list) else [stops]:
        if stop is not None and (type(stop) is not int or stop < 0):
            yield f"eos_token_id is {stops!r:.60}, no token's id"


def _in_tokenizer_config(settings: Mapping[str, Any], _: Path) -> Iterator[str]:
    longest = settings.get("model_max_length")
    if longest is not None and type(longest) not in (int, float):
        yield f"model_max_length is {longest!r:.60}, no number"


_FAULTS = {
    "config.json": _in_config,
    "generation_config.json": _in_generation_config,
    "tokenizer_config.json": _in_tokenizer_config,
    _INDEX: _in_index,
    "tokenizer.json": _in_tokenizer,
}
