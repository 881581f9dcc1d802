"""The screens in a pseudo-terminal, as they would be at the other end of a connection, and what comes out of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

COLUMNS, LINES = 120, 40


class Terminal:
    """A workbench on `workspace` in a terminal of 120×40. Ends it when the block ends."""

    def __init__(self, workspace: Path, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workbench", "--workspace", str(workspace), *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
            start_new_session=True,
        )
        os.close(theirs)
        self._seen = b""
        """What came after the latest mark that was waited for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    @property
    def process(self) -> psutil.Process:
        """The process of the screens."""
        return psutil.Process(self._process.pid)

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def computed(self) -> float:
        """Seconds that the process has computed."""
        spent = self.process.cpu_times()
        return float(spent.user + spent.system)

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self._ours, keys.encode())

    def read_until(self, mark: str, patience: float = 30.0) -> float:
        """Seconds until `mark` was painted. Raises `TimeoutError` with what was painted instead."""
        began = time.perf_counter()
        while mark.encode() not in self._seen:
            left = began + patience - time.perf_counter()
            if left <= 0 or not select.select([self._ours], [], [], left)[0]:
                raise TimeoutError(f"{mark!r} was not painted in {patience:.0f} s but {self._seen[-2000:]!r}")
            self._seen += os.read(self._ours, 1 << 16)
        self._seen = self._seen.partition(mark.encode())[2]
        return time.perf_counter() - began

    def repainted(self, keys: str, *, quiet: float = 0.05, patience: float = 5.0) -> float:
        """Seconds from a key until the last of what it had painted, after which nothing came for `quiet` seconds."""
        began = time.perf_counter()
        self.press(keys)
        last, left = None, patience
        while select.select([self._ours], [], [], left)[0]:
            os.read(self._ours, 1 << 16)
            last, left = time.perf_counter(), quiet
        if last is None:
            raise TimeoutError(f"{keys!r} painted nothing in {patience:.0f} s")
        return last - began

    def count(self, seconds: float) -> list[int]:
        """Bytes that come in each of so many seconds."""
        began = time.monotonic()
        counted = [0] * max(int(seconds), 1)
        while (elapsed := time.monotonic() - began) < seconds:
            if select.select([self._ours], [], [], min(0.2, seconds - elapsed))[0]:
                got = len(os.read(self._ours, 1 << 16))
                counted[min(int(time.monotonic() - began), len(counted) - 1)] += got
        return counted

    def wait(self) -> None:
        """Waits for the end of a process that was killed."""
        self._process.wait(10)

    def quit(self) -> None:
        """Presses q and waits for the end."""
        self.press("q")
        with contextlib.suppress(OSError):  # Linux says EIO when the other end is closed.
            while self._process.poll() is None and select.select([self._ours], [], [], 10)[0]:
                os.read(self._ours, 1 << 16)
        self._process.wait(10)
