"""The worker: trains the run whose folder it is given. Started as `python -m workbench.engine.train RUN_DIR`."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from workbench.config import RunConfig
from workbench.console import guarded, note, show_traceback
from workbench.engine.libraries import quick_imports
from workbench.engine.training.control import Control, watch
from workbench.engine.training.disk_faults import DiskError, disk_error_of
from workbench.engine.training.supervisor import supervise
from workbench.errors import WorkbenchError
from workbench.runs.estimate import advice
from workbench.runs.events import Event, Failed, Queued, Stopped
from workbench.runs.folder import RunFolder
from workbench.runs.lease import PACE, DeviceTurn, device, devices
from workbench.runs.process import environment, is_launched, record, stop_grace, worker_pid
from workbench.runs.trusting import require_own
from workbench.runs.writer import EventWriter, RunDeletedError
from workbench.text import quoted


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains a run, from its newest complete checkpoint where it has one, once it is its turn on the device.

    Exit status: 0 finished or stopped, 1 failed, 2 wrong usage or a run that cannot be trained.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        note("usage: python -m workbench.engine.train RUN_DIR")
        return 2
    folder = RunFolder(Path(arguments[0]).absolute())
    try:
        control = _claim(folder)
    except WorkbenchError as error:
        note(error)
        return 2
    except OSError as error:
        return _cannot_tell(folder, error)
    try:
        with EventWriter(folder.events) as events:
            end = _turn(folder, events, control)
            if end is not None:
                events.write(end)
    except RunDeletedError:
        return _gone(folder)
    except OSError as error:
        return _cannot_tell(folder, error)
    return 1 if isinstance(end, Failed) else 0


def _claim(folder: RunFolder) -> Control:
    """Makes this process the run's worker; raises `WorkbenchError` where the run has finished or has another."""
    if not folder.run_toml.is_file():
        raise WorkbenchError("Not a run", f"{folder.path} has no run.toml.", "Start runs with: workbench train")
    require_own(folder)
    if folder.state().status == "finished":
        raise WorkbenchError("The run has finished", f"{folder.id} made all its steps.", "Start a new run.")
    if worker_pid(folder) not in (None, os.getpid()):
        raise WorkbenchError("The run has a worker already", f"{folder.id} is running.", "Stop it first.")
    record(folder, os.getpid())
    faulthandler.enable()
    # It reports the want of an optional kernel as if something had failed.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    os.environ.update(environment(is_launched(folder)))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    control = Control(folder)
    watch(folder, control, stop_grace(folder))
    return control


def _turn(folder: RunFolder, events: EventWriter, control: Control) -> Event | None:
    """Waits for its devices, then trains; the run's last event, or None where a launched process has told it.

    Torch is not imported before: who waits stays small.
    """
    began = folder.state().step
    try:
        with ExitStack() as stack:
            launched = is_launched(folder)
            needed = devices(folder.record().config.processes or 1) if launched else [device()]
            turns = [stack.enter_context(DeviceTurn(folder, name)) for name in needed]
            if waits := _missing(turns):
                events.write(Queued(time=time.time(), step=began, device=waits.device))
                while _missing(turns):
                    control.check_run_exists()
                    if control.stop:
                        return Stopped(time=time.time(), step=began, seconds=0.0, peak_memory_bytes=0, changed=0.0)
                    time.sleep(PACE)
            events.phase("starting", began)
            return supervise(folder, control) if launched else attempt(folder, events, control)
    except WorkbenchError as error:
        return _failed(error)


def _missing(turns: Sequence[DeviceTurn]) -> DeviceTurn | None:
    """The first device whose turn it is not yet. One after the other, so that two workers never wait for each other."""
    return next((turn for turn in turns if not turn.poll()), None)


def attempt(folder: RunFolder, events: EventWriter, control: Control) -> Event:
    """Trains; the run's last event.

    Whatever goes wrong is told in it; what is nobody's fault, with its traceback in the log.

    Raises `RunDeletedError`.
    """
    config: RunConfig | None = None
    try:
        config = folder.record().config
        # The libraries take seconds to import, and may fail to.
        with quick_imports():
            from workbench.engine.training.job import train

        return train(folder, config, events, control)
    except RunDeletedError:
        raise
    except WorkbenchError as error:
        return _failed(error)
    except Exception as error:
        if not folder.run_toml.exists():
            raise RunDeletedError(str(folder.path)) from error
        if (disk_error := disk_error_of(error, folder)) is not None:
            return _failed(disk_error)
        with suppress(OSError):
            show_traceback(error)
        if config is not None and (told := WorkbenchError.out_of_memory(error)) is not None:
            return Failed(
                time=time.time(),
                title=told.title,
                message=told.message,
                hint=advice(config, folder.path.parent),
            )
        message = f"{type(error).__name__}: {_last_line(error)}"
        return Failed(
            time=time.time(),
            title="The worker met an error",
            message=message,
            hint=f"See the log: workbench logs {quoted(folder.id)}",
        )


def _failed(error: WorkbenchError) -> Failed:
    with suppress(OSError):
        note(error) if isinstance(error, DiskError) else show_traceback(error)
    return Failed(time=time.time(), title=error.title, message=error.message, hint=error.hint)


def _gone(folder: RunFolder) -> int:
    with suppress(OSError):
        note(f"{folder.path} is gone: nothing more to do.")
    return 1


def _cannot_tell(folder: RunFolder, error: OSError) -> int:
    """Where not even events can be written, the log is what is left."""
    if not folder.run_toml.exists():
        return _gone(folder)
    unusable = WorkbenchError("The run folder cannot be used", f"{folder.path}: {error}.")
    with suppress(OSError):
        note(disk_error_of(error, folder) or unusable)
    return 1


def _last_line(error: Exception) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "no message")


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
