"""The worker's end of events.jsonl."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

from workbench.runs.events import Event, Phase, Warned, encode


class EventWriter:
    """Appends events to a file, each whole and in one write, so that a reader never sees halves of two."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # The line that a killed worker left half-written ends here.

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.close(self._file)

    def write(self, event: Event) -> None:
        """Appends one event."""
        os.write(self._file, encode(event).encode())

    def phase(self, name: str, step: int = 0) -> None:
        """Says what happens now."""
        self.write(Phase(time=time.time(), step=step, name=name))

    def warn(self, title: str, message: str, step: int = 0) -> None:
        """Tells of something that the user should know."""
        self.write(Warned(time=time.time(), step=step, title=title, message=message))
