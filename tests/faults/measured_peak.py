"""Trains a random model through the worker's own trainer and prints the growth of this process's peak memory.

Run as `python -m tests.faults.measured_peak JSON` with {"shape": {…}, "config": {…}, "length": tokens, "checkpointing":
true}; the last is for a CPU, where workers do without gradient checkpointing, to try what they do on CUDA. Meant to be
started with MALLOC_MMAP_THRESHOLD_ set, so that the C library gives freed blocks back and the peak is what was in use.
"""

from __future__ import annotations

import ctypes
import gc
import json
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from workbench.config import RunConfig, build_config
from workbench.engine import trainer as trainer_module
from workbench.engine.data import Prepared
from workbench.engine.model import load_base, load_tokenizer
from workbench.engine.tokens import PairIds
from workbench.engine.trainer import PairTrainer, build_trainer

STEPS = 2


def main(asked: dict[str, Any]) -> None:
    """Prints one JSON document: `growth`, and on CUDA `allocated`, in bytes."""
    cuda = torch.cuda.is_available()
    if asked.get("checkpointing"):
        configured = trainer_module.DPOConfig
        trainer_module.DPOConfig = lambda **values: configured(**{**values, "gradient_checkpointing": True})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The first run brings in what every later one shares: libraries, threads, buffers.
        _trainer("tiny", build_config({**asked["config"], "max_length": 64}), 64, folder).train()
        _random_model(asked["shape"], folder / "model")
        _collect()
        before = _memory("VmRSS")
        trainer = _trainer(str(folder / "model"), build_config(asked["config"]), asked["length"], folder)
        _collect()
        Path("/proc/self/clear_refs").write_text("5")
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
    allocated = torch.cuda.max_memory_allocated() if cuda else 0
    print(json.dumps({"growth": _memory("VmHWM") - before, "allocated": allocated}))


def _trainer(model: str, config: RunConfig, length: int, folder: Path) -> PairTrainer:
    config = config.model_copy(update={"max_steps": STEPS, "holdout": 0.0, "save_steps": 10**6})
    draw = random.Random(0)
    pairs = []
    for _ in range(config.batch_size * STEPS):
        prompt = length // 3
        sides = [[draw.randrange(5, 1000) for _ in range(size)] for size in (prompt, length - prompt, length - prompt)]
        pairs.append(PairIds(*sides))
    base = load_base(model, config.quantization)
    return build_trainer(config, base, load_tokenizer("tiny"), Prepared(pairs, [], 0, 0, 0), folder / "checkpoints")


def _random_model(shape: dict[str, int], folder: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=shape["hidden"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        intermediate_size=shape["intermediate"],
        vocab_size=shape["vocabulary"],
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def _collect() -> None:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def _memory(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
