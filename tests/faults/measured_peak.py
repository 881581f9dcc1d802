"""Trains a random model through the worker's own trainer and prints the growth of this process's peak memory.

Run as `python -m tests.faults.measured_peak JSON` with {"shape": {…}, "config": {…}, "length": tokens}. With
"reward": "reward" or "dpo", answers are worth what a model of the same shape says that was trained so. Meant to be
started with MALLOC_MMAP_THRESHOLD_ set, so that the C library gives freed blocks back and the peak is what was in use.
"""

from __future__ import annotations

import ctypes
import gc
import json
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from workbench.config import RunConfig, build_config
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.data import Prepared
from workbench.engine.training.trainers import build_trainer, load_untrained
from workbench.runs.folder import RunFolder, create, to_line
from workbench.runs.pair_scores import PairIdentity

STEPS = 2


def main(asked: dict[str, Any]) -> None:
    """Prints one JSON document: `growth`, and on CUDA `allocated`, in bytes."""
    cuda = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = {**asked["config"], "max_length": 64, "model": "tiny"}
        if "completion_tokens" in small:
            small["completion_tokens"] = 16
        _random_model(asked["shape"], folder / "model")
        load_tokenizer("tiny").save_pretrained(folder / "model")
        _reward(asked.get("reward"), folder, small)
        # The first run brings in what every later one shares: libraries, threads, buffers.
        _trainer(build_config(small), 64, folder / "first").run()
        _collect()
        before = _memory("VmRSS")
        config = build_config({**asked["config"], "model": str(folder / "model")})
        _reward(asked.get("reward"), folder, config.model_dump())
        trainer = _trainer(config, asked["length"], folder / "second")
        _collect()
        Path("/proc/self/clear_refs").write_text("5")
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        trainer.run()
    allocated = torch.cuda.max_memory_allocated() if cuda else 0
    layout = trainer.path
    print(json.dumps({"growth": _memory("VmHWM") - before, "allocated": allocated, "layout": layout}))


def _trainer(config: RunConfig, length: int, runs: Path) -> Any:
    config = config.model_copy(update={"max_steps": STEPS, "save_steps": 10**6})
    draw = random.Random(0)
    answer = config.completion_tokens if config.facts.online else length - length // 3
    pairs = []
    for _ in range(config.batch_size * STEPS):
        sides = [[draw.randrange(5, 1000) for _ in range(size)] for size in (length - answer, answer, answer)]
        pairs.append(PairIds(*sides))
    rows = [{"id": str(place), "prompt": "a", "chosen": "b", "rejected": "c"} for place in range(len(pairs))]
    folder = create(runs, config, map(to_line, rows), {})
    prepared = Prepared(pairs, [], 0, 0, 0, [PairIdentity(row["id"], "", "train") for row in rows])
    model, tokenizer = load_untrained(config), load_tokenizer(config.model)
    return build_trainer(config, model, tokenizer, prepared, folder.checkpoints)


def _reward(kind: str | None, folder: Path, values: dict[str, Any]) -> None:
    """A run named `reward` beside the others, of the model that `values` name; its adapter is as it begins."""
    if kind is None:
        return
    for runs in (folder / "first", folder / "second"):
        config = build_config({key: values[key] for key in ("pairs", "model", "quantization")} | {"method": kind})
        made = create(runs, config, [], {})
        place = runs / "reward"
        shutil.rmtree(place, ignore_errors=True)
        made.path.rename(place)
        base = load_untrained(config)
        more = {"modules_to_save": ["score"]} if kind == "reward" else {}
        task = "SEQ_CLS" if kind == "reward" else "CAUSAL_LM"
        adapter = LoraConfig(r=4, target_modules="all-linear", task_type=task, **more)
        get_peft_model(base, adapter).save_pretrained(RunFolder(place).adapter)
    _collect()


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
