"""One measurement on the device, in a process of its own: `python -m tests.bench.gpu_side 'JSON'` prints its figures.

The JSON is that of `tests.bench.gpu.Ask`. Runs on the CPU as well, in float32, for a shape that is small enough.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, PreTrainedTokenizerBase
from trl import DPOTrainer

from tests.bench.gpu_model import SHAPES, parameters, random_quantized
from tests.bench.random_model import fit_tokenizer, texts
from tests.bench.stock_trl import arguments
from workbench.config import build_config
from workbench.engine.fast.pair_rows import row_parts
from workbench.engine.methods.trl_trainer import Watched
from workbench.engine.model.inference import score_batches
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.data import prepare
from workbench.engine.training.instruments import PAIRS, Divergence
from workbench.engine.training.trainers import build_trainer
from workbench.engine.training.watcher import Due, Watcher
from workbench.runs.activation_memory import Lengths
from workbench.runs.estimate import estimate, planned
from workbench.runs.model_shape import read_shape

_NEVER = 10**6
DEVICE = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
DTYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32


class Clock(Watcher):
    """Takes the time of `steps` optimizer steps, after `warm` ones in which kernels are compiled."""

    def __init__(self, warm: int, steps: int) -> None:
        self._warm, self._steps = warm, steps
        self.began = self.ended = 0.0

    def step_begins(self, step: int) -> None:
        """Starts the clock."""
        if step == self._warm:
            self.began = _now()

    def step_ends(self, step: int, due: Due) -> None:  # noqa: ARG002
        """Stops it."""
        if step == self._warm + self._steps:
            self.ended = _now()


class Counted:
    """A collator that counts, a pair, the tokens that are needed: the prompt once, all cut to `max_length`."""

    def __init__(self, collator: Callable[[Sequence[Mapping[str, Any]]], Any], max_length: int) -> None:
        self._collator, self._most = collator, max_length
        self.tokens: list[int] = []

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Any:
        """The batch."""
        for each in examples:
            prompt, good, bad = (len(each[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
            self.tokens.append(min(prompt + good, self._most) + min(prompt + bad, self._most) - prompt)
        return self._collator(examples)


def peak(_: Mapping[str, Any]) -> dict[str, Any]:
    """Operations a second of a large matrix product: what there is to reach."""
    size, repeats = (8192, 20) if DEVICE.type == "cuda" else (512, 3)
    one, other = (torch.randn((size, size), dtype=DTYPE, device=DEVICE) for _ in range(2))
    for _ in range(3):
        one @ other
    began = _now()
    for _ in range(repeats):
        one @ other
    device = torch.cuda.get_device_name(0) if DEVICE.type == "cuda" else "CPU"
    return {"flops": repeats * 2 * size**3 / (_now() - began), "device": device}


def stock(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Stock TRL. Its adapters stay in bfloat16, as TRL casts them: on CUDA that is what it is fastest with."""
    rows, tokenizer, model = _material(asked)
    clock = Clock(asked["warm"], asked["steps"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = DPOTrainer(
            model=model,
            args=arguments(
                folder,
                {
                    "per_device_train_batch_size": asked["part"],
                    "gradient_accumulation_steps": asked["pairs"] // asked["part"],
                    "max_steps": asked["warm"] + asked["steps"],
                    "max_length": asked["max_length"],
                    "gradient_checkpointing": True,
                    "bf16": DEVICE.type == "cuda",
                    "use_cpu": DEVICE.type == "cpu",
                    "dataloader_pin_memory": DEVICE.type == "cuda",
                },
            ),
            train_dataset=Dataset.from_list([{side: row[side] for side in _SIDES} for row in rows]),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Watched(clock)],
        )
        trainer.data_collator = counted = Counted(trainer.data_collator, asked["max_length"])
        return _trained(trainer.train, counted.tokens, clock, asked)


def workbench(asked: Mapping[str, Any], watcher: Clock | None = None) -> dict[str, Any]:
    """The workbench's trainer on the same pairs, with the memory that the form would have told."""
    rows, tokenizer, model = _material(asked)
    config = build_config(
        {
            "pairs": ["hh"],
            "batch_size": asked["pairs"],
            "gradient_accumulation": asked["pairs"] // asked["part"],
            "max_steps": asked["warm"] + asked["steps"],
            "max_length": asked["max_length"],
            "holdout": 0.0,
            "save_steps": _NEVER,
            "logging_steps": _NEVER,
        }
    )
    clock = Clock(asked["warm"], asked["steps"]) if watcher is None else watcher
    prepared = prepare(tokenizer, rows, config.max_length)
    shape = read_shape(LlamaConfig(**SHAPES[asked["shape"]], tie_word_embeddings=False, bos_token_id=None).to_dict())
    # What the worker does by itself, which knows the shape of a model by its folder.
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() if DEVICE.type == "cuda" else 0
    longest = _lengths(prepared.train, config.max_length)
    level = asked["checkpointing"]
    if level == "auto":
        level = planned(shape, config, longest, DEVICE.type, free).checkpointing
    config = config.model_copy(update={"checkpointing": level})
    estimated = estimate(shape, config, longest, DEVICE.type).training
    with tempfile.TemporaryDirectory() as folder:
        loop: Any = build_trainer(config, model, tokenizer, prepared, Path(folder), clock)
        batch_of, tokens = loop.batch, list[int]()

        def counted(mode: str, indices: Sequence[int]) -> Any:
            batch = batch_of(mode, indices)
            tokens.extend(len(pair.prompt) + len(pair.chosen) + len(pair.rejected) for pair in batch.pairs)
            return batch

        loop.batch = counted
        took = _trained(loop.run, tokens, clock, asked)
    return {
        **took,
        "estimated_bytes": estimated,
        "level": level,
        "path": loop.path,
        "slower_because": loop.slower_because,
    }


def _lengths(pairs: Sequence[PairIds], max_length: int) -> Lengths:
    """Those of the longest pairs, as the form counts them."""
    cut = [pair.cut(max_length) for pair in pairs]
    return Lengths(
        longest=max(len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) for pair in cut),
        responses=max(len(pair.chosen) + len(pair.rejected) for pair in cut),
        row=max(row_parts(pair).total for pair in cut),
    )


