"""What this machine has left for a run: memory, GPUs with whoever holds them, disk. Only looks; touches no process."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from workbench.memory_kills import GROUPS, OWN_GROUP, control_groups

FIRST_GPU = "0"
"""The GPU that workers are given where the user says nothing; as in `child.ENVIRONMENT`."""
_OURS = "workbench.engine."
"""What the command lines of our own workers, scorers and measurements have in them."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `free` can be had without swapping and within the limit of the container; `ours` our workers hold."""

    total: int
    free: int
    ours: int = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """A process with memory on a GPU. `name` is untrusted, and empty where the process cannot be seen from here."""

    pid: int
    name: str
    bytes: int
    ours: bool


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its driver tells. Bytes; `utilization` from 0 to 1, None where it is not told."""

    index: int
    name: str
    total: int
    free: int
    utilization: float | None
    holders: tuple[Holder, ...]

    @property
    def ours(self) -> int:
        """Bytes that our own processes hold: a run that waits for its turn will have them."""
        return sum(holder.bytes for holder in self.holders if holder.ours)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine at one moment. `gpu` is the one that a worker started now would train on; None: the CPU."""

    memory: Memory
    gpus: tuple[Gpu, ...]
    gpu: Gpu | None
    disk_free: int

    @property
    def device(self) -> str:
        """What a run would train on, in words."""
        return self.gpu.name if self.gpu else "CPU"

    @property
    def free(self) -> int:
        """Bytes that a run could have on its device once our own runs before it have ended."""
        return self.gpu.free + self.gpu.ours if self.gpu else self.memory.free + self.memory.ours


class LoadWatch:
    """How much else runs on this machine, from when it is made on. `cores` are those that this process may use."""

    def __init__(self) -> None:
        self.cores = _cores()
        self._before, self._began, self._own = os.getloadavg()[0], time.monotonic(), time.process_time()

    def others(self) -> float:
        """Processes that ran or waited for a core, on average over the last minute, but for this one's threads; the
        more of now and then, since a number that was measured beside others holds for neither time alone."""
        seconds = time.monotonic() - self._began
        return others_load(self._before, os.getloadavg()[0], time.process_time() - self._own, seconds)


def others_load(before: float, after: float, own_seconds: float, seconds: float) -> float:
    """What the load average was of others: `before` this process worked, and `after` it used cores for `own_seconds` in
    `seconds`. In the kernel's average of a minute, what is new since t seconds weighs 1 - exp(-t / 60)."""
    own = own_seconds / max(seconds, 1e-9) * (1 - math.exp(-seconds / 60))
    return max(before, after - own, 0.0)


def _cores() -> int:
    with suppress(AttributeError):  # Not every system has it.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def look(path: Path) -> Machine:
    """The machine now, and the free disk of the file system that `path` is on, or will be."""
    all_gpus = gpus()
    return Machine(memory(), all_gpus, _chosen(all_gpus), disk_free(path))


def disk_free(path: Path) -> int:
    """Bytes that this user can write below `path`, which need not exist yet."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def memory(root: Path = GROUPS, own: Path = OWN_GROUP) -> Memory:
    """Main memory. Where a control group limits this process, what is left within that limit counts."""
    total, free = _total_and_free(root, own)
    return Memory(total, free, min(_ours(), max(0, total - free)))


def total_memory() -> int:
    """The bytes of main memory that there are for this process, free or not."""
    return _total_and_free(GROUPS, OWN_GROUP)[0]


def _total_and_free(root: Path, own: Path) -> tuple[int, int]:
    whole = psutil.virtual_memory()
    total, free = int(whole.total), int(whole.available)
    for limit, used in _limits(root, own):
        if limit < total:
            total, free = limit, min(free, max(0, limit - used))
    return total, free


def gpus() -> tuple[Gpu, ...]:
    """All GPUs that NVIDIA's driver knows of; none where there is no driver, or none that answers."""
    try:
        with driver() as nvml:
            return tuple(_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except Exception:  # A missing or broken driver, whatever it says, is no GPU.
        return ()


@contextmanager
def driver() -> Iterator[Any]:
    """The library of NVIDIA's driver, to be asked in the block. It raises whatever it likes where there is none."""
    import pynvml

    pynvml.nvmlInit()
    try:
        yield pynvml
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    room = nvml.nvmlDeviceGetMemoryInfo(handle)
    name = nvml.nvmlDeviceGetName(handle)
    busy = _answer(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
    held: dict[int, int] = {}
    for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        for process in _answer(nvml, partial(ask, handle)) or ():
            held[process.pid] = max(held.get(process.pid, 0), int(process.usedGpuMemory or 0))
    holders = sorted((_holder(pid, size) for pid, size in held.items()), key=lambda process: -process.bytes)
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return Gpu(index, text, int(room.total), int(room.free), busy, tuple(holders))


def _answer(nvml: Any, ask: Callable[[], Any]) -> Any:
    """What a question to the driver gives; None where this GPU does not answer it."""
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _holder(pid: int, size: int) -> Holder:
    try:
        process = psutil.Process(pid)
        return Holder(pid, process.name(), size, _is_ours(process.cmdline()))
    except psutil.Error:
        return Holder(pid, "", size, ours=False)


def _chosen(gpus: tuple[Gpu, ...]) -> Gpu | None:
    """The first GPU that CUDA_VISIBLE_DEVICES leaves."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", FIRST_GPU).split(",")[0].strip()
    if not first.isdecimal():
        # An UUID, or MIG: which one is not told by an index. An empty value or -1 hides them all.
        return gpus[0] if gpus and first.startswith(("GPU-", "MIG-")) else None
    return next((gpu for gpu in gpus if gpu.index == int(first)), None)


def _is_ours(command: list[str]) -> bool:
    return any(part.startswith(_OURS) for part in command)


def _ours() -> int:
    """Bytes of main memory that our own workers and scorers hold."""
    held = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if _is_ours(process.cmdline()):
                held += process.memory_info().rss
    return held


def _limits(root: Path, own: Path) -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of every control group around this process, under version 1 or 2."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    for version, group in control_groups(root, own):
        with suppress(OSError, ValueError):
            yield _limit(group, *names[version])


def _limit(group: Path, most: str, used: str, cached: str) -> tuple[int, int]:
    """Raises `ValueError` where there is no limit ("max")."""
    limit, use = int((group / most).read_text()), int((group / used).read_text())
    for line in (group / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == cached:
            use -= int(value)
    return limit, max(0, use)
