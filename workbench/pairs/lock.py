"""One workbench edits a data set at a time; who that is can be read by all others."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock: a process on a machine, since when (seconds since 1970)."""

    host: str
    pid: int
    since: float

    def __str__(self) -> str:
        where = "" if self.host == socket.gethostname() else f" on {self.host}"
        return f"process {self.pid}{where}, since {time.strftime('%H:%M on %d %b', time.localtime(self.since))}"


class Lock:
    """A lock that the system takes back when its process ends, however it ends: a stale one cannot be.

    What the file says about its owner is for people; the lock is the system's (flock), not the file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Lock | Owner | None:
        """The lock, or who holds it (None: one who did not write down who they are). Raises OSError."""
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                return _owner(os.pread(descriptor, 4096, 0))
            finally:
                os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        # A full disk must not keep anyone from reading: who holds the lock is then told less well.
        with contextlib.suppress(OSError):
            mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(mine).encode() + b"\n", 0)
        return cls(descriptor)

    def release(self) -> None:
        """Lets others take it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.release()


def _owner(content: bytes) -> Owner | None:
    try:
        value = json.loads(content)
        return Owner(str(value["host"]), int(value["pid"]), float(value["since"]))
    except (ValueError, KeyError, TypeError):
        return None
