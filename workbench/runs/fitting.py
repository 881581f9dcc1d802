"""Which settings would fit into the memory there is: the least costly changes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.rewards import RunReward, parse_reward
from workbench.runs import machine
from workbench.runs.estimate import Device, Judge, Lengths, estimate
from workbench.runs.folder import RunFolder
from workbench.runs.model_shape import Shape, shape_of

_SHORTEST = 128
"""Tokens below which no pair is worth training on."""
_LESS = 0.85
"""After memory ran out the estimate was wrong by at least the difference: what fits must need this much less."""


def smaller(
    shape: Shape, config: RunConfig, lengths: Lengths, device: Device, free: int, judge: Judge | None = None
) -> dict[str, Any]:
    """Settings to change so that the run needs no more than `free` bytes; empty where none would do.

    In the order in which they cost: a batch cut into more parts gives the same updates, 4-bit weights nearly the same,
    a lower `max_length` loses the ends of long answers.
    """
    for changes in _candidates(config, lengths):
        changed = config.model_copy(update=changes)
        if estimate(shape, changed, lengths.cut(changed.max_length), device, judge=judge).total <= free:
            return changes
    return {}


def advice(config: RunConfig, runs: Path | None = None) -> str:
    """What to do after a run of `config` ran out of memory on this machine, in a sentence.

    `runs` is the folder in which a run that gives its reward is.
    """
    changes: dict[str, Any] = {}
    try:
        shape, now = shape_of(config.model), machine.look(Path.cwd())
    except (WorkbenchError, OSError):
        changes = next(_candidates(config, Lengths.at_most(config.max_length)), {})
    else:
        device: Device = "cuda" if now.gpu else "cpu"
        lengths = Lengths.at_most(config.max_length)
        judge = judge_of(config, runs) if runs is not None else None
        needed = estimate(shape, config, lengths, device, judge=judge).total
        changes = smaller(shape, config, lengths, device, int(min(now.free, needed * _LESS)), judge)
    if not changes:
        return "Use a smaller model, or end what else holds memory."
    return f"These settings would fit: {as_settings(changes)}"


def judge_of(config: RunConfig, runs: Path) -> Judge | None:
    """The model of the run, one of those in `runs`, that gives the reward; None where there is none, or none known."""
    try:
        named = parse_reward(config.reward) if config.facts.online else None
        if not isinstance(named, RunReward):
            return None
        asked = RunFolder(runs / named.run).record().config
        return Judge(shape_of(asked.model), asked)
    except WorkbenchError:
        return None


def as_settings(changes: dict[str, Any]) -> str:
    """The changes as options of the command line."""
    return " ".join(f"--set {key}={value}" for key, value in changes.items())


def _candidates(config: RunConfig, lengths: Lengths) -> Iterator[dict[str, Any]]:
    """Changes to try, each larger than those before it."""
    parts = [n for n in range(config.gradient_accumulation, config.batch_size + 1) if config.batch_size % n == 0]
    most: dict[str, Any] = {"gradient_accumulation": parts[-1]} if parts[-1] != config.gradient_accumulation else {}
    yield from ({"gradient_accumulation": n} for n in parts[1:])
    if config.quantization != "nf4":
        yield {"quantization": "nf4"}
        yield from ({"quantization": "nf4", "gradient_accumulation": n} for n in parts[1:])
        most = {"quantization": "nf4"} | most
    length = min(lengths.longest, config.max_length) // 2
    while length >= _SHORTEST:
        yield most | {"max_length": length}
        length //= 2
