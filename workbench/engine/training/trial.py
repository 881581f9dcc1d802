"""A few real micro-batches of a run, through the same trainer, to time them and to see how much memory they take."""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from workbench.config import RunConfig
from workbench.engine.model.loading import peak_memory
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.batch_order import lengths
from workbench.engine.training.data import Prepared
from workbench.engine.training.trainers import Training, build_trainer, load_untrained
from workbench.engine.training.watcher import Due, Watcher
from workbench.runs.preview import Measured

TYPICAL = 3
"""Micro-batches drawn at random, besides that of the longest pairs."""
_ENOUGH = 20.0
"""Seconds after which no further micro-batch is begun."""


class OutOfMemoryError(Exception):
    """The device had not enough memory for the longest micro-batch."""


def trial(
    config: RunConfig, tokenizer: PreTrainedTokenizerBase, prepared: Prepared, scratch: Path, began: float
) -> Measured:
    """Trains on the longest micro-batch, then on typical ones. `began`: when all this started, by `perf_counter`.

    Raises `OutOfMemoryError`, and `WorkbenchError` where the model cannot be loaded or the settings do not fit it.
    """
    part = min(config.batch_size // config.gradient_accumulation, len(prepared.train))
    pairs = _pairs(prepared.train, part, config)
    one = config.model_copy(
        update={
            "batch_size": part,
            "gradient_accumulation": 1,
            "max_steps": -(-len(pairs) // part),
            "holdout": 0.0,
            "adapter": "",
            "report_to": [],
        }
    )
    stopwatch = _Stopwatch()
    try:
        held_out = pairs[-part:] if prepared.holdout else []
        part_of_it = Prepared(pairs, held_out, 0, 0, 0)
        trainer: Any = build_trainer(one, load_untrained(one), tokenizer, part_of_it, scratch, stopwatch)
        if config.facts.online:
            rows = list(trainer.train_dataset)
            batches = DataLoader(rows, batch_size=part, collate_fn=trainer.data_collator)
            trainer.get_train_dataloader = lambda: batches
        ready = time.perf_counter() - began
        reference = _reference(trainer, pairs, held_out, part)
        _forget_peak()
        trainer.run()
        evaluation = _evaluation(trainer) if held_out else 0.0
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(str(error).splitlines()[0]) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "not enough memory" in str(error) or "allocate memory" in str(error):
            raise OutOfMemoryError(str(error).splitlines()[0] if str(error) else "") from error
        raise
    typical = stopwatch.step_seconds[1:] or stopwatch.step_seconds
    return Measured(
        longest_seconds=stopwatch.step_seconds[0],
        typical_seconds=sum(typical) / len(typical),
        eval_seconds=evaluation,
        ready_seconds=ready,
        peak_bytes=_peak(),
        reference_seconds=reference,
    )


class _Stopwatch(Watcher):
    """Seconds of every step; ends the trial once that took long enough. Steps are all there is."""

    def __init__(self) -> None:
        self.step_seconds: list[float] = []
        self._began = 0.0

    def step_begins(self, step: int) -> None:  # noqa: ARG002
        """Starts the clock."""
        _wait()
        self._began = time.perf_counter()

    def step_ends(self, step: int, due: Due) -> None:  # noqa: ARG002
        """Stops the clock."""
        _wait()
        self.step_seconds.append(time.perf_counter() - self._began)
        due.stop |= len(self.step_seconds) > 1 and sum(self.step_seconds) > _ENOUGH
        due.log = due.evaluate = due.save = False


def _pairs(train: Sequence[PairIds], part: int, config: RunConfig) -> list[PairIds]:
    """The longest micro-batch, then typical ones: chosen at random, as the order of a run is."""
    by_length = np.argsort(-np.array(lengths(train, config.max_length)), kind="stable")
    drawn = random.Random(config.seed).sample(train, min(len(train), part * TYPICAL))
    whole = len(drawn) - len(drawn) % part or len(drawn)
    chosen = [train[index] for index in by_length[:part].tolist()] + drawn[:whole]
    return [pair.cut(config.max_length) for pair in chosen]


def _reference(trainer: Training, pairs: Sequence[PairIds], held_out: Sequence[PairIds], part: int) -> float:
    """Seconds that a typical micro-batch takes to learn what the reference gives it; 0 where that is not kept.

    All of the trial's pairs are known then, as they are to a run after its first epoch.
    """
    if not trainer.references:
        return 0.0
    learn = trainer.references["train"]
    learn(range(part), pairs[:part])  # What comes first compiles kernels.
    _wait()
    began = time.perf_counter()
    learn(range(part, len(pairs)), pairs[part:])
    _wait()
    seconds = time.perf_counter() - began
    trainer.references["eval"](range(len(held_out)), held_out)
    return seconds / max(1, -(-(len(pairs) - part) // part))


def _evaluation(trainer: Training) -> float:
    _wait()
    began = time.perf_counter()
    trainer.evaluate()
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    """Work on CUDA goes on after the call that asked for it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _forget_peak() -> None:
    """Lets the peak begin anew: loading a model may take more for a moment, but only of the file cache."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Bytes since `_forget_peak`: of the GPU where there is one, else of this process."""
    if sys.platform == "linux" and not torch.cuda.is_available():
        match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if match:
            return int(match[1]) * 1024
    return peak_memory()
