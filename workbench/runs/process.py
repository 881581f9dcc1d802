"""A run's worker seen from outside: which process it is, how it is started, asked and ended, how it is, why it is lost.

process.json says which process is the worker. What it is asked (to stop, to wait) is a file each, which it looks for.
Everything that only tells is pure, so any number of screens may watch a run.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from workbench import child
from workbench.child import KILLED, exit_in_words
from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.figures import size
from workbench.files import json_in, open_to_append, write_whole
from workbench.memory_kills import count_kills, evidence
from workbench.runs import process_identity
from workbench.runs.events import Killed, decode
from workbench.runs.folder import RunFolder
from workbench.runs.lease import enqueue
from workbench.runs.machine import total_memory
from workbench.runs.state import TERMINAL, RunState, Status, fold
from workbench.runs.trusting import require_own
from workbench.runs.writer import EventWriter, RunDeletedError
from workbench.text import quoted

WORKER = "WORKBENCH_WORKER"
"""Names, to the processes that a launcher starts, the one that waits for them: host, PID and start, as JSON."""

_PATIENCE = 10.0
"""Seconds that the system has to end a killed process."""
_TAIL = 16 * 1024
_NO_SPACE = 1024 * 1024
_NEAR_LIMIT = 0.9
"""The share of the memory there is, beyond which a killed worker may well have met the end of it."""
_WATCHDOG = "Timeout ("
"""How the traceback begins that the worker's watchdog leaves in the log."""


def record(folder: RunFolder, pid: int) -> None:
    """Writes down which process is the worker, when it was started, how much had been told before it, and how often
    the kernel had killed for want of memory.

    Does nothing where there is no such process. Raises `OSError` where the disk refuses.
    """
    start = process_identity.start_of(pid)
    if start is not None:
        write_whole(
            folder.process,
            json.dumps(
                {
                    "pid": pid,
                    "start": start,
                    "host": platform.node(),
                    "events": events_size(folder),
                    "kills": count_kills(),
                }
            ),
        )


def record_end(folder: RunFolder, pid: int, code: int) -> None:
    """Writes down the exit status of the worker `pid`; negative for a signal. Raises `OSError`."""
    document = recorded(folder)
    if document.get("pid") == pid:
        write_whole(folder.process, json.dumps({**document, "exit": code, "kills_after": count_kills()}))


