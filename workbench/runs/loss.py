"""Why a worker went away without a last word, as far as its traces tell."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from workbench.child import exit_in_words
from workbench.runs import process_identity
from workbench.runs.folder import RunFolder
from workbench.runs.requests import stop_grace
from workbench.runs.worker import recorded

_TAIL = 16 * 1024
_NO_SPACE = 1024 * 1024
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_WATCHDOG = "Timeout ("
"""How the traceback begins that the worker's watchdog leaves in the log."""


def cause_of_loss(folder: RunFolder) -> str:
    """Why a lost run is most likely lost, in a sentence or two."""
    if not folder.path.is_dir():
        return "The run's folder was deleted or moved while its worker ran."
    found = recorded(folder)
    code = found.get("exit")
    if code in _KILLED:
        return f"The worker {exit_in_words(code)}."
    if folder.stop.exists() and code in (None, 1) and _WATCHDOG in tail(folder.log):
        return f"The worker did not stop within {stop_grace(folder)} s of being asked, and was ended."
    if (full := _full(folder.path)) is not None:
        return f"{full}: the worker could not go on, nor say so. Free some space, then resume."
    if isinstance(code, int):
        return f"The worker {exit_in_words(code)}, without a last event."
    start, host = found.get("start"), found.get("host")
    if isinstance(host, str) and host != os.uname().nodename:
        return f"The worker was started on another machine ({host}); from here nobody can see whether it runs."
    if isinstance(start, str) and start and process_identity.boot_id() not in ("", start.split(" ")[0]):
        return "The machine was restarted while the run went on."
    return "The worker is gone without a last event: it was killed, often because memory ran out."


def last_words(folder: RunFolder, lines: int = 12) -> list[str]:
    """The last lines of the worker's log, blank ones left out. Untrusted: make them safe before they are shown."""
    return [line for line in tail(folder.log).replace("\r", "\n").split("\n") if line.strip()][-lines:]


def tail(path: Path) -> str:
    """The end of a file as text; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _full(path: Path) -> str | None:
    try:
        disk = os.statvfs(path)
    except OSError:
        return None
    if disk.f_bavail * disk.f_frsize < _NO_SPACE:
        return f"The disk of {path} is full"
    return f"The disk of {path} has no room for another file" if disk.f_files and not disk.f_favail else None
