"""A workspace with a finished run whose adapter was made up, without training."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from workbench.config import RunConfig
from workbench.runs.events import Finished, encode
from workbench.runs.folder import create
from workbench.tiny import WEIGHTS

_RANK = 4


def make_run(workspace: Path, *, minute: int = 0, scale: float = 2.0, **settings: object) -> str:
    """The id of a finished run on the embedded model; `scale` is how far its adapter strays from the base."""
    config = RunConfig.model_validate({"pairs": ["support-tone"], "beta": 0.25, **settings})
    folder = create(workspace / "runs", config, [], {}, now=datetime(2026, 5, 1, 12, minute))
    end = Finished(time=1.0, step=16, seconds=3.0, peak_memory_bytes=1, changed=1.0)
    folder.events.write_text(encode(end), "utf-8")
    write_adapter(folder.adapter, scale, seed=minute)
    return folder.id


def write_adapter(folder: Path, scale: float, seed: int) -> None:
    """A PEFT adapter on the query projections with B away from zero."""
    model = json.loads((WEIGHTS / "config.json").read_text("utf-8"))
    size, random = int(model["hidden_size"]), np.random.default_rng(seed)
    weights = {}
    for layer in range(int(model["num_hidden_layers"])):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{name}.lora_A.weight"] = random.normal(0, size**-0.5, (_RANK, size)).astype(np.float32)
        weights[f"{name}.lora_B.weight"] = random.normal(0, scale, (size, _RANK)).astype(np.float32)
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    described = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": _RANK,
        "lora_alpha": 2 * _RANK,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": "tiny",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(described), "utf-8")
