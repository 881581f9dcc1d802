"""A few real micro-batches of a run, through the same trainer, to time them and to see how much memory they take."""

from __future__ import annotations

import math
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from workbench.config import RunConfig
from workbench.engine.model.inference import asking
from workbench.engine.model.loading import peak_memory
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.batch_order import lengths
from workbench.engine.training.data import Prepared, row_tokens
from workbench.engine.training.trainers import Training, build_trainer, load_untrained
from workbench.engine.training.watcher import Due, Watcher
from workbench.runs.preview import Measured, passes_of

TYPICAL = 3
"""Micro-batches drawn at random, besides that of the longest pairs."""
BUDGET = 20.0
"""Seconds that the trial may take on a CPU once the model is there, as far as that can be told beforehand; and seconds
after which no further micro-batch is begun."""
_TIMES = 16
"""How often the trial goes through the model, counted as forwards."""
_PASSES = 8.0
"""Forwards that a token of the trial costs: one of the reference, three of a step, and what is tried, forward and
backward, and held out."""
_SHORT, _LONG = 8, 128
"""Tokens that are read to see how long it takes."""


class OutOfMemoryError(Exception):
    """The device had not enough memory for the longest micro-batch."""


def trial(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    scratch: Path,
    began: float,
    tell: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Trains on the longest micro-batch, then on typical ones; on fewer pairs where a CPU would take long over those.

    `began`: when all this started, by `perf_counter`. `tell` hears what is done now.

    Raises `OutOfMemoryError`, and `WorkbenchError` where the model cannot be loaded or the settings do not fit it.
    """
    try:
        tell("loading the model")
        model = load_untrained(config)
        gauge = Gauge.of(model) if model.device.type == "cpu" else Gauge(0.0, 0.0)
        chosen = choose(prepared.train, config, gauge.affordable, torch.get_num_threads())
        pairs, part = chosen.pairs, chosen.part
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
        stopwatch = _Stopwatch(one.max_steps, tell)
        held_out = pairs[-part:] if prepared.holdout else []
        part_of_it = Prepared(pairs, held_out, 0, 0, 0)
        tell("trying the model on its longest pairs" if chosen.whole else "trying the model")
        trainer: Any = build_trainer(one, model, tokenizer, part_of_it, scratch, stopwatch)
        if config.facts.online:
            rows = list(trainer.train_dataset)
            batches = DataLoader(rows, batch_size=part, collate_fn=trainer.data_collator)
            trainer.get_train_dataloader = lambda: batches
        ready = time.perf_counter() - began
        tell("measuring the reference")
        reference = _reference(trainer, pairs, held_out, part)
        _forget_peak()
        trainer.run()
        tell("measuring an evaluation")
        evaluation = _evaluation(trainer) if held_out else 0.0
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(str(error).splitlines()[0]) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "not enough memory" in str(error) or "allocate memory" in str(error):
            raise OutOfMemoryError(str(error).splitlines()[0] if str(error) else "") from error
        raise
    done = len(stopwatch.step_seconds)
    # What comes first compiles kernels.
    first = 1 if done > 1 else 0
    # Trainers begin with the longest, as the pairs do, and shuffle the others.
    share = (done - first) / (one.max_steps - first)
    tokens = round(share * int(row_tokens(pairs[first * part :], config.max_length).sum()))
    return Measured(
        seconds=sum(stopwatch.step_seconds[first:]),
        tokens=tokens,
        passes=passes_of(tokens, done - first, trainer.tokens_at_once or math.inf),
        eval_seconds=evaluation,
        eval_tokens=int(row_tokens(held_out, config.max_length).sum()) if held_out else 0,
        ready_seconds=ready,
        peak_bytes=_peak() if chosen.whole else 0,
        reference_seconds=reference * share,
        pass_tokens=gauge.pass_tokens,
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """The pairs of a trial, cut, `part` at a time. `whole`: the first are a micro-batch of the run's longest pairs."""

    pairs: list[PairIds]
    part: int
    whole: bool


def choose(train: Sequence[PairIds], config: RunConfig, affordable: float, cores: int) -> Chosen:
    """The longest micro-batch and typical ones, if no more than `affordable` tokens; else two of as many pairs as are.

    Typical pairs are chosen at random, as the order of a run is. Where that many of them are not affordable, the
    shortest are, one a core at least as long as there is any choice: a core without a pair would make the others slow.
    """
    tokens, part = (
        row_tokens(train, config.max_length),
        min(config.batch_size // config.gradient_accumulation, len(train)),
    )
    by_length = np.argsort(-np.array(lengths(train, config.max_length)), kind="stable")
    drawn = random.Random(config.seed).sample(range(len(train)), min(len(train), part * TYPICAL))
    drawn = drawn[: len(drawn) - len(drawn) % part or len(drawn)]
    indices = [*by_length[:part].tolist(), *drawn]
    whole = bool(tokens[indices].sum() <= affordable)
    if not whole:
        indices, part = _fewer(tokens, drawn, part, affordable, cores)
        place = {index: number for number, index in enumerate(by_length.tolist())}
        indices.sort(key=place.__getitem__)
    return Chosen([train[index].cut(config.max_length) for index in indices], part, whole)


def _fewer(tokens: np.ndarray, drawn: Sequence[int], part: int, affordable: float, cores: int) -> tuple[list[int], int]:
    """Two micro-batches, of the same pairs where there are no others, and how many pairs each has."""
    shortest = np.argsort(tokens, kind="stable").tolist()
    few = min(part, cores)
    for order, sizes in ((drawn, range(part, few - 1, -1)), (shortest, range(few, 0, -1))):
        for size in sizes:
            first, second = list(order[:size]), list(order[size : 2 * size])
            indices = first + (second if len(second) == size else first)
            if len(first) == size and tokens[indices].sum() <= affordable:
                return indices, size
    return [shortest[0], shortest[0]], 1


@dataclass(frozen=True, slots=True)
class Gauge:
    """Seconds that the model's own forward takes: once, whatever it reads, and a token more."""

    pass_seconds: float
    token_seconds: float

    @classmethod
    def of(cls, model: Any) -> Gauge:
        """Measures it on any ids: two lengths, whose difference is in tokens alone."""
        ids = torch.arange(_LONG)[None] % int(model.config.get_text_config().vocab_size)
        seconds = []
        with torch.no_grad(), asking(model):
            for length in (_SHORT, _SHORT, _LONG):  # The first time takes longer.
                began = time.perf_counter()
                part = ids[:, :length]
                model(input_ids=part, attention_mask=torch.ones_like(part), use_cache=False)
                seconds.append(time.perf_counter() - began)
        return cls.between(seconds[1], seconds[2])

    @classmethod
    def between(cls, short: float, long: float) -> Gauge:
        """From the seconds of both lengths; where something else disturbed them, a token still takes some time."""
        token = max((long - short) / (_LONG - _SHORT), long / _LONG / 10)
        return cls(max(0.0, short - _SHORT * token), token)

    @property
    def pass_tokens(self) -> float:
        """Tokens that take as long as a pass does before any."""
        return self.pass_seconds / self.token_seconds if self.token_seconds else 0.0

    @property
    def affordable(self) -> float:
        """Tokens, of prompts and both responses, that `BUDGET` is enough for."""
        left = max(0.0, BUDGET - _TIMES * self.pass_seconds)
        return left / _PASSES / self.token_seconds if self.token_seconds else math.inf


class _Stopwatch(Watcher):
    """Seconds of every step; ends the trial once that took long enough. Steps are all there is."""

    def __init__(self, steps: int, tell: Callable[[str], None]) -> None:
        self.step_seconds: list[float] = []
        self._steps, self._tell, self._began = steps, tell, 0.0

    def step_begins(self, step: int) -> None:
        """Starts the clock."""
        self._tell(f"measuring a step: {step + 1} of {self._steps}")
        _wait()
        self._began = time.perf_counter()

    def step_ends(self, step: int, due: Due) -> None:  # noqa: ARG002
        """Stops the clock."""
        _wait()
        self.step_seconds.append(time.perf_counter() - self._began)
        due.stop |= len(self.step_seconds) > 1 and sum(self.step_seconds) > BUDGET
        due.log = due.evaluate = due.save = False


def _reference(trainer: Training, pairs: Sequence[PairIds], held_out: Sequence[PairIds], part: int) -> float:
    """Seconds that all but the first micro-batch take to learn what the reference gives; 0 where that is not kept.

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
    return seconds


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
