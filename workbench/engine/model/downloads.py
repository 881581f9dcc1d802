"""Where a model and its tokenizer come from, what of them may run, and why they could not be had."""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import find_adapter_config_file

from workbench.engine.model.foreign_faults import fault_in, first_fault, whole_numbers
from workbench.engine.model.rendering import FALLBACK_TEMPLATE, text_ids
from workbench.errors import WorkbenchError
from workbench.files import json_in
from workbench.models import resolve
from workbench.runs.folder import ADAPTER_CONFIG
from workbench.trust import UNTRUSTED, Trust

_MODEL_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt"]
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_MODELS = (AutoModelForCausalLM, AutoModelForSequenceClassification)
_SETTINGS = {
    "config.json": AutoConfig,
    "tokenizer_config.json": AutoTokenizer,
    "special_tokens_map.json": AutoTokenizer,
    "generation_config.json": GenerationConfig,
}
"""The files with a model's settings, and what reads each."""
_SECONDS = 5.0
"""How long is looked for the setting that cannot be loaded."""
_OWN_CODE = ("contains custom code", "references custom code", "trust_remote_code")
"""How transformers says that a model would run Python that comes with it."""


def from_pretrained(kind: Any, source: str, trust: Trust = UNTRUSTED, **arguments: Any) -> Any:
    """`kind.from_pretrained(source)`, where nothing of `source` runs and no pickle is read unless `trust` says so.

    The only place that calls it of transformers: `kind` is one of its classes, `source` what `resolve` gave. A model
    has all its weights from its files, but for a head where `num_labels` asks for a new one.

    Raises `WorkbenchError` for code and pickles that are not trusted, for weights that are not those that config.json
    asks for, and for files that are damaged, with file and field; `OSError`, `ValueError`, `KeyError` and `ImportError`
    as transformers does, for `not_loaded` to say why.
    """
    if "gguf_file" not in arguments and (fault := first_fault(Path(source))):
        raise _damaged(source, fault)
    arguments = {**where_from(source), **arguments}
    if kind is not GenerationConfig:
        arguments["trust_remote_code"] = trust.trust_remote_code
    is_model = kind in _MODELS and "gguf_file" not in arguments
    try:
        if is_model:
            _check_weights(source, trust)
            arguments["use_safetensors"] = None if trust.allow_pickle else True
            arguments |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        loaded = kind.from_pretrained(source, **arguments)
    except (OSError, ValueError) as error:
        if any(words in str(error) for words in _OWN_CODE) and not trust.trust_remote_code:
            raise _brings_code(source) from error
        raise
    except (WorkbenchError, KeyError, ImportError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # tokenizers raises bare ones, JSON without end RecursionError, and so on
        raise not_loaded(source, error) from error
    if not is_model:
        return loaded
    model, told = loaded
    _check_complete(source, model, told, new_head="num_labels" in arguments)
    return model


def _check_weights(source: str, trust: Trust) -> None:
    """Raises `WorkbenchError` for a model with an adapter beside it, or in a folder that has no weights but pickles or
    weights that are no numbers."""
    if find_adapter_config_file(source, **where_from(source)) is not None:
        raise WorkbenchError(
            "An adapter lies beside the model",
            f"{source} has an {ADAPTER_CONFIG}: with it, another model would be loaded than config.json says.",
            "Name a folder with the base model alone, and the adapter in training: --set adapter=DIR.",
        )
    folder = Path(source)
    if not folder.is_dir():
        return
    files = sorted(folder.glob("*.safetensors"))
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles and not files and not trust.allow_pickle:
        raise _is_pickle(source, pickles[0])
    if "quantization_config" not in json_in((folder / "config.json").read_bytes()) and (fault := whole_numbers(files)):
        raise _damaged(source, fault)


def _check_complete(source: str, model: PreTrainedModel, told: Mapping[str, Any], *, new_head: bool) -> None:
    """Raises `WorkbenchError` where weights were made up, or left out: what the model says would be nobody's.

    `told` is what transformers says of the loading; `new_head`: what is no part of the model's body may be made up.
    """
    own = {name for name, _ in model.named_parameters()}
    body = f"{model.base_model_prefix}."
    wrong = [
        *(
            f"{name} has the shape {tuple(has)}; by config.json it is {tuple(asked)}"
            for name, has, asked in sorted(told["mismatched_keys"])
        ),
        *(
            f"{name} is missing"
            for name in sorted(told["missing_keys"])
            if name in own and (name.startswith(body) or not new_head)
        ),
        *(f"{name} has no place in it" for name in sorted(told["unexpected_keys"]) if _is_left_out(model, name)),
    ]
    if wrong:
        more = f", and so on for {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise WorkbenchError(
            "The weights are not those that config.json asks for",
            f"{source}: {wrong[0]}{more}.",
            "Copy or download the model again, config.json and weights from the same place.",
        )


