"""The workbench in a real tmux, as over SSH: keys go in, what a person would see comes out."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import pytest

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed (.ci/run installs it)")


class Tmux:
    """A tmux server of its own with one window that runs the screens. Ends with the block."""

    def __init__(
        self,
        workspace: Path,
        *arguments: str,
        size: tuple[int, int] = (80, 24),
        environment: Mapping[str, str] = MappingProxyType({"COLORTERM": "truecolor"}),
    ) -> None:
        self._socket = str(workspace / "tmux.socket")
        command = [sys.executable, "-m", "workbench", "--workspace", str(workspace), *arguments]
        self._tmux(
            "-f/dev/null",
            *("new-session", "-d", "-x", str(size[0]), "-y", str(size[1])),
            shlex.join(["exec", "env", *(f"{name}={value}" for name, value in environment.items()), *command]),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tmux("kill-server", check=False)

    @property
    def pid(self) -> int:
        """The process of the screens."""
        return int(self._tmux("display-message", "-p", "#{pane_pid}"))

    def press(self, *keys: str) -> None:
        """Presses keys, by tmux's names for them (Space, Escape, Enter, C-s …)."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Types a text as it is."""
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p")

    def styled_screen(self) -> str:
        """What is on the screen, with the escape sequences of its colours and styles."""
        return self._tmux("capture-pane", "-p", "-e")

    @contextmanager
    def attached(self, size: tuple[int, int]) -> Iterator[None]:
        """Attaches a terminal of this size, from which `press` types, and detaches it as the block ends."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        environment = _outside() | {"TERM": "xterm-256color"}
        command = ["tmux", "-S", self._socket, "attach-session"]
        client = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        drain = threading.Thread(target=_read_all, args=(ours,))
        drain.start()
        try:
            yield
            self._tmux("detach-client")
            client.wait(30)
        finally:
            client.kill()
            client.wait()
            drain.join()
            os.close(ours)

    def wait(self, condition: Callable[[str], bool] | str, patience: float = 30.0) -> str:
        """Waits until the screen fulfils a condition, or has a text on it, and gives it. Raises `TimeoutError`."""
        end = time.monotonic() + patience
        while True:
            seen = self.screen()
            if condition in seen if isinstance(condition, str) else condition(seen):
                return seen
            if time.monotonic() > end:
                raise TimeoutError(f"{condition!r} did not come in {patience:.0f} s:\n{seen}")
            time.sleep(0.05)

    def wait_for_the_end(self, patience: float = 30.0) -> None:
        """Waits until the program, and the window with it, is gone. Raises `TimeoutError`."""
        end = time.monotonic() + patience
        while self._tmux("list-panes", check=False):
            if time.monotonic() > end:
                raise TimeoutError(f"The program still runs after {patience:.0f} s:\n{self.screen()}")
            time.sleep(0.05)

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_outside(), timeout=30)
        if check and done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stderr}")
        return done.stdout


def _outside() -> dict[str, str]:
    """The environment, not inside the tmux that the tests may themselves run in."""
    return {name: value for name, value in os.environ.items() if name not in ("TMUX", "TMUX_PANE")}


def _read_all(terminal: int) -> None:
    with suppress(OSError):  # Linux says EIO when the other end is closed.
        while os.read(terminal, 1 << 16):
            pass
