"""A merged model as one GGUF file, for llama.cpp and what is built on it.

Llama, Mistral, Qwen2 and Qwen3 with a byte-level BPE tokenizer: their weights are copied as they are, a tensor at a
time, under GGUF's names. Two things differ. Llama's rotary embedding turns neighbouring rows of the query and key
matrices there, and rows half a head apart in transformers, so these rows are put in the other order. And a llama3
scaling of the rotary embedding is a tensor of factors there. For everything else llama.cpp's own converter is named.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoTokenizer
from transformers.utils import cached_file

from workbench.engine.model.downloads import from_pretrained
from workbench.engine.shipping.pre_tokenizers import ggml_name, in_words
from workbench.errors import WorkbenchError
from workbench.models import resolve
from workbench.runs.serving import to_gguf
from workbench.text import one_line

if TYPE_CHECKING:
    from gguf import GGUFWriter

_ARCHITECTURES = {
    "LlamaForCausalLM": "LLAMA",
    "MistralForCausalLM": "LLAMA",
    "Qwen2ForCausalLM": "QWEN2",
    "Qwen3ForCausalLM": "QWEN3",
}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a model is converted: GGUF's name of the architecture, and llama.cpp's of what comes before the merges."""

    architecture: str
    pre_tokenizer: str
    config: Mapping[str, Any]

    @property
    def rope(self) -> Mapping[str, Any]:
        rope: Mapping[str, Any] = self.config.get("rope_parameters") or {}
        return rope

    @property
    def head(self) -> int:
        return int(self.config.get("head_dim") or self.config["hidden_size"] // self.config["num_attention_heads"])


def check_architecture(model: str, run: str, file: Path, dtype: str) -> None:
    """Raises `WorkbenchError` where there is no conversion for `model`, with the commands that lead there all the same.

    A model that is not on this machine yet passes; `convert` looks again.
    """
    gguf_library()
    source, local = resolve(model), {"local_files_only": True, "_raise_exceptions_for_missing_entries": False}
    try:
        paths = [cached_file(source, name, **local) for name in ("config.json", "tokenizer.json")]
    except OSError:
        return
    if paths[0] is None:
        return
    config, tokenizer = (json.loads(Path(path).read_text("utf-8")) if path else {} for path in paths)
    reason = _plan(config, tokenizer)
    if isinstance(reason, str):
        merged = file.with_suffix("")
        raise WorkbenchError(
            "No conversion to GGUF for this model here",
            reason,
            "llama.cpp may have one. Merge into a folder, then convert that:\n"
            + shlex.join(["workbench", "merge", run, "--to", str(merged), "--dtype", dtype])
            + "\n"
            + to_gguf(merged, file, dtype),
        )


def convert(folder: Path, file: Path, dtype: str, *, name: str, progress: Callable[[str, float | None], None]) -> None:
    """Writes the merged model in `folder` to `file`. Raises `WorkbenchError` where there is no conversion for it."""
    gguf = gguf_library()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    plan = _plan(config, json.loads((folder / "tokenizer.json").read_text("utf-8")))
    if isinstance(plan, str):
        raise WorkbenchError("No conversion to GGUF for this model here", plan, "Merge into a folder instead.")
    architecture = getattr(gguf.MODEL_ARCH, plan.architecture)
    wide = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}[dtype]
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_name(name)
    writer.add_file_type(getattr(gguf.LlamaFileType, "ALL_F32" if wide == "F32" else f"MOSTLY_{wide}"))
    _sizes(writer, plan)
    _tokens(writer, plan, folder)
    names = gguf.get_tensor_name_map(architecture, int(config["num_hidden_layers"]))
    infos: list[tuple[str, str]] = []
    for own, tensor in _tensors(folder, plan):
        gguf_name = own if own == "rope_freqs.weight" else names.get_name(own, try_suffixes=(".weight", ".bias"))
        if gguf_name is None:
            raise WorkbenchError("No conversion to GGUF for this model here", f"GGUF has no name for {own}.")
        kind = "F32" if _exact(gguf_name, tensor) else wide
        infos.append((own, kind))
        numbers = tensor.to(_TORCH[kind])
        writer.add_tensor_info(
            gguf_name,
            tuple(tensor.shape),
            _numpy(numbers).dtype,
            numbers.nbytes,
            getattr(gguf.GGMLQuantizationType, kind),
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for number, ((own, kind), (again, tensor)) in enumerate(zip(infos, _tensors(folder, plan), strict=True)):
        assert own == again
        progress("writing the GGUF file", number / len(infos))
        writer.write_tensor_data(_numpy(tensor.to(_TORCH[kind])))
    writer.close()


_TORCH = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def gguf_library() -> Any:
    """The package `gguf`. Raises `WorkbenchError` where it is not installed."""
    try:
        import gguf
    except ImportError as error:
        raise WorkbenchError(
            "GGUF needs one more package",
            f"The package gguf is not installed ({error}).",
            "pip install 'alignment-workbench[gguf]'",
        ) from error
    return gguf


def _plan(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> _Plan | str:
    """How the model is converted, or in a sentence why it cannot be."""
    kind = (config.get("architectures") or ["?"])[0]
    architecture = _ARCHITECTURES.get(kind)
    if architecture is None:
        return f"It is a {kind}; here are {', '.join(_ARCHITECTURES)}."
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        return f"Its attention looks back {config['sliding_window']} tokens only, which is not converted here."
    pre_tokenizer = ggml_name(tokenizer)
    if pre_tokenizer is None:
        return f"llama.cpp has no name that is known here for its tokenizer: {one_line(in_words(tokenizer))}."
    plan = _Plan(architecture, pre_tokenizer, config)
    scaling = plan.rope.get("rope_type", "default")
    if scaling not in ("default", "linear", "llama3"):
        return f"Its rotary embedding is scaled by {scaling}, which is not converted here."
    return plan


def _sizes(writer: GGUFWriter, plan: _Plan) -> None:
    config = plan.config
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config.get("num_key_value_heads") or config["num_attention_heads"])
    writer.add_key_length(plan.head)
    writer.add_value_length(plan.head)
    writer.add_rope_dimension_count(plan.head)
    writer.add_rope_freq_base(float(plan.rope.get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    if plan.rope.get("rope_type") == "linear":
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(plan.rope["factor"]))


def _tokens(writer: GGUFWriter, plan: _Plan, folder: Path) -> None:
    """Every entry of the vocabulary, the merges, the special tokens, the chat template."""
    from gguf import SpecialVocab, TokenType

    tokenizer = from_pretrained(AutoTokenizer, str(folder))
    texts = {token: text for text, token in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, kinds = [], []
    for token in range(plan.config["vocab_size"]):
        tokens.append(texts.get(token, f"[PAD{token}]"))
        if token not in texts:
            kinds.append(TokenType.UNUSED)
        elif token in added:
            kinds.append(TokenType.CONTROL if added[token].special else TokenType.USER_DEFINED)
        else:
            kinds.append(TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(plan.pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    special = SpecialVocab(folder, load_merges=True)
    # Without a word of it llama.cpp goes by the kind of tokenizer.
    framed = tokenizer("x")["input_ids"]
    special.add_special_token["bos"] = framed[0] == tokenizer.bos_token_id
    special.add_special_token["eos"] = framed[-1] == tokenizer.eos_token_id
    special.add_to_gguf(writer, quiet=True)
    stops = json.loads((folder / "generation_config.json").read_text("utf-8")).get("eos_token_id")
    others = [stop for stop in stops if stop != tokenizer.eos_token_id] if isinstance(stops, list) else []
    if others:
        writer.add_eot_token_id(others[0])


def _tensors(folder: Path, plan: _Plan) -> Iterator[tuple[str, Tensor]]:
    """The weights one by one, with the rows in the order that GGUF's architecture reads them in."""
    if plan.rope.get("rope_type") == "llama3":
        yield "rope_freqs.weight", _llama3_factors(plan)
    heads = int(plan.config["num_attention_heads"])
    groups = {"q_proj": heads, "k_proj": int(plan.config.get("num_key_value_heads") or heads)}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                tensor = file.get_tensor(name)
                part = name.split(".")[-2]
                if plan.architecture == "LLAMA" and part in groups:
                    halves = tensor.reshape(groups[part], 2, plan.head // 2, -1)
                    tensor = halves.transpose(1, 2).reshape(tensor.shape)
                yield name, tensor


def _llama3_factors(plan: _Plan) -> Tensor:
    """What the wave length of each pair of rows is stretched by, (head / 2,): Llama 3.1's scaling of positions."""
    rope = plan.rope
    factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    context = float(rope["original_max_position_embeddings"])
    factors = []
    for row in range(0, plan.head, 2):
        length = 2 * math.pi * float(rope["rope_theta"]) ** (row / plan.head)
        smooth = (context / length - low) / (high - low)
        blended = 1 / ((1 - smooth) / factor + smooth) if 0 <= smooth <= 1 else 1.0 if smooth > 1 else factor
        factors.append(blended)
    return torch.tensor(factors)


def _exact(name: str, tensor: Tensor) -> bool:
    """Whether llama.cpp wants the tensor in float32 whatever the others are."""
    return tensor.ndim <= 1 or name.endswith("_norm.weight")


def _numpy(tensor: Tensor) -> Any:
    """NumPy has no bfloat16: its bits as float16 stand for it, which GGUF is told."""
    return (tensor.view(torch.float16) if tensor.dtype == torch.bfloat16 else tensor).contiguous().numpy()
