"""Loads base models and adapters: the one place that decides quantization, dtype, attention and device."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Int8Params, Linear4bit, Params4bit
from peft import PeftModel
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    PreTrainedModel,
)
from transformers.utils import is_flash_attn_2_available

from workbench.config import Attention, Quantization
from workbench.engine.model.adapter_check import Shape, check_adapter
from workbench.engine.model.downloads import first_line, from_pretrained, not_loaded
from workbench.engine.model.experts import experts_in_4bit, packed_experts
from workbench.errors import WorkbenchError
from workbench.models import resolve
from workbench.runs.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_adapter
from workbench.trust import UNTRUSTED, Trust

HEAD = "score"
"""What transformers calls the layer that gives a sequence its score."""

_BFLOAT16 = (8, 0)
"""The compute capability from which on a GPU has bfloat16."""
_WHOLE = 64 * 1024**2
"""Files up to this size are hashed whole; of larger ones, samples are."""
_NOT_QUANTIZED = ["lm_head", HEAD]
_SAMPLE, _SAMPLES = 64 * 1024, 64


def compute_device(device: str | None = None) -> torch.device:
    """`device`, or this process's CUDA device (the first, where no launcher says another), or the CPU."""
    if device is None and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device(device or "cpu")


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA; float32 on the CPU, which is slow at anything less."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def check_capability(device: torch.device) -> None:
    """Raises `WorkbenchError` for a GPU that has no bfloat16: torch says that it has, and computes it in software."""
    if device.type == "cuda" and (capability := torch.cuda.get_device_capability(device)) < _BFLOAT16:
        name = torch.cuda.get_device_name(device)
        raise WorkbenchError(
            "This GPU is too old",
            f"{name} has compute capability {capability[0]}.{capability[1]}; bfloat16 needs 8.0 (A100, RTX 30).",
            "Use another GPU (CUDA_VISIBLE_DEVICES=1), or the CPU, for small models: CUDA_VISIBLE_DEVICES=-1",
        )


def device_name() -> str:
    """The GPU's name, or the CPU with its threads."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def peak_memory() -> int:
    """Bytes, the most so far: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def load_base(
    model: str,
    quantization: Quantization,
    attention: Attention = "auto",
    device: str | None = None,
    dtype: torch.dtype | None = None,
    trust: Trust = UNTRUSTED,
) -> PreTrainedModel:
    """The base model in eval mode on one device (default: the first CUDA device, else the CPU).

    `dtype` is that of what is not quantized; by default the one that the device computes in.

    Raises `WorkbenchError` where there is no such model, no network, not enough memory, or it is no causal LM.
    """
    return _load(AutoModelForCausalLM, model, quantization, attention, device, dtype, trust)


def load_reward_base(
    model: str, quantization: Quantization, attention: Attention = "auto", trust: Trust = UNTRUSTED
) -> PreTrainedModel:
    """As `load_base`, but with a `HEAD` of one number, drawn at random and never quantized, for an output layer."""
    loaded = _load(AutoModelForSequenceClassification, model, quantization, attention, None, None, trust, num_labels=1)
    if not isinstance(getattr(loaded, HEAD, None), torch.nn.Module):
        raise WorkbenchError(
            "This model cannot become a reward model",
            f"{model} has no layer named {HEAD!r}.",
            "Choose one of another family: Llama, Qwen, Mistral, Gemma, Phi and GPT-2 have it.",
        )
    return loaded


def _load(
    kind: Any,
    model: str,
    quantization: Quantization,
    attention: Attention,
    device: str | None,
    dtype: torch.dtype | None,
    trust: Trust,
    **more: Any,
) -> PreTrainedModel:
    source, target = resolve(model), compute_device(device)
    check_capability(target)
    dtype = dtype or compute_dtype(target)
    arguments: dict[str, Any] = {"dtype": dtype, "device_map": {"": target}, **more}
    if quantization != "none":
        arguments["quantization_config"] = _quantized(quantization, dtype)
    kernel = _kernel(attention, target)
    if kernel is not None:
        arguments["attn_implementation"] = kernel
    try:
        with experts_in_4bit():
            loaded: PreTrainedModel = from_pretrained(kind, source, trust, **arguments)
    except torch.OutOfMemoryError as error:
        raise WorkbenchError(
            "Not enough memory for the model",
            f"{model} with quantization = {quantization!r} does not fit on {target}.",
            "Use quantization=nf4, a smaller model, or end what else uses the device.",
        ) from error
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise not_loaded(model, error) from error
    _check_quantized(loaded, model)
    if dtype is not torch.float16:  # into which numbers of the file may not fit, which whoever asks for it tells
        _check_numbers(loaded, model)
    _keep_exact(loaded)
    loaded.eval()
    return loaded


