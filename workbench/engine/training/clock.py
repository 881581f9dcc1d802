"""Time that training takes. No calendar: a machine's clock may jump, this one does not."""

from __future__ import annotations

import time


class Clock:
    """Counts seconds while it runs, on from `seconds`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._counted = seconds
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Counted so far."""
        return self._counted + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def run(self) -> None:
        """Goes on counting."""
        if self._since is None:
            self._since = time.perf_counter()

    def rest(self) -> None:
        """Counts no more until it runs again."""
        self._counted, self._since = self.seconds, None
