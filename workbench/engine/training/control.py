"""What the user asks of a worker while it works (files in the run folder, signals), and the end of one that hangs."""

from __future__ import annotations

import faulthandler
import select
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder
from workbench.runs.process import request_stop
from workbench.runs.writer import RunDeletedError


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """Someone asked the run to stop while no step was being made."""


class Control:
    """Looks up, each time anew, what the worker is asked to do."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._told = False

    def tell_stop(self) -> None:
        """A stop that came by signal. It counts even where no file can be made."""
        self._told = True

    @property
    def stop(self) -> bool:
        """Whether to finish the step, save and end."""
        return self._told or self._folder.stop.exists()

    @property
    def pause(self) -> bool:
        """Whether to wait between two steps."""
        return self._folder.pause.exists()

    def check_stop(self) -> None:
        """Raises `StopRequested` where someone asked for it. For use where no step is being made."""
        self.check_run_exists()
        if self.stop:
            raise StopRequested

    def check_run_exists(self) -> None:
        """Raises `RunDeletedError` where the run folder is gone: nothing more is to be made there."""
        if not self._folder.run_toml.exists():
            raise RunDeletedError(str(self._folder.path))


_PACE = 0.25
"""Seconds between two looks at the stop file."""


def signal_socket(*numbers: signal.Signals, call: Callable[..., object]) -> socket.socket:
    """From now on these signals call `call`, and their numbers come through the socket. For the main thread.

    A handler in Python waits for the main thread to come out of the library it is in; the socket does not.
    """
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)  # As the interpreter demands.
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, call)
    return ours


def watch(folder: RunFolder, control: Control, grace: float) -> None:
    """Starts to watch, for as long as this process lives. SIGTERM and SIGINT become a stop.

    `grace` seconds after a stop was asked for, tracebacks go to stderr and the process ends with
    status 1, by a thread that needs nothing of the interpreter.
    """
    signals = signal_socket(signal.SIGTERM, signal.SIGINT, call=lambda *_: control.tell_stop())
    threading.Thread(target=_watch, args=(folder, control, grace, signals), name="watchdog", daemon=True).start()


def _watch(folder: RunFolder, control: Control, grace: float, signals: socket.socket) -> None:
    while not folder.stop.exists():
        if select.select([signals], [], [], _PACE)[0] and signals.recv(64):
            control.tell_stop()
            with suppress(WorkbenchError):  # The file tells the screens; this process knows already.
                request_stop(folder)
            break
    faulthandler.dump_traceback_later(grace, exit=True)