def attach_adapter(
    model: PreTrainedModel | PeftModel, folder: Path, name: str, *, trains: bool = False, scores: bool = False
) -> PeftModel:
    """`model` with the adapter in `folder` under `name`, in float32 and eval mode; the first call wraps the base.

    `trains`: its weights can be changed, else they are frozen. `scores`: it is a reward model's, with its `HEAD`.

    Raises `WorkbenchError` where the folder holds no adapter, one for another model, one that is not safe to load, or
    one whose training diverged.
    """
    if not is_adapter(folder):
        raise WorkbenchError(
            "No adapter there",
            f"{folder} has no {ADAPTER_CONFIG} or no {ADAPTER_WEIGHTS}.",
            "The run has saved none yet: wait for it to finish, or stop it.",
        )
    check_adapter(folder, layer_sizes(model), scores=scores)
    try:
        _check_finite(folder / ADAPTER_WEIGHTS)
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), adapter_name=name, is_trainable=trains)
        else:
            model = PeftModel.from_pretrained(model, str(folder), adapter_name=name, is_trainable=trains)
    except (WorkbenchError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever PEFT and safetensors make of what is in the folder
        raise WorkbenchError(
            "The adapter does not fit the model",
            f"{folder}: {first_line(error)}",
            "Give the model that the run was trained on: its run.toml names it.",
        ) from error
    model.eval()
    return model


def layer_sizes(model: PreTrainedModel | PeftModel) -> dict[str, Shape]:
    """The sizes of every layer that an adapter can be on, by its name in the base: those of its weight, unquantized."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    sizes: dict[str, Shape] = {}
    for name, module in base.named_modules():
        if isinstance(getattr(module, "in_features", None), int):
            sizes[name] = (int(module.out_features), int(module.in_features))
        elif isinstance(getattr(module, "num_embeddings", None), int):
            sizes[name] = (int(module.num_embeddings), int(module.embedding_dim))
        elif isinstance(getattr(module, "nf", None), int):
            sizes[name] = (int(module.nf), int(module.nx))  # GPT-2's own kind of linear layer
    return sizes


def _check_finite(weights: Path) -> None:
    """Raises `WorkbenchError` where some are NaN or infinite: nothing could be said of a model with them."""
    with safe_open(weights, "pt") as file:
        bad = [name for name in file.keys() if not bool(file.get_tensor(name).isfinite().all())]  # noqa: SIM118 - no dict
    if bad:
        raise WorkbenchError(
            "The adapter's weights are no numbers",
            f"{weights}: {bad[0]} and {len(bad) - 1} others have values that are NaN or infinite.",
            "Its training diverged: train again with a lower learning_rate, or max_grad_norm.",
        )


def _check_numbers(loaded: PreTrainedModel, model: str) -> None:
    """Raises `WorkbenchError` where weights are NaN or infinite, but for those that are quantized, which cannot say."""
    for name, parameter in loaded.named_parameters():
        if parameter.is_floating_point() and parameter.numel():
            least, most = parameter.detach().aminmax()
            if not bool(least.isfinite() & most.isfinite()):
                raise WorkbenchError(
                    "The model's weights are no numbers",
                    f"{model}: {name} has values that are NaN or infinite.",
                    "Copy or download the model again, or use another version of it.",
                )


def _check_quantized(loaded: PreTrainedModel, model: str) -> None:
    """Raises `WorkbenchError` where config.json says of weights that they are 4-bit already, and they are not."""
    for name, module in loaded.named_modules():
        if isinstance(module, Linear4bit) and not isinstance(module.weight, Params4bit):
            raise WorkbenchError(
                "The weights are not those that config.json asks for",
                f"{model}: quantization_config says that {name}.weight is in 4 bits already, and it is not.",
                "Take quantization_config out of config.json, or copy the model again.",
            )


def left_whole(model: Any) -> tuple[int, int]:
    """Bytes of matrices that `nf4` or `int8` was to make small and did not, and of all weights.

    `int8` knows no experts of a mixture, and `nf4` those not that have a way of their own (`model.experts`). Embeddings
    and the output layer are never made small.
    """
    kept = {
        id(each.weight) for each in (model.get_input_embeddings(), model.get_output_embeddings()) if each is not None
    } | {id(packed) for _, packed, _ in packed_experts(model)}
    whole = [
        parameter.nbytes
        for parameter in model.parameters()
        if parameter.ndim > 1 and not isinstance(parameter, Params4bit | Int8Params) and id(parameter) not in kept
    ]
    return sum(whole), sum(parameter.nbytes for parameter in model.parameters())


def revision(model: str, loaded: PreTrainedModel | None = None) -> str:
    """What tells this version of a model from others: the hub's commit, or a sha256 over a local folder's files.

    Of weights larger than 64 MiB evenly spaced samples are hashed, so it costs well under a second.
    """
    source = Path(resolve(model))
    if not source.is_dir():
        return str(getattr(loaded.config, "_commit_hash", None) or "unknown") if loaded is not None else "unknown"
    digest = hashlib.sha256()
    for path in [source / "config.json", *sorted(source.glob("*.safetensors"))]:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            if size <= _WHOLE:
                digest.update(file.read())
                continue
            for number in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE) * number // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    return "sha256:" + digest.hexdigest()


def _quantized(quantization: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig:
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_NOT_QUANTIZED)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=_NOT_QUANTIZED,
    )


def _keep_exact(model: PreTrainedModel) -> None:
    """Keeps bitsandbytes 0.50 from repacking 4-bit weights at the first forward in eval mode, on CPUs with AVX512-BF16.

    It never packs them back: from then on the layers compute in bfloat16 whatever the compute dtype, and pass no
    gradient to their input, so that training after an evaluation goes wrong without a word.
    """
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _kernel(attention: Attention, device: torch.device) -> str | None:
    """The attention to ask transformers for; None leaves it the choice, which is SDPA where the model has it."""
    if attention != "auto":
        return attention
    return "flash_attention_2" if device.type == "cuda" and is_flash_attn_2_available() else None
