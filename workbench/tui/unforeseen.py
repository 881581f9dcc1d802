"""What nobody foresaw: told once, and written down where the traceback can be found."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from workbench.credentials import without_secrets
from workbench.errors import WorkbenchError

_KEPT = 20
"""Traceback files in the folder; older ones are deleted."""
_QUIET = 5.0
"""Seconds for which an error must have stayed away before it is told again: a timer may meet it at every tick."""


class Unforeseen:
    """The errors of one session. `folder` need not exist; without one the temporary files are the place."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._last: dict[tuple[type[Exception], str], float] = {}

    def take(self, error: Exception, doing: str) -> WorkbenchError | None:
        """Writes the traceback down; returns what to show. None where the same error was met a moment ago."""
        frames = traceback.extract_tb(error.__traceback__)
        key = type(error), f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(error)
        now, last = time.monotonic(), self._last.get(key)
        self._last[key] = now
        if last is not None and now - last < _QUIET:
            return None
        path = write_traceback(self.folder, error, doing)
        if path is not None:
            self.written.append(path)
        return WorkbenchError(
            "An error that nobody foresaw",
            without_secrets(f"While {doing}: {type(error).__name__}: {error}"),
            f"Everything else goes on. Please report it with {path}."
            if path is not None
            else "Everything else goes on. The traceback could not be written to any disk.",
        )


def write_traceback(folder: Path | None, error: BaseException, doing: str) -> Path | None:
    """Writes the traceback into a new file in `folder`, else among the temporary files; None where neither can be.

    Rows and prompts may be in it, so it is for its owner's eyes alone.
    """
    lines = without_secrets("".join(traceback.format_exception(error)))
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{time.monotonic_ns() % 10**9:09}.txt"
    temporary = Path(tempfile.gettempdir()) / f"workbench-errors-{os.getuid()}"
    for place in (folder or temporary, temporary):
        with suppress(OSError):
            place.mkdir(0o700, parents=True, exist_ok=True)
            if place.is_symlink() or place.stat().st_uid != os.getuid():
                continue  # Somebody else's, among the temporary files of all.
            path = place / name
            path.touch(0o600, exist_ok=False)
            path.write_text(f"While {doing}\n\n{lines}", "utf-8", "backslashreplace")
            for old in sorted(place.glob("*.txt"))[:-_KEPT]:
                old.unlink(missing_ok=True)
            return path
    return None
