"""The worker's process, seen from outside: start it, end it, and tell how it is.

Everything that only tells is pure, so any number of screens may watch a run.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from workbench import child
from workbench.errors import WorkbenchError
from workbench.runs.events import Killed, decode
from workbench.runs.folder import RunFolder
from workbench.runs.lease import enqueue
from workbench.runs.loss import cause_of_loss, last_words, tail
from workbench.runs.requests import request_continue, request_pause, request_stop, seconds_to_kill
from workbench.runs.state import TERMINAL, RunState, Status, fold
from workbench.runs.worker import alive, events_size, record, record_end, recorded, worker_pid
from workbench.runs.writer import EventWriter, RunDeletedError

__all__ = [
    "alive",
    "cause_of_loss",
    "exclusive",
    "kill",
    "last_words",
    "record",
    "request_continue",
    "request_pause",
    "request_stop",
    "resume",
    "seconds_to_kill",
    "start",
    "status",
    "worker_pid",
]

WORKER = "WORKBENCH_WORKER"
"""Names, to the processes that a launcher starts, the one that waits for them: host, PID and start, as JSON."""

_PATIENCE = 10.0
"""Seconds that the system has to end a killed process."""


def start(folder: RunFolder) -> int:
    """Starts the worker in a session of its own, so that it outlives this process and its terminal. Returns its PID.

    It joins the line for the device at once. Raises `WorkbenchError` where it runs already or cannot be started.
    """
    try:
        with exclusive(folder):
            if alive(folder):
                raise WorkbenchError(
                    "The run has a worker already",
                    f"{folder.id} is running.",
                    f"Stop it first: workbench stop {folder.id}",
                )
            folder.stop.unlink(missing_ok=True)
            folder.pause.unlink(missing_ok=True)
            worker = _spawn(folder)
    except OSError as error:
        raise WorkbenchError(
            "The worker could not be started", f"{folder.path}: {error}.", "Check the disk's space and permissions."
        ) from error
    # Someone must wait for the child, or it stays a zombie; and only the parent learns how it ended.
    threading.Thread(target=_reap, args=(folder, worker), name=f"reap-{folder.id}", daemon=True).start()
    return worker.pid


def resume(folder: RunFolder) -> int:
    """Starts a worker again for a run that was stopped, failed or was lost. Returns its PID.

    The worker goes on from the last complete checkpoint. Raises `WorkbenchError` where the run has finished or runs.
    """
    if folder.state().status == "finished":
        raise WorkbenchError(
            "The run has finished", f"{folder.id} made all its steps.", "For more steps, start a new run."
        )
    return start(folder)


def kill(folder: RunFolder) -> None:
    """Ends the worker and its children by force, waits for its death, and says so in the run's events.

    Raises `WorkbenchError` where there is no worker, or the system does not let it be ended.
    """
    pid = worker_pid(folder)
    if pid is None:
        raise WorkbenchError("The run is not running", f"{folder.id} has no worker.", "There is nothing to end.")
    try:
        # Launchers give each of their processes a session, and so a group, of its own.
        below = descendants(pid)
        with suppress(ProcessLookupError):
            # A worker that someone started by hand may share its group with others.
            (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)
        end_all(below)
    except PermissionError as error:
        raise WorkbenchError(
            "The worker cannot be ended", f"Process {pid} belongs to another user.", "Ask them to stop the run."
        ) from error
    deadline = time.monotonic() + _PATIENCE
    while worker_pid(folder) == pid:
        if time.monotonic() > deadline:
            raise WorkbenchError(
                "The worker does not end",
                f"Process {pid} was killed {_PATIENCE:.0f} s ago; the system still holds it, as a driver's call can.",
                "Wait, then try again; if that does not help, restart the machine.",
            )
        time.sleep(0.02)
    _tell_killed(folder)


def descendants(pid: int) -> list[psutil.Process]:
    """The processes that `pid` and its children started, as far as they can be seen."""
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        return found
    except psutil.Error:
        return []


def end_all(processes: list[psutil.Process]) -> None:
    """Ends them by force, those that are still the same processes."""
    for each in processes:
        with suppress(psutil.Error):
            each.kill()


def environment(launched: bool) -> dict[str, str]:
    """What a worker's process gets. A launcher hands out the devices; one process by itself takes the first."""
    found = child.environment()
    if launched and "CUDA_VISIBLE_DEVICES" not in os.environ:
        del found["CUDA_VISIBLE_DEVICES"]
    return found


def status(folder: RunFolder, state: RunState) -> Status:
    """The run's status: what its events say, unless the worker went away without a last word. Then *lost*.

    A worker that was started after the last event and has told nothing yet is *queued*.
    """
    found = recorded(folder)
    if state.status in TERMINAL:
        if found.get("events") != events_size(folder):
            return state.status
        return "queued" if alive(folder) else "lost"
    if not folder.process.exists() or alive(folder):
        return state.status
    # The worker may have ended well between the reading of `state` and the look at the process.
    latest = [event for line in tail(folder.events).split("\n") if (event := decode(line))]
    ended = fold(latest[-1:]).status
    return ended if ended in TERMINAL else "lost"


@contextmanager
def exclusive(folder: RunFolder) -> Iterator[None]:
    """While one process is in here, no other starts, moves or deletes the run. Raises `OSError`."""
    place = os.open(folder.path, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _spawn(folder: RunFolder) -> subprocess.Popen[bytes]:
    with folder.log.open("ab") as log:
        worker = subprocess.Popen(
            child.python("workbench.engine.train", str(folder.path.resolve())),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder.path,
            env=environment(is_launched(folder)),
        )
    try:
        record(folder, worker.pid)
    except OSError:
        worker.kill()  # Nobody could ever find it.
        worker.wait()
        raise
    # The worker joins by itself too, and can tell why where it cannot. From here the order is that of the starts.
    with suppress(WorkbenchError):
        enqueue(folder, worker.pid)
    return worker


def is_launched(folder: RunFolder) -> bool:
    """Whether the run's worker is several processes, or may be."""
    try:
        return folder.record().config.launcher != "none"
    except WorkbenchError:
        return False  # The worker will say what is wrong with the folder.


def _tell_killed(folder: RunFolder) -> None:
    state = folder.state()
    if state.status in TERMINAL:
        return  # It came to its end before the signal did.
    saved = f"the last checkpoint is of step {state.checkpoints[-1].step}" if state.checkpoints else "nothing was saved"
    message = f"Ended by force at step {state.step}; {saved}."
    with suppress(OSError, RunDeletedError), EventWriter(folder.events) as events:
        events.write(Killed(time=time.time(), step=state.step, message=message))


def _reap(folder: RunFolder, worker: subprocess.Popen[bytes]) -> None:
    code = worker.wait()
    with suppress(OSError):  # The run was deleted meanwhile, or the disk is full.
        record_end(folder, worker.pid, code)
