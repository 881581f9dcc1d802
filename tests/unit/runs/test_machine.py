import math
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from workbench.runs import machine

GIB = 2**30


class NVMLError(Exception):
    pass


def driver(holders=(), busy=93):
    """What nvidia-ml-py answers on a machine with two GPUs."""
    found: Any = ModuleType("pynvml")
    found.NVMLError = NVMLError
    found.nvmlInit = found.nvmlShutdown = lambda: None
    found.nvmlDeviceGetCount = lambda: 2
    found.nvmlDeviceGetHandleByIndex = lambda index: index
    found.nvmlDeviceGetName = lambda handle: f"NVIDIA H{handle + 1}00"
    found.nvmlDeviceGetMemoryInfo = lambda _: SimpleNamespace(total=80 * GIB, free=20 * GIB)

    def utilization(_):
        if busy is None:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=busy)

    found.nvmlDeviceGetUtilizationRates = utilization
    found.nvmlDeviceGetComputeRunningProcesses = lambda handle: [] if handle else list(holders)
    found.nvmlDeviceGetGraphicsRunningProcesses = lambda _: []
    return found


def held(pid, size):
    return SimpleNamespace(pid=pid, usedGpuMemory=size)


def test_this_machine(tmp_path):
    now = machine.look(tmp_path / "not" / "yet")
    assert 0 < now.memory.free <= now.memory.total
    assert now.disk_free > 0
    assert now.free >= 0
    assert now.device == (now.gpu.name if now.gpu else "CPU")


def test_gpus_and_who_holds_them(monkeypatch, tmp_path):
    gone = 2**22 + 1
    monkeypatch.setitem(sys.modules, "pynvml", driver([held(os.getpid(), 3 * GIB), held(gone, 7 * GIB), held(1, None)]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    now = machine.look(tmp_path)
    assert [each.pid for each in now.gpu.holders] == [gone, os.getpid(), 1]
    assert now.gpu.holders[0].name == ""
    assert now.gpu.holders[1].name == psutil.Process().name()
    assert not any(each.ours for each in now.gpu.holders)
    assert (now.gpu.utilization, now.free, now.device) == (0.93, 20 * GIB, "NVIDIA H100")


def test_what_our_own_worker_holds_will_be_free(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", driver([held(os.getpid(), 3 * GIB)], busy=None))
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: ["python", "-P", "-m", "workbench.engine.train", "runs/x"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    now = machine.look(tmp_path)
    assert now.gpu.utilization is None
    assert now.free == 23 * GIB


@pytest.mark.parametrize(
    ("visible", "device"),
    [("1", "NVIDIA H200"), ("1,0", "NVIDIA H200"), ("", "CPU"), ("-1", "CPU"), ("7", "CPU"), ("GPU-ab", "NVIDIA H100")],
)
def test_the_gpu_that_a_worker_would_get(monkeypatch, tmp_path, visible, device):
    monkeypatch.setitem(sys.modules, "pynvml", driver())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.look(tmp_path).device == device


def test_no_driver_is_no_gpu(monkeypatch):
    broken = driver()

    def refuse():
        raise NVMLError("Driver/library version mismatch")

    broken.nvmlInit = refuse
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    assert machine.gpus() == ()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert machine.gpus() == ()


def group(folder, limit, used, cached, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\ntotal_inactive_file {cached}\n")


def test_a_container_limits_memory(tmp_path):
    own = tmp_path / "cgroup"
    names = ("memory.max", "memory.current")
    own.write_text("0::/outer/inner\n")
    group(tmp_path / "outer" / "inner", "max", 10, 0, names)
    group(tmp_path / "outer", 3 * 2**20, 2 * 2**20, 2**20, names)
    found = machine.memory(tmp_path, own)
    assert (found.total, found.free) == (3 * 2**20, 2 * 2**20)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    own.write_text("4:cpu,memory:/elsewhere/on/the/host\n")
    group(tmp_path / "memory", 2**20, 3 * 2**20, 0, names)
    found = machine.memory(tmp_path, own)
    assert (found.total, found.free) == (2**20, 0)
    own.unlink()
    assert machine.memory(tmp_path, own).total == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("before", "after", "own", "seconds", "others"),
    [
        (0.0, 0.0, 0.0, 10.0, 0.0),
        # Two cores busy for a minute show as 1.26 in the average of a minute: all of it is ours.
        (0.0, 2 * (1 - math.exp(-1)), 120.0, 60.0, 0.0),
        (0.0, 5 + 2 * (1 - math.exp(-1)), 120.0, 60.0, 5.0),
        (6.2, 1.0, 20.0, 10.0, 6.2),
        (0.3, 0.1, 40.0, 20.0, 0.3),
    ],
)
def test_the_load_of_others_leaves_out_what_was_ours(before, after, own, seconds, others):
    assert machine.others_load(before, after, own, seconds) == pytest.approx(others)


def test_the_load_is_watched():
    watched = machine.LoadWatch()
    assert watched.cores >= 1
    assert 0 <= watched.others() < 10_000