def _is_left_out(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight that the model has no place for belongs to a layer that it has, or to one more of these.

    Others may be parts for images, or of heads that are not asked.
    """
    part: torch.nn.Module = model
    for step in name.split("."):
        inner = dict(part.named_children()).get(step)
        if inner is None:
            break
        part = inner
    if isinstance(part, torch.nn.ModuleList):  # some have layers after the last that foretell more tokens
        return not getattr(model.config.get_text_config(), "num_nextn_predict_layers", 0)
    return name.endswith((".weight", ".bias")) and not list(part.children())


def _brings_code(model: str) -> WorkbenchError:
    return WorkbenchError(
        "The model brings code of its own",
        f"{model} can be loaded only by Python files that come with it (auto_map in config.json or"
        " tokenizer_config.json). None of them was run.",
        "Use a model that transformers loads by itself; or read those files, and if you trust them, say so:"
        " --trust-remote-code, or in training --set trust_remote_code=true.",
    )


def _is_pickle(model: str, name: str) -> WorkbenchError:
    return WorkbenchError(
        "The weights are a pickle",
        f"{model} has no safetensors file; {name} is a pickle, a program of its maker, and was not read.",
        "Use a version with safetensors; or, if you trust its maker, say so: --allow-pickle, or in training"
        " --set allow_pickle=true.",
    )


def where_from(source: str) -> dict[str, Any]:
    """Arguments for `from_pretrained` that keep it from minutes of retries where there is no network.

    Raises `WorkbenchError` where that leaves nothing to load.
    """
    if Path(source).is_dir() or hub_reachable():
        return {}
    if not isinstance(try_to_load_from_cache(source, "config.json"), str):
        raise _unreachable(source)
    return {"local_files_only": True}


def fetched(model: str) -> bool:
    """Whether the cache has config and weights of a model on Hugging Face; they are downloaded where that can be."""
    if hub_reachable():
        try:
            snapshot_download(model, allow_patterns=_MODEL_FILES, ignore_patterns=["*/*"])
        except Exception as error:  # whatever a proxy or a mirror answers: then it is not to be had from there
            logging.getLogger(__name__).warning("%s: %s", model, first_line(error))
    return all(isinstance(try_to_load_from_cache(model, name), str) for name in ("config.json", "model.safetensors"))


def not_loaded(model: str, error: Exception) -> WorkbenchError:
    """Why `from_pretrained` failed, and what to do."""
    logging.getLogger(__name__).debug("loading %s", model, exc_info=error)
    if Path(model).is_dir() and (fault := fault_in(Path(model))):
        return _damaged(model, fault)
    causes = [error]
    while (deeper := causes[-1].__cause__ or causes[-1].__context__) is not None and len(causes) < 10:
        causes.append(deeper)  # type: ignore[arg-type]
    text = " ".join(str(cause) for cause in causes)
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return WorkbenchError(
            "The model needs your consent first",
            f"{model} is gated on Hugging Face.",
            "Accept its terms on its page, then log in on this machine: hf auth login",
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes) or "is not a valid model identifier" in text:
        return WorkbenchError(
            "No such model",
            f"{model} is neither a folder here nor a model on Hugging Face.",
            "Check the name; for a private model log in first: hf auth login",
        )
    if "connect" in text.lower() or "offline" in text.lower() or "couldn't find them in the cached files" in text:
        return _unreachable(model)
    if "The model is quantized with" in text and "you are passing" in text:
        return WorkbenchError(
            "The model is quantized already",
            f"{model} comes in another kind of few bits (MXFP4, GPTQ, AWQ, FP8 …), which does not train here.",
            "Use a version of it in 16 bits: quantization=nf4 makes 4 of them as it is loaded.",
        )
    if "Unrecognized configuration class" in text:
        return WorkbenchError(
            "Not a causal language model",
            f"{model} is of a kind that does not generate text.",
            "Choose a model that AutoModelForCausalLM can load.",
        )
    if Path(model).is_dir() and (fault := _culprit(Path(model))):
        return _damaged(model, fault)
    return WorkbenchError("The model could not be loaded", f"{model}: {first_line(error)}", "See the log for more.")


def first_line(error: Exception) -> str:
    """The first line of what it says, with the next where that is a heading; its name where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _culprit(folder: Path) -> str:
    """The setting without which a model's settings can be loaded, as "FILE: what is wrong"; empty where none is found.

    What libraries raise of a wrong one seldom names it. Looks for some seconds at most.
    """
    ends = time.monotonic() + _SECONDS
    for name, kind in _SETTINGS.items():
        if not (folder / name).is_file() or (error := _refusal(kind, folder)) is None:
            continue
        settings = json_in((folder / name).read_bytes())
        for setting in settings:
            if time.monotonic() > ends:
                return ""
            with tempfile.TemporaryDirectory(prefix="workbench-model-") as scratch:
                for path in folder.iterdir():
                    if path.name != name:
                        (Path(scratch) / path.name).symlink_to(path.absolute())
                rest = {key: value for key, value in settings.items() if key != setting}
                (Path(scratch) / name).write_text(json.dumps(rest), "utf-8")
                if _refusal(kind, Path(scratch)) is None:
                    return f"{folder / name}: {setting} is {settings[setting]!r:.60}: {first_line(error).rstrip('.')}"
    return ""


def _refusal(kind: Any, folder: Path) -> Exception | None:
    """What is raised where the settings in `folder` are used as far as they can be without weights."""
    own_code = {} if kind is GenerationConfig else {"trust_remote_code": False}
    try:
        loaded = kind.from_pretrained(str(folder), local_files_only=True, **own_code)
        if kind is AutoConfig:
            with torch.device("meta"):
                AutoModelForCausalLM.from_config(loaded, trust_remote_code=False)
        elif kind is AutoTokenizer:
            check_tokens(loaded, str(folder))
    except Exception as error:  # whatever the libraries make of a setting
        return error
    return None


@cache
def hub_reachable() -> bool:
    """Whether Hugging Face answers within seconds; a proxy is taken at its word."""
    if HF_HUB_OFFLINE:
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    try:
        with socket.create_connection((urlsplit(ENDPOINT).hostname or "", 443), timeout=5):
            return True
    except OSError:
        return False


def _damaged(model: str, fault: str) -> WorkbenchError:
    return WorkbenchError(
        "The model's files are damaged", f"{model} cannot be loaded. {fault}.", "Copy or download the model again."
    )


def _unreachable(model: str) -> WorkbenchError:
    return WorkbenchError(
        "The model is not on this machine, and Hugging Face cannot be reached",
        f"{model} is neither a folder here nor in the download cache.",
        "Copy the model here and give its folder, or use tiny.",
    )


def embedding_rows(model: str, trust: Trust = UNTRUSTED) -> int | None:
    """For how many token ids `model` has an embedding, by its config.json; None where that does not say."""
    source = resolve(model)
    try:
        config = from_pretrained(AutoConfig, source, trust).get_text_config()
    except (OSError, ValueError, KeyError, AttributeError, WorkbenchError):
        return None
    rows = getattr(config, "vocab_size", None)
    return rows if isinstance(rows, int) and rows > 0 else None


def load_tokenizer(model: str, chat_template: str = "", trust: Trust = UNTRUSTED) -> PreTrainedTokenizerBase:
    """The tokenizer of `model`, with a chat template (`chat_template`, else its own) and a pad token in any case.

    Raises `WorkbenchError` where there is no such model, or no network to get it.
    """
    source = resolve(model)
    try:
        tokenizer: PreTrainedTokenizerBase = from_pretrained(AutoTokenizer, source, trust)
    except (OSError, ValueError, KeyError) as error:
        raise not_loaded(model, error) from error
    try:
        check_tokens(tokenizer, model)
    except WorkbenchError as error:
        if fault := _culprit(Path(source)):
            raise _damaged(model, fault) from error
        raise
    if chat_template or not tokenizer.chat_template:
        tokenizer.chat_template = chat_template or FALLBACK_TEMPLATE
    if tokenizer.eos_token is None:
        raise WorkbenchError(
            "The model cannot stop",
            f"The tokenizer of {model} names no end-of-sequence token.",
            "Set eos_token in its tokenizer_config.json.",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_tokens(tokenizer: PreTrainedTokenizerBase, model: str) -> None:
    """Raises `WorkbenchError` for a tokenizer that makes no tokens of words."""
    ids = text_ids(tokenizer, "Hello, 1 world!", add_special_tokens=False)
    if not ids:
        raise WorkbenchError(
            "The tokenizer makes no tokens",
            f"Of 'Hello, 1 world!', the tokenizer of {model} keeps nothing.",
            "Copy or download the model again.",
        )
    tokenizer.decode(ids)
