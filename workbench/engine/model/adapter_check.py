"""Whether an adapter that came from elsewhere is one that may be loaded: its settings and the sizes of its weights.

PEFT believes adapter_config.json. It imports a module that the file names, allocates what the file asks for, changes
the base's own weights where the file says that they are part of the start, and reads layers' names as patterns. So the
file is looked at first: LoRA in its plain forms passes, with weights that fit the base; everything else is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from workbench.engine.model.foreign_faults import odd_file
from workbench.errors import WorkbenchError
from workbench.files import json_in
from workbench.runs.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS

_SCORES = "SEQ_CLS"
"""The `task_type` of a reward model."""

Shape = tuple[int, ...]
Layers = Mapping[str, Shape]
"""By a layer's name in the base, its sizes: (out, in) of a linear layer, (number, width) of an embedding."""

_NUMBERS = ("F64", "F32", "F16", "BF16")
"""What the weights may be held in, as safetensors names it."""
_LARGEST_RANK = 1024
_PREFIX = "base_model.model."
_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_PART = re.compile(r"\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)(\.weight|\.bias)?$")


def check_adapter(folder: Path, layers: Layers, *, scores: bool = False) -> None:
    """Raises `WorkbenchError`, with file and field, where the adapter may not be loaded on a base with these layers.

    `scores`: whether it may be a reward model's.
    """
    file, weights = folder / ADAPTER_CONFIG, folder / ADAPTER_WEIGHTS
    if odd := next((fault for path in (file, weights) for fault in odd_file(path)), ""):
        raise WorkbenchError("The adapter cannot be used here", f"{odd}.", "Copy the adapter here again.")
    try:
        settings = json_in(file.read_bytes())
        if not isinstance(settings, dict):
            raise TypeError(f"it is {_shown(settings)}, not an object")
    except (OSError, ValueError, TypeError) as error:
        raise WorkbenchError(
            "The adapter's settings cannot be read", f"{file}: {error}.", "Copy the adapter here again."
        ) from error
    for field, wrong in wrong_settings(settings):
        raise WorkbenchError(
            "The adapter cannot be used here",
            f"{file}: {field} {wrong}.",
            "Only plain LoRA is loaded: of known kind and size, without code or patterns.",
            fields={field: wrong},
        )
    if settings.get("task_type") == _SCORES and not scores:
        raise WorkbenchError(
            "That is a reward model", f"{folder} scores answers and gives none.", "Name a run of another method."
        )
    for name, wrong in wrong_weights(settings, _shapes(weights), layers):
        raise WorkbenchError(
            "The adapter does not fit the model",
            f"{weights}: {name} {wrong}.",
            "Give the model that the run was trained on: its run.toml names it.",
            fields={name: wrong},
        )


def wrong_settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The fields of an adapter_config.json that may not be as they are, each with what is wrong, in words after it."""
    if "peft_type" not in settings:
        yield "peft_type", "is missing"
    for field, value in settings.items():
        test, expected = _FIELDS.get(field, (_unset, "is not known here, and is set"))
        if not test(value):
            yield field, f"{expected}: {_shown(value)}" if field in _FIELDS else expected


def wrong_weights(
    settings: Mapping[str, Any], weights: Mapping[str, Shape], layers: Layers
) -> Iterator[tuple[str, str]]:
    """The weights that do not fit: of no layer of the base, of other sizes than the layer has, or half of a pair."""
    saved, targets = (tuple(settings.get(field) or ()) for field in ("modules_to_save", "target_modules"))
    parts: dict[str, set[str]] = {}
    for name, shape in weights.items():
        if not name.startswith(_PREFIX):
            yield name, f"is not named as weights of an adapter are ({_PREFIX}…)"
            continue
        if (found := _PART.search(name)) is None:
            layer = name.removeprefix(_PREFIX).rpartition(".")[0].removesuffix(".base_layer")
            if layer not in layers:
                yield name, "belongs to no layer of the model"
            elif not _ends_with_any(layer, saved):
                yield name, "is a weight of the base, which loading it would replace"
            elif name.endswith(".weight") and shape != layers[layer]:
                yield name, f"has the shape {shape}; the layer has {layers[layer]}"
            continue
        layer, part = name[len(_PREFIX) : found.start()], found[1]
        if layer not in layers:
            yield name, "belongs to no layer of the model"
            continue
        if not _ends_with_any(layer, targets):
            yield name, "is of a layer that target_modules does not name"
            continue
        parts.setdefault(layer, set()).add(part)
        rank, (large, small) = _rank(settings, layer), layers[layer]
        expected = {
            "A": (rank, small),
            "B": (large,) if found[2] == ".bias" else (large, rank),
            "embedding_A": (rank, large),
            "embedding_B": (small, rank),
        }.get(part, (large,))
        if shape != expected:
            yield name, f"has the shape {shape}; with r = {rank} on this model it is {expected}"
    for layer, found_parts in parts.items():
        for one, other in (("A", "B"), ("embedding_A", "embedding_B")):
            if (one in found_parts) != (other in found_parts):
                missing = other if one in found_parts else one
                yield f"{_PREFIX}{layer}.lora_{missing}", "is missing"
    limited = any(settings.get(field) for field in ("exclude_modules", "layers_to_transform"))
    for layer in layers if not limited else ():
        if _ends_with_any(layer, targets) and layer not in parts:
            yield f"{_PREFIX}{layer}.lora_A.weight", "is missing, though target_modules names the layer"


def _rank(settings: Mapping[str, Any], layer: str) -> int:
    """The rank of one layer: its own by rank_pattern, whose names are names here, else r."""
    own: Mapping[str, int] = settings.get("rank_pattern") or {}
    return next((rank for name, rank in own.items() if _ends_with_any(layer, (name,))), int(settings.get("r", 8)))


def _ends_with_any(layer: str, names: tuple[str, ...]) -> bool:
    return any(layer == name or layer.endswith(f".{name}") for name in names)


def _shapes(file: Path) -> dict[str, Shape]:
    """The shapes of the weights by name. Only the file's head is read. Raises `WorkbenchError`."""
    try:
        with safe_open(file, framework="numpy") as weights:
            parts = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118 - no dict
            odd = next((name for name, part in parts.items() if part.get_dtype() not in _NUMBERS), None)
            if odd is not None:
                raise ValueError(f"{odd} is held as {parts[odd].get_dtype()}, which no adapter is trained in")
            return {name: tuple(part.get_shape()) for name, part in parts.items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise WorkbenchError(
            "The adapter's weights cannot be read", f"{file}: {error}.", "Copy the adapter here again."
        ) from error


def _shown(value: object) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _unset(value: object) -> bool:
    return value is None or value is False or value in ({}, [], "")


def _whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(float(value)) and 0 < float(value) <= 1e6  # type: ignore[arg-type]


def _share(value: object) -> bool:
    return type(value) in (int, float) and 0 <= float(value) < 1  # type: ignore[arg-type]


def _of_transformers(value: object) -> bool:
    """Whether the class that PEFT noted as the base's is one of transformers; nothing here looks it up."""
    return value is None or (
        isinstance(value, dict)
        and all(isinstance(text, str) for text in value.values())
        and value.get("parent_library", "transformers").partition(".")[0] == "transformers"
    )


def _names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and _NAME.fullmatch(name) for name in value)


