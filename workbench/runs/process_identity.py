"""Which process a PID meant: PIDs are used again, and clocks jump."""

from __future__ import annotations

import functools
from pathlib import Path

import psutil

_PROC = Path("/proc")
_GONE = "ZX"


@functools.cache
def boot_id() -> str:
    """Names the time since the machine was started; empty where the system has no such name."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def start_of(pid: int) -> str | None:
    """When the process `pid` was started, as a word that no other process with this PID has; None where none runs.

    Boot and clock ticks since then where there is /proc: both stay as they are when someone sets the clock. A zombie
    does not run any more.
    """
    if pid <= 0:
        return None
    if boot_id():
        try:
            # The name of the program comes second, in brackets, and may hold anything.
            fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            return None if fields[0] in _GONE else f"{boot_id()} {fields[19]}"
        except (OSError, IndexError):
            return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except (psutil.Error, OverflowError):
        return None


def runs(pid: object, start: object) -> bool:
    """Whether the process that had this PID and start is there still. Takes whatever a file may say."""
    return type(pid) is int and isinstance(start, str) and start_of(pid) == start
