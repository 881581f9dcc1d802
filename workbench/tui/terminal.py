"""The terminal that the screens are drawn on, which may vanish: then the app ends, with everything saved.

Where SIGHUP is ignored, as under `nohup`, nothing else ends it. Textual's driver then reads the end of its input again
and again, as fast as it can, and its writer ends at the first error, after which the app waits for it for ever.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver

_LOOK = 500
"""Milliseconds between two looks at whether the app itself is ending; a terminal that vanishes is seen at once."""


class TerminalDriver(LinuxDriver):
    """Textual's driver, but for a terminal that vanishes."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._file: IO[str] = _Bearing(self._file)  # type: ignore[assignment]

    def _get_terminal_size(self) -> tuple[int, int]:
        """The terminal's size now, whatever COLUMNS and LINES say: exported by a shell, they stay as they were."""
        with suppress(OSError):
            width, height = os.get_terminal_size(self.fileno)
            if width and height:
                return width, height
        return super()._get_terminal_size()

    def run_input_thread(self) -> None:
        """Reads keys until the app ends, or the terminal is not there any more."""
        if self.input_tty:
            threading.Thread(target=self._watch, daemon=True, name="terminal").start()
        with suppress(OSError):
            super().run_input_thread()

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self.fileno, 0)
        while not self.exit_event.is_set():
            if poll.poll(_LOOK):
                self.exit_event.set()
                self._app.call_later(self._app.exit)
                return


class _Bearing:
    """A stream that bears what is written to a terminal that is gone."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, where anybody is there to see it."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes, the same way."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