def _by_name(value: object, test: Callable[[object], bool]) -> bool:
    return isinstance(value, dict) and _names(list(value)) and all(map(test, value.values()))


def _rank_fits(value: object) -> bool:
    return _whole(value, 1, _LARGEST_RANK)


def _flag(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _layer_numbers(value: object) -> bool:
    numbers = value if isinstance(value, list) else [] if value is None else [value]
    return all(_whole(number, 0, 100_000) for number in numbers)


_RANK = f"is not a whole number from 1 to {_LARGEST_RANK}"
_NOT_NAMES = "is not a list of layers' names (patterns are not run)"
_FIELDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "peft_type": (lambda value: value == "LORA", "is not LORA"),
    "task_type": (lambda value: value in (None, "CAUSAL_LM", _SCORES), f"is neither CAUSAL_LM nor {_SCORES}"),
    "r": (_rank_fits, _RANK),
    "rank_pattern": (lambda value: _by_name(value, _rank_fits), f"has a name or rank that {_RANK}"),
    "lora_alpha": (_number, "is not a number above 0"),
    "alpha_pattern": (lambda value: _by_name(value, _number), "has a name or number that is none"),
    "target_modules": (lambda value: _names(value) and value != [], _NOT_NAMES),
    "exclude_modules": (lambda value: value is None or _names(value), _NOT_NAMES),
    "modules_to_save": (lambda value: value is None or _names(value), _NOT_NAMES),
    "layers_to_transform": (_layer_numbers, "is not a list of layers' numbers"),
    "layers_pattern": (
        lambda value: _unset(value) or _names(value if isinstance(value, list) else [value]),
        _NOT_NAMES,
    ),
    "lora_dropout": (_share, "is not a share"),
    "bias": (lambda value: value == "none", "would change the base's own weights"),
    "init_lora_weights": (
        lambda value: isinstance(value, bool) or value in ("gaussian", "orthogonal"),
        "would change the base's own weights",
    ),
    **dict.fromkeys(
        ("use_rslora", "use_dora", "fan_in_fan_out", "inference_mode", "lora_bias", "ensure_weight_tying"),
        (_flag, "is neither true nor false"),
    ),
    **dict.fromkeys(("base_model_name_or_path", "revision", "peft_version"), (_text, "is not a text")),
    "megatron_core": (lambda value: value in (None, "", "megatron.core"), "names a module to import"),
    "auto_mapping": (_of_transformers, "names a module to import"),
    "megatron_config": (_unset, "would import a module"),
    "runtime_config": (_unset, "is for the time of training, and is set"),
    "layer_replication": (_unset, "would change the base's layers"),
    "qalora_group_size": (lambda value: value is None or _whole(value, 1, 1 << 20), "is not a whole number"),
}
"""What each field may be, and what is wrong where it is not that. A field of any other name has to be unset."""
