"""The command lines that serve a run's adapter, or the model it was merged into. Nothing is loaded."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.files import json_in
from workbench.models import resolve
from workbench.runs.folder import ADAPTER_CONFIG, RunFolder
from workbench.text import quoted

_VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for --max-lora-rank (`MaxLoRARanks` in its config/lora.py)."""


def adapter_settings(folder: RunFolder) -> dict[str, Any]:
    """What PEFT wrote beside the run's adapter. Raises `WorkbenchError` where there is no adapter, or a damaged one."""
    path = folder.saved_adapter() / ADAPTER_CONFIG
    try:
        settings = json_in(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WorkbenchError("The adapter cannot be read", f"{path}: {error}.", "Restore the file.") from error
    if not isinstance(settings, dict):
        raise WorkbenchError("The adapter cannot be read", f"{path} is no JSON object.", "Restore the file.")
    return settings


def serve_adapter(folder: RunFolder) -> str:
    """The vLLM command line that serves the base with the run's adapter on it, as a shell takes it.

    The adapter is asked for by the run's id. Raises `WorkbenchError` where vLLM cannot take such an adapter.
    """
    settings = adapter_settings(folder)
    unserved = [name for name in ("use_dora", "modules_to_save") if settings.get(name)]
    merge = f"Merge it and serve that: workbench merge {quoted(folder.id)} --to DIR"
    if unserved:
        raise WorkbenchError("vLLM cannot serve this adapter", f"It has {' and '.join(unserved)}.", merge)
    try:
        highest = max([int(settings["r"]), *map(int, (settings.get("rank_pattern") or {}).values())])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        path = folder.adapter / ADAPTER_CONFIG
        raise WorkbenchError(
            "The adapter cannot be read", f"{path}: r and rank_pattern are no ranks: {error}.", "Restore the file."
        ) from error
    rank = next((rank for rank in _VLLM_RANKS if rank >= highest), None)
    if rank is None:
        raise WorkbenchError(
            "vLLM cannot serve this adapter", f"Its rank is {highest}; vLLM takes {_VLLM_RANKS[-1]} at most.", merge
        )
    adapter = folder.adapter.resolve()
    parts = ["vllm", "serve", resolve(folder.record().config.model)]
    parts += ["--enable-lora", "--lora-modules", f"{folder.id}={adapter}", "--max-lora-rank", str(rank)]
    if folder.chat_template.is_file():
        parts += ["--chat-template", str(folder.chat_template.resolve())]
    return shlex.join(parts)


def serve_merged(folder: Path) -> str:
    """The vLLM command line that serves a merged model, under the folder's name."""
    folder = folder.resolve()
    return shlex.join(["vllm", "serve", str(folder), "--served-model-name", folder.name])


def to_gguf(folder: Path, file: Path, dtype: str) -> str:
    """The llama.cpp command line that turns a merged model into a GGUF file, from where llama.cpp was cloned to."""
    form = {"bf16": "bf16", "fp16": "f16", "fp32": "f32"}[dtype]
    script = "llama.cpp/convert_hf_to_gguf.py"
    return shlex.join(["python", script, str(folder.absolute()), "--outfile", str(file.absolute()), "--outtype", form])
