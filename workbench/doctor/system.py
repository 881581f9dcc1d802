"""Memory, disk and GPUs: what there is to train with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from workbench.doctor.findings import Finding
from workbench.runs.machine import Machine, gpus
from workbench.runs.machine import look as look_at
from workbench.workspace import Workspace

_GB = 1e9
_LITTLE_MEMORY, _LITTLE_DISK, _NO_DISK = 4 * _GB, 20 * _GB, 0.5 * _GB


def look(workspace: Workspace) -> Iterator[Finding]:
    """Of the workspace and the machine now."""
    now = look_at(workspace.runs)
    yield _memory(now)
    yield _disk(now, workspace)
    yield _gpu(now)


def _memory(now: Machine) -> Finding:
    told = f"{now.memory.free / _GB:.1f} GB free of {now.memory.total / _GB:.1f}"
    if now.memory.free < _LITTLE_MEMORY:
        return Finding("memory", "warning", told, "Enough for the embedded model; end what else uses it for more.")
    return Finding("memory", "ok", told)


def _disk(now: Machine, workspace: Workspace) -> Finding:
    told = f"{now.disk_free / _GB:.1f} GB free in {workspace.root}"
    place = next(path for path in (workspace.runs, workspace.root) if path.exists())
    if not os.access(place, os.W_OK):
        return Finding("disk", "missing", f"{place} cannot be written", "Take another folder: --workspace DIR")
    if now.disk_free < _NO_DISK:
        return Finding("disk", "missing", told, "Free some: workbench trash --empty, hf cache prune")
    if now.disk_free < _LITTLE_DISK:
        return Finding("disk", "warning", told, "A model of 8 billion parameters takes 16 GB, merged another 16.")
    return Finding("disk", "ok", told)


def _gpu(now: Machine) -> Finding:
    if not gpus():
        hint = "Fine for the embedded model. For larger ones: an NVIDIA GPU with its driver."
        return Finding("GPU", "warning", "none that NVIDIA's driver tells of; models run on the CPU", hint)
    if now.gpu is None:
        told = f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')!r} hides all {len(now.gpus)}"
        return Finding("GPU", "warning", told, "Unset it, or name one: CUDA_VISIBLE_DEVICES=0")
    held = f"; process {now.gpu.holders[0].pid} has some of it" if now.gpu.holders else ""
    memory = f"{now.gpu.free / _GB:.1f} GB free of {now.gpu.total / _GB:.1f}{held}"
    return Finding("GPU", "ok", f"{now.gpu.name}, {memory}; driver {_driver()}")


def _driver() -> str:
    with suppress(Exception):  # a driver that does not tell its version
        import pynvml

        pynvml.nvmlInit()
        told = pynvml.nvmlSystemGetDriverVersion()
        return told.decode() if isinstance(told, bytes) else str(told)
    return "unknown"
