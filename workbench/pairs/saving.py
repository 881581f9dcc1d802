"""Writes a file some time after it was last edited, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

_BREATH = 64


class Saver:
    """Calls `save` once nothing was edited for `quiet` seconds, or `longest` after the first edit that waits."""

    def __init__(self, save: Callable[[], None], *, quiet: float, longest: float) -> None:
        self._save = save
        self._quiet, self._longest = quiet, longest
        self._condition = threading.Condition()
        self._first = self._latest = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False

    def touch(self) -> None:
        """Something was edited."""
        with self._condition:
            now = time.monotonic()
            self._first, self._latest = self._first or now, now
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="save pairs", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stops, and waits for what is being saved; what still waits is not saved any more."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._closed and (left := self._due() - time.monotonic()) > 0:
                    self._condition.wait(left)
                if self._closed or not self._first:
                    self._thread = None
                    return
                self._first = 0.0
            self._save()

    def _due(self) -> float:
        return min(self._latest + self._quiet, self._first + self._longest) if self._first else 0.0


def in_breaths(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """`chunks`, letting other threads run now and then: making many of them must not hold up the keys."""
    for number, chunk in enumerate(chunks):
        if number % _BREATH == 0:
            time.sleep(0)
        yield chunk
