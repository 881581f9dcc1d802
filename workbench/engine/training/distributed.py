"""The processes that train one run together: which one this is, and what they tell each other.

With one process, nothing here does anything. What is asked and answered between them goes through a group of its own on
the CPU (gloo), so that it disturbs no device. Every call is to be made by all processes in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch.distributed.tensor import DTensor

from workbench.engine.training.control import Control
from workbench.runs.events import Event
from workbench.runs.writer import EventWriter

_Value = TypeVar("_Value")
_PATIENCE = timedelta(hours=2)
"""Until the others give a process up that neither ends nor answers: one may write a checkpoint to a slow disk."""

_group: dist.ProcessGroup | None = None


def begin() -> None:
    """Joins the processes that a launcher started beside this one."""
    global _group
    PartialState(cpu=not torch.cuda.is_available())
    if dist.is_initialized():
        _group = dist.new_group(backend="gloo", timeout=_PATIENCE)


def finish() -> None:
    """Parts from them."""
    if dist.is_initialized():
        dist.destroy_process_group()


def count() -> int:
    """How many processes train this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def first() -> bool:
    """Whether this is the one that tells and writes."""
    return rank() == 0


def wait() -> None:
    """Until all have come here."""
    if _group is not None:
        dist.barrier(group=_group)


def first_says(asked: bool) -> bool:
    """What the first process says."""
    if _group is None:
        return asked
    answer = torch.tensor([asked])
    dist.broadcast(answer, 0, group=_group)
    return bool(answer)


def made_by_first(make: Callable[[], _Value]) -> _Value:
    """What the first process makes; the others get a copy."""
    if _group is None:
        return make()
    box = [make() if first() else None]
    dist.broadcast_object_list(box, 0, group=_group)
    return box[0]  # type: ignore[return-value]


def all_of(value: _Value) -> list[_Value]:
    """What each process gives, by rank."""
    if _group is None:
        return [value]
    values: list[_Value] = [value] * count()
    dist.all_gather_object(values, value, group=_group)
    return values


def summed(values: Mapping[str, float]) -> dict[str, float]:
    """The values of all processes, added up name by name."""
    total: dict[str, float] = {}
    for of_process in all_of(values):
        for name, value in of_process.items():
            total[name] = total.get(name, 0) + value
    return total


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process goes through alone; what it leaves on the disk is there for the others."""
    if not first():
        wait()
    yield
    if first():
        wait()


def sharded_by() -> str:
    """What shares the weights out over the processes, by the name that its users know; empty where each has them all.

    What launches the processes says so in the environment, before a model is loaded.
    """
    known = {"FSDP": "ACCELERATE_USE_FSDP", "DeepSpeed": "ACCELERATE_USE_DEEPSPEED"}
    return next((name for name, key in known.items() if os.environ.get(key, "").lower() in ("true", "1")), "")


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """A parameter's numbers, without gradient; of one that is shared out, put together, which takes all processes."""
    weight = parameter.detach()
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


class ControlOfFirst(Control):
    """What the first process is asked: so all stop, or wait, after the same step."""

    @property
    def stop(self) -> bool:
        """Whether to finish the step, save and end."""
        return first_says(super().stop)

    @property
    def pause(self) -> bool:
        """Whether to wait between two steps."""
        return first_says(super().pause)


class UnreadEvents(EventWriter):
    """For the processes whose events nobody reads: the first one tells the same."""

    def __init__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, event: Event) -> None:
        """Does nothing."""