class Profile(Clock):
    """Notes what the operations of the steps that count take, instead of how long the steps do."""

    def __init__(self, warm: int, steps: int) -> None:
        super().__init__(warm, steps)
        activities = [torch.profiler.ProfilerActivity.CPU]
        if DEVICE.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self.taken = torch.profiler.profile(activities=activities)

    def step_begins(self, step: int) -> None:
        """Starts to look."""
        super().step_begins(step)
        if step == self._warm:
            self.taken.start()

    def step_ends(self, step: int, due: Due) -> None:
        """Ends."""
        super().step_ends(step, due)
        if step == self._warm + self._steps:
            self.taken.stop()


def profile(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Milliseconds of a step by kind of kernel, and of its longest kernels; on the CPU of operations."""
    watcher = Profile(asked["warm"], asked["steps"])
    took = workbench(asked, watcher)
    kinds, kernels = dict[str, float](), dict[str, float]()
    for event in watcher.taken.key_averages():
        on_device = str(event.device_type).endswith("CUDA")
        if DEVICE.type == "cuda" and not on_device:
            continue
        micros = event.self_device_time_total if on_device else event.self_cpu_time_total
        kernels[event.key[:120]] = kernels.get(event.key[:120], 0.0) + micros / 1000 / asked["steps"]
    for name, spent in kernels.items():
        kinds[kind_of(name)] = kinds.get(kind_of(name), 0.0) + spent
    longest = sorted(kernels.items(), key=lambda item: -item[1])[:25]
    return {**took, "milliseconds": dict(sorted(kinds.items(), key=lambda item: -item[1])), "longest": dict(longest)}


_KINDS = {
    "attention": ("flex_attention", "flash", "fmha", "scaled_dot_product"),
    "4-bit": ("dequant", "gemm_4bit", "quantize"),
    "matrix products": (
        "gemm",
        "cutlass",
        "cublas",
        "sm80_xmma",
        "sm90_xmma",
        "nvjet",
        "aten::mm",
        "addmm",
        "bmm",
        "matmul",
    ),
    "optimizer": ("adam", "multi_tensor", "foreach"),
    "softmax and norms": ("softmax", "norm", "reduce", "rsqrt", "mean", "aten::sum"),
    "copies and casts": ("memcpy", "memset", "copy", "cast", "aten::to", "clone", "cat"),
    "gathers": ("gather", "index", "scatter", "embedding"),
    "element by element": ("elementwise", "vectorized", "silu", "gelu", "mul", "add", "triton_poi"),
}
"""By kind, what is in the names of its kernels and operations, the first that fits."""


def kind_of(kernel: str) -> str:
    """The kind of a kernel by its name."""
    name = kernel.lower()
    return next((kind for kind, words in _KINDS.items() if any(word in name for word in words)), "others")


def kl(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The divergence from the reference, as an evaluation measures it."""
    rows, tokenizer, model = _material(asked)
    pairs = prepare(tokenizer, rows, asked["max_length"]).train
    adapter = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    measure = Divergence(pairs, asked["max_length"])
    model = get_peft_model(model, adapter).eval()
    measure(model)
    _forget_peak()
    began = _now()
    nats = measure(model)
    return {"seconds": _now() - began, "pairs_scored": min(len(pairs), PAIRS), "nats": nats, **_memory()}


def score(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Log-probabilities of both responses of as many pairs as a training would see."""
    rows, tokenizer, model = _material(asked)
    pairs = prepare(tokenizer, rows, asked["max_length"]).train[: asked["pairs"] * asked["steps"]]
    both = [
        (pair.prompt, side[: asked["max_length"] - len(pair.prompt)])
        for pair in pairs
        for side in (pair.chosen, pair.rejected)
    ]
    score_batches(model, both[: 2 * asked["part"]])
    _forget_peak()
    began = _now()
    score_batches(model, both)
    return {"seconds": _now() - began, "pairs_scored": len(pairs), **_memory()}


_SIDES = ("prompt", "chosen", "rejected")


def _material(asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], PreTrainedTokenizerBase, Any]:
    """The rows, a tokenizer that is fitted to them, and the model."""
    shape = SHAPES[asked["shape"]]
    with Path(asked["rows"]).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    tokenizer = fit_tokenizer(texts(rows), min(asked["vocabulary"], shape["vocab_size"]))
    return rows, tokenizer, random_quantized(shape, DEVICE, DTYPE)


def _trained(
    train: Callable[[], object], tokens: Sequence[int], clock: Clock, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """`tokens` are those of each pair, in the order of training; filled by `train`."""
    _forget_peak()
    train()
    skipped, pairs = asked["warm"] * asked["pairs"], asked["steps"] * asked["pairs"]
    return {
        "seconds": clock.ended - clock.began,
        "pairs_trained": pairs,
        "unique_tokens": sum(tokens[skipped : skipped + pairs]),
        "parameters": parameters(SHAPES[asked["shape"]]),
        **_memory(),
    }


def _now() -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _forget_peak() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _memory() -> dict[str, int]:
    if DEVICE.type == "cuda":
        return {"peak_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved()}
    return {"peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


MEASURES: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "peak": peak,
    "stock": stock,
    "workbench": workbench,
    "score": score,
    "kl": kl,
    "profile": profile,
}


def main(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The figures; where the device's memory does not suffice, that."""
    try:
        return MEASURES[asked["side"]](asked)
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
