"""What one may ask of a worker from outside: to stop, to wait, to go on. A file each, which the worker looks for."""

from __future__ import annotations

import time
from contextlib import suppress

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.runs import process_identity
from workbench.runs.folder import RunFolder
from workbench.runs.worker import alive


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
            f"Let others go first: workbench move {folder.id} --down",
        )
    try:
        folder.pause.touch()
    except OSError as error:
        raise _refused(folder, error) from error


def request_continue(folder: RunFolder) -> None:
    """Lets a paused worker go on. Raises `WorkbenchError` where there is none."""
    _need_worker(folder, f"To start it again: workbench resume {folder.id}")
    try:
        folder.pause.unlink()
    except FileNotFoundError as error:
        raise WorkbenchError("The run is not paused", f"{folder.id} goes on already.") from error
    except OSError as error:
        raise _refused(folder, error) from error


def seconds_to_kill(folder: RunFolder) -> float | None:
    """Seconds that a worker which was asked to stop has left; None where none was asked, or none is there."""
    asked = _seconds_since_asked(folder)
    return max(0.0, stop_grace(folder) - asked) if asked is not None and alive(folder) else None


def stop_grace(folder: RunFolder) -> int:
    """Seconds that the run's worker has from being asked to stop to its end."""
    try:
        return folder.record().config.stop_grace
    except WorkbenchError:
        return int(RunConfig.model_fields["stop_grace"].default)


def _seconds_since_asked(folder: RunFolder) -> float | None:
    try:
        told = folder.stop.read_text("ascii", "replace").split()
        written = folder.stop.stat().st_mtime
    except OSError:
        return None
    with suppress(ValueError, IndexError):
        if told[0] == process_identity.boot_id():
            return max(0.0, time.monotonic() - float(told[1]))
    return max(0.0, time.time() - written)


def _need_worker(folder: RunFolder, hint: str) -> None:
    # A finished run has no more steps to stop after: the worker that is still there is on its way out.
    if not alive(folder) or folder.state().status == "finished":
        raise WorkbenchError("The run is not running", f"{folder.id} has no worker.", hint)


def _refused(folder: RunFolder, error: OSError) -> WorkbenchError:
    return WorkbenchError("The worker cannot be asked", f"{folder.path}: {error}.", "Check the folder's permissions.")