def recorded(folder: RunFolder) -> dict[str, Any]:
    """What process.json says; empty where there is none, or a damaged one."""
    try:
        document = json_in(folder.process.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def worker_pid(folder: RunFolder) -> int | None:
    """The PID of the run's worker, None where it is not there."""
    document = recorded(folder)
    return int(document["pid"]) if process_identity.runs(document.get("pid"), document.get("start")) else None


def alive(folder: RunFolder) -> bool:
    """Whether the run's worker is there. A zombie is not."""
    return worker_pid(folder) is not None


def events_size(folder: RunFolder) -> int:
    """Bytes told so far."""
    try:
        return folder.events.stat().st_size
    except OSError:
        return 0


def start(folder: RunFolder) -> int:
    """Starts the worker in a session of its own, so that it outlives this process and its terminal. Returns its PID.

    It joins the line for the device at once. Raises `WorkbenchError` where it runs already, cannot be started, or was
    not made here.
    """
    try:
        with exclusive(folder):
            if alive(folder):
                raise WorkbenchError(
                    "The run has a worker already",
                    f"{folder.id} is running.",
                    f"Stop it first: workbench stop {quoted(folder.id)}",
                )
            require_own(folder)
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
        children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        return children
    except psutil.Error:
        return []


def end_all(processes: list[psutil.Process]) -> None:
    """Ends them by force, those that are still the same processes."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def environment(launched: bool) -> dict[str, str]:
    """What a worker's process gets. A launcher hands out the devices; one process by itself takes the first."""
    variables = child.environment()
    if launched and "CUDA_VISIBLE_DEVICES" not in os.environ:
        del variables["CUDA_VISIBLE_DEVICES"]
    return variables


def status(folder: RunFolder, state: RunState) -> Status:
    """The run's status: what its events say, unless the worker went away without a last word. Then *lost*.

    A worker that was started after the last event and has told nothing yet is *queued*.
    """
    document = recorded(folder)
    if state.status in TERMINAL:
        if document.get("events") != events_size(folder):
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
    descriptor = os.open(folder.path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _spawn(folder: RunFolder) -> subprocess.Popen[bytes]:
    with os.fdopen(open_to_append(folder.log), "ab") as log:
        worker = subprocess.Popen(
            child.python("workbench.engine.train", str(folder.path.absolute())),
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


def request_stop(folder: RunFolder) -> None:
    """Asks the worker to stop after the step it is at; one that waits for its turn ends at once.

    Asking again changes nothing. Raises `WorkbenchError` where there is no worker to ask.
    """
    _need_worker(folder, "There is nothing to stop.")
    try:
        with folder.stop.open("x", encoding="ascii") as file, suppress(OSError):
            # The grace time is counted by a clock that nobody sets. On a full disk the file stays empty.
            file.write(f"{process_identity.boot_id()} {time.monotonic()}")
            file.flush()
    except FileExistsError:
        return
    except OSError as error:
        raise _refused(folder, error) from error


def request_pause(folder: RunFolder) -> None:
    """Asks the worker to wait after the step it is at. Raises `WorkbenchError` where it cannot be asked that."""
    _need_worker(folder, "There is nothing to pause.")
    if folder.stop.exists():
        raise WorkbenchError("The run is stopping", f"{folder.id} was asked to stop.", "Resume it when it has stopped.")
    if folder.state().status == "queued":
        raise WorkbenchError(
            "The run waits already",
            f"{folder.id} has not begun: it waits for its turn.",
            f"Let others go first: workbench move {quoted(folder.id)} --down",
        )
    try:
        folder.pause.touch()
    except OSError as error:
        raise _refused(folder, error) from error


def request_continue(folder: RunFolder) -> None:
    """Lets a paused worker go on. Raises `WorkbenchError` where there is none."""
    _need_worker(folder, f"To start it again: workbench resume {quoted(folder.id)}")
    try:
        folder.pause.unlink()
    except FileNotFoundError as error:
        raise WorkbenchError("The run is not paused", f"{folder.id} goes on already.") from error
    except OSError as error:
        raise _refused(folder, error) from error


def seconds_to_kill(folder: RunFolder) -> float | None:
    """Seconds that a worker which was asked to stop has left; None where none was asked, or none is there."""
    waited = _seconds_since_asked(folder)
    return max(0.0, stop_grace(folder) - waited) if waited is not None and alive(folder) else None


def stop_grace(folder: RunFolder) -> int:
    """Seconds that the run's worker has from being asked to stop to its end."""
    try:
        return folder.record().config.stop_grace
    except WorkbenchError:
        return int(RunConfig.model_fields["stop_grace"].default)


def _seconds_since_asked(folder: RunFolder) -> float | None:
    try:
        words = folder.stop.read_text("ascii", "replace").split()
        written = folder.stop.stat().st_mtime
    except OSError:
        return None
    with suppress(ValueError, IndexError):
        if words[0] == process_identity.boot_id():
            return max(0.0, time.monotonic() - float(words[1]))
    return max(0.0, time.time() - written)


def _need_worker(folder: RunFolder, hint: str) -> None:
    # A finished run has no more steps to stop after: the worker that is still there is on its way out.
    if not alive(folder) or folder.state().status == "finished":
        raise WorkbenchError("The run is not running", f"{folder.id} has no worker.", hint)


def _refused(folder: RunFolder, error: OSError) -> WorkbenchError:
    return WorkbenchError("The worker cannot be asked", f"{folder.path}: {error}.", "Check the folder's permissions.")


def cause_of_loss(folder: RunFolder) -> str:
    """What is known of how a lost run was lost, in a sentence or two; a cause only where something speaks for it."""
    if not folder.path.is_dir():
        return "The run's folder was deleted or moved while its worker ran."
    document = recorded(folder)
    code = document.get("exit")
    if code in KILLED:
        return f"The worker {exit_in_words(code)}. {_why_killed(folder, document)}".strip()
    if folder.stop.exists() and code in (None, 1) and _WATCHDOG in tail(folder.log):
        return f"The worker did not stop within {stop_grace(folder)} s of being asked, and was ended."
    if (full := _full(folder.path)) is not None:
        return f"{full}: the worker could not go on, nor say so. Free some space, then resume."
    if isinstance(code, int):
        return f"The worker {exit_in_words(code)}, without a last event."
    start, host = document.get("start"), document.get("host")
    if isinstance(host, str) and host != os.uname().nodename:
        return f"The worker was started on another machine ({host}); from here nobody can see whether it runs."
    if isinstance(start, str) and start and process_identity.boot_id() not in ("", start.split(" ")[0]):
        return "The machine was restarted while the run went on."
    return (
        f"The worker is gone without a last event; how it ended was not seen. {_why_killed(folder, document)}".strip()
    )


def _why_killed(folder: RunFolder, document: Mapping[str, Any]) -> str:
    """A sentence on why a worker that said nothing was killed, from what the kernel and the worker have told."""
    pid, before, after = document.get("pid"), _counts(document, "kills"), _counts(document, "kills_after")
    after = after or count_kills()
    if isinstance(pid, int) and (why := evidence(pid, before, after)):
        return why
    held, total = _last_memory(folder), total_memory()
    if held > _NEAR_LIMIT * total:
        return f"Memory may have run out: it had taken up to {size(held)} of {size(total)}."
    if before.keys() & after.keys() & {"group", "machine"}:
        return "Nothing says that memory ran out: the kernel counted no such kill meanwhile."
    return ""


def _counts(document: Mapping[str, Any], name: str) -> dict[str, float]:
    counts = document.get(name)
    return counts if isinstance(counts, dict) else {}


def _last_memory(folder: RunFolder) -> int:
    """The most main memory, in bytes, that the worker said it had taken; 0 where it said nothing, or had a GPU."""
    # A lost run is looked at again and again, and its events may be many.
    state = fold(event for line in [*_head(folder.events), *tail(folder.events).split("\n")] if (event := decode(line)))
    on_cpu = state.started is not None and state.started.device.startswith("CPU")
    return state.steps[-1].memory_bytes if on_cpu and state.steps else 0


def _head(path: Path) -> list[str]:
    """The beginning of a file, in lines; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_TAIL).decode("utf-8", "replace").split("\n")
    except OSError:
        return []


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
