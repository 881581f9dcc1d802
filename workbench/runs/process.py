"""The worker's process, seen from outside: start it, ask it to stop, and tell whether it is still there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from workbench.errors import WorkbenchError
from workbench.runs.events import decode
from workbench.runs.folder import RunFolder
from workbench.runs.state import TERMINAL, RunState, Status, fold

ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "0",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore::FutureWarning",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "warning",
    "TQDM_DISABLE": "1",
}
"""What the model libraries go by in a process of their own; what the user has set goes first.

OMP_WAIT_POLICY: threads that spin while they wait slow each other down several times as soon as anything else runs.
"""

_SAME = 2.0
"""Seconds by which two readings of one process's start may differ: the clock is adjusted now and then."""
_TAIL = 16 * 1024


def start(folder: RunFolder) -> int:
    """Starts the worker in a session of its own, so that it outlives this process and its terminal. Returns its PID.

    Raises `WorkbenchError` where it runs already or cannot be started.
    """
    if alive(folder):
        raise WorkbenchError(
            "The run has a worker already", f"{folder.id} is running.", f"Stop it first: workbench stop {folder.id}"
        )
    folder.stop.unlink(missing_ok=True)
    try:
        with folder.log.open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "workbench.engine.train", str(folder.path.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder.path,
                env={**ENVIRONMENT, **os.environ},
            )
    except OSError as error:
        raise WorkbenchError(
            "The worker could not be started", str(error), "Free memory, or see worker.log."
        ) from error
    record(folder, worker.pid)
    # Someone must wait for the child, or it stays a zombie; and only the parent learns how it ended.
    threading.Thread(target=_reap, args=(folder, worker), name=f"reap-{folder.id}", daemon=True).start()
    return worker.pid


def record(folder: RunFolder, pid: int) -> None:
    """Writes down which process is the worker, with its start time: PIDs are used again."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return
    _write(folder, {"pid": pid, "create_time": started})


def alive(folder: RunFolder) -> bool:
    """Whether the run's worker is there. A zombie is not."""
    return worker_pid(folder) is not None


def worker_pid(folder: RunFolder) -> int | None:
    """The PID of the run's worker, None where it is not there."""
    found = _read(folder)
    try:
        process = psutil.Process(int(found["pid"]))
        same = abs(process.create_time() - found["create_time"]) < _SAME
        return process.pid if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, KeyError, TypeError, ValueError):
        return None


def request_stop(folder: RunFolder) -> None:
    """Asks the worker to stop after the step it is at. Raises `WorkbenchError` where there is no worker to ask."""
    if not alive(folder):
        raise WorkbenchError("The run is not running", f"{folder.id} has no worker.", "There is nothing to stop.")
    folder.stop.touch()


def status(folder: RunFolder, state: RunState) -> Status:
    """The run's status: what its events say, unless the worker went away without a last word. Then *lost*."""
    if state.status in TERMINAL or not folder.process.exists() or alive(folder):
        return state.status
    # The worker may have ended well between the reading of `state` and the look at the process.
    latest = [event for line in _tail(folder.events).splitlines() if (event := decode(line))]
    ended = fold(latest[-1:]).status
    return ended if ended in TERMINAL else "lost"


def last_words(folder: RunFolder, lines: int = 12) -> list[str]:
    """The last lines of the worker's log, blank ones left out. Untrusted: make them safe before they are shown."""
    return [line for line in _tail(folder.log).replace("\r", "\n").split("\n") if line.strip()][-lines:]


def cause_of_loss(folder: RunFolder) -> str:
    """Why a lost run is most likely lost, in a sentence."""
    code = _read(folder).get("exit")
    if code in (-9, 137):
        return "The system killed the worker (signal 9), most likely because memory ran out."
    if isinstance(code, int) and code < 0:
        return f"The worker was ended by signal {-code}."
    if isinstance(code, int):
        return f"The worker ended with exit status {code} and no last event."
    return (
        "The worker is gone without a last event: the machine restarted, or the worker was killed (often for memory)."
    )


def _read(folder: RunFolder) -> dict[str, float]:
    try:
        found = json.loads(folder.process.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(folder: RunFolder, document: dict[str, float]) -> None:
    unfinished = folder.process.with_name(f"process.{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(document), "utf-8")
    unfinished.replace(folder.process)


def _reap(folder: RunFolder, worker: subprocess.Popen[bytes]) -> None:
    code = worker.wait()
    found = _read(folder)
    if found.get("pid") == worker.pid:
        try:
            _write(folder, {**found, "exit": code})
        except OSError:
            return  # The run was deleted meanwhile.


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
