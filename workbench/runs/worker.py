"""process.json: which process is a run's worker, and whether that process is still there."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from typing import Any

from workbench.runs import process_identity
from workbench.runs.folder import RunFolder


def record(folder: RunFolder, pid: int) -> None:
    """Writes down which process is the worker, when it was started, and how much had been told before it.

    Does nothing where there is no such process. Raises `OSError` where the disk refuses.
    """
    start = process_identity.start_of(pid)
    if start is not None:
        _write(folder, {"pid": pid, "start": start, "host": platform.node(), "events": events_size(folder)})


def record_end(folder: RunFolder, pid: int, code: int) -> None:
    """Writes down the exit status of the worker `pid`; negative for a signal. Raises `OSError`."""
    found = recorded(folder)
    if found.get("pid") == pid:
        _write(folder, {**found, "exit": code})


def recorded(folder: RunFolder) -> dict[str, Any]:
    """What process.json says; empty where there is none, or a damaged one."""
    try:
        found = json.loads(folder.process.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def worker_pid(folder: RunFolder) -> int | None:
    """The PID of the run's worker, None where it is not there."""
    found = recorded(folder)
    return int(found["pid"]) if process_identity.runs(found.get("pid"), found.get("start")) else None


def alive(folder: RunFolder) -> bool:
    """Whether the run's worker is there. A zombie is not."""
    return worker_pid(folder) is not None


def events_size(folder: RunFolder) -> int:
    """Bytes told so far."""
    try:
        return folder.events.stat().st_size
    except OSError:
        return 0


def _write(folder: RunFolder, document: dict[str, Any]) -> None:
    unfinished = folder.process.with_name(f"process.{os.getpid()}.tmp")
    try:
        unfinished.write_text(json.dumps(document), "utf-8")
        unfinished.replace(folder.process)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
