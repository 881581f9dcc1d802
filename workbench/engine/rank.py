"""One of the processes of a launched worker. Started by a launcher as `python -m workbench.engine.rank RUN_DIR`."""

from __future__ import annotations

import faulthandler
import fcntl
import json
import logging
import os
import platform
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.console import guarded, note
from workbench.engine.training.control import signal_socket
from workbench.errors import WorkbenchError
from workbench.runs import process_identity
from workbench.runs.events import Event, Failed
from workbench.runs.folder import RunFolder
from workbench.runs.launchers import Notes, first_process_lock, from_slurm
from workbench.runs.process import WORKER, stop_grace
from workbench.runs.writer import EventWriter, RunDeletedError

_PACE = 0.5
"""Seconds between two looks at whether the parent is there and a stop was asked for."""
_TOLD = 2.0
"""Seconds after SIGTERM in which the worker, where it got that too, makes a stop of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains a share of the run. Exit status: 0 finished or stopped, 1 failed, 2 wrong usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1 or WORKER not in os.environ:
        note("usage: python -m workbench.engine.rank RUN_DIR, started by a run's worker")
        return 2
    folder = RunFolder(Path(arguments[0]).absolute())
    os.environ.update(from_slurm(os.environ))
    notes = Notes(folder, int(os.environ.get("RANK", "0")))
    faulthandler.enable()
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    _watch(folder, notes)
    try:
        end = _share(folder)
    except WorkbenchError as error:
        note(error)
        end = Failed(time=time.time(), title=error.title, message=error.message, hint=error.hint)
    except RunDeletedError:
        return 1
    if isinstance(end, Failed):
        notes.end("failed", end)
        return 1
    notes.end("done")
    return 0


def check_sharing(environment: Mapping[str, str]) -> None:
    """Raises `WorkbenchError` where weights would be shared out in a way that could not be saved again."""
    from workbench.engine.training.distributed import sharded_by

    by = sharded_by()
    if by == "FSDP" and environment.get("FSDP_VERSION", "1") != "2":
        raise WorkbenchError(
            "FSDP's first version does not fit",
            "It wraps layers away, so that adapters cannot be told apart, answered with, or saved by name.",
            "Set fsdp_version: 2 under fsdp_config in accelerate's config, or distributed_type: MULTI_GPU.",
        )
    if by == "DeepSpeed" and environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3":
        raise WorkbenchError(
            "DeepSpeed's third stage does not fit",
            "It shares out the adapter's weights as well, which checkpoints need whole.",
            "Set zero_stage: 2 in accelerate's config, or use FSDP with fsdp_version: 2.",
        )


def _share(folder: RunFolder) -> Event:
    from workbench.engine.train import attempt
    from workbench.engine.training import distributed

    wanted = max(1, folder.record().config.processes)
    distributed.begin()
    if distributed.count() != wanted:
        raise WorkbenchError(
            "The launcher started another number of processes",
            f"{distributed.count()} found each other; processes = {wanted}.",
            "Let the launcher start as many as processes says, with torch's RANK, WORLD_SIZE and MASTER_ADDR.",
        )
    check_sharing(os.environ)
    if not distributed.first():
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as this process lives
        end = attempt(folder, distributed.UnreadEvents(), distributed.ControlOfFirst(folder))
    else:
        _only_one(folder)
        with EventWriter(folder.events) as events:
            end = attempt(folder, events, distributed.ControlOfFirst(folder))
            if not isinstance(end, Failed):
                events.write(end)
    if not isinstance(end, Failed):
        distributed.finish()  # After a failure the others may be gone, or wait for ever.
    return end


def _only_one(folder: RunFolder) -> None:
    """Keeps a second process from taking itself for the first, as where a launcher tells them nothing of each other."""
    try:
        fcntl.flock(os.open(first_process_lock(folder), os.O_RDWR | os.O_CREAT, 0o666), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise WorkbenchError(
            "The launcher's processes do not know of each other",
            "Two of them take themselves for the only one.",
            "Start them through torchrun or accelerate, or set RANK, WORLD_SIZE and MASTER_ADDR for each.",
        ) from error


def _watch(folder: RunFolder, notes: Notes) -> None:
    """Ends this process when its parent is gone, when it hangs after a stop, and on SIGTERM. For the main thread.

    A launcher passes SIGTERM on where it got one itself, and sends it when another process has failed. Of the first the
    worker knows too, and asks for a stop: then this process finishes its step and saves.
    """
    arguments = (folder, notes, json.loads(os.environ[WORKER]), signal_socket(signal.SIGTERM, call=lambda *_: None))
    threading.Thread(target=_watching, args=arguments, name="watchdog", daemon=True).start()


def _watching(folder: RunFolder, notes: Notes, parent: dict[str, Any], signals: socket.socket) -> None:
    here, armed = parent["host"] == platform.node(), False
    while True:
        if select.select([signals], [], [], _PACE)[0] and signal.SIGTERM in signals.recv(64) and not _stops(folder):
            notes.end("terminated")
            os._exit(128 + signal.SIGTERM)
        if here and not process_identity.runs(parent["pid"], parent["start"]):
            os._exit(1)
        if not armed and folder.stop.exists():
            armed = True
            faulthandler.dump_traceback_later(stop_grace(folder), exit=True)


def _stops(folder: RunFolder) -> bool:
    deadline = time.monotonic() + _TOLD
    while not folder.stop.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PACE / 10)
    return True


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
