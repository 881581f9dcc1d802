"""Ends a worker that does not stop: once asked, it has a grace time, whatever it hangs in."""

from __future__ import annotations

import faulthandler
import select
import signal
import socket
import threading
from contextlib import suppress

from workbench.engine.asked import Asked
from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder
from workbench.runs.requests import request_stop

_PACE = 0.25
"""Seconds between two looks at the stop file."""


def watch(folder: RunFolder, asked: Asked, grace: float) -> None:
    """Starts to watch, for as long as this process lives. SIGTERM and SIGINT become a stop.

    For the main thread. `grace` seconds after a stop was asked for, tracebacks go to stderr and the process ends with
    status 1, by a thread that needs nothing of the interpreter.
    """
    # A handler in Python waits for the main thread to come out of the library it is in; the wakeup descriptor does not.
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)  # As the interpreter demands.
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.tell_stop())
    arguments = (folder, asked, grace, ours, theirs)
    threading.Thread(target=_watch, args=arguments, name="watchdog", daemon=True).start()


def _watch(folder: RunFolder, asked: Asked, grace: float, ours: socket.socket, _kept_open: socket.socket) -> None:
    while not folder.stop.exists():
        if select.select([ours], [], [], _PACE)[0] and ours.recv(64):
            asked.tell_stop()
            with suppress(WorkbenchError):  # The file tells the screens; this process knows already.
                request_stop(folder)
            break
    faulthandler.dump_traceback_later(grace, exit=True)
