"""A worker of several processes, seen by the one that waits: starts the launcher, ends what hangs, tells what failed.

It has the run's turn on the devices and its place in process.json. The processes below it train (`engine.rank`); the
first of them writes the events, up to the last one where all goes well.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time

from workbench.console import say
from workbench.engine.training.control import Control
from workbench.runs import launchers, process_identity
from workbench.runs.events import Failed
from workbench.runs.folder import RunFolder
from workbench.runs.lease import CPU, devices
from workbench.runs.process import WORKER, descendants, end_all, last_words
from workbench.runs.state import TERMINAL

_PACE = 0.2
_MERCY = 20.0
"""Seconds that the other processes have once one has failed: launchers end them at once, but not all do."""


def supervise(folder: RunFolder, control: Control) -> Failed | None:
    """Runs the processes to their end. None where the run has its last event, else what to say instead.

    Raises `WorkbenchError` where the launcher's settings cannot be used, `RunDeletedError` where the folder is gone.
    """
    config = folder.record().config
    command = launchers.command(config, launchers.rank_command(folder.path))
    launchers.forget_notes(folder)
    before = folder.events.stat().st_size
    say(" ".join(["Starts", *command]))
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=_environment(config.processes))
    except OSError as error:
        return Failed(
            time=time.time(),
            title="The launcher could not be started",
            message=f"{command[0]}: {error.strerror}.",
            hint="Check launcher_command, and that the program is on PATH.",
        )
    try:
        _await(folder, control, process)
    finally:
        end_all(descendants(os.getpid()))
        process.wait()
    if folder.events.stat().st_size > before and folder.state().status in TERMINAL:
        return None
    words = last_words(folder, 1)
    return launchers.failure(launchers.notes(folder), process.returncode, words[0] if words else "", folder.id)


def _await(folder: RunFolder, control: Control, process: subprocess.Popen[bytes]) -> None:
    failed = None
    while process.poll() is None:
        control.check_run_exists()
        if failed is None and any(note.end == "failed" for note in launchers.notes(folder)):
            failed = time.monotonic()
        if failed is not None and time.monotonic() - failed > _MERCY:
            return
        time.sleep(_PACE)


def _environment(processes: int) -> dict[str, str]:
    me = {"host": platform.node(), "pid": os.getpid(), "start": process_identity.start_of(os.getpid())}
    environment = {**os.environ, WORKER: json.dumps(me)}
    if devices(1) == [CPU]:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment.setdefault("OMP_NUM_THREADS", str(launchers.threads(cores, processes)))
    return environment
