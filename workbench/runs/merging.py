"""Merges a run in a process of its own (`workbench.engine.merge_worker`), which a screen can follow and end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from workbench.child import ENVIRONMENT
from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder

_PATIENCE = 10.0
"""Seconds that the process has to clean up after it is asked to end."""


class Merging:
    """One merge. All attributes but `folder` change as the process tells; `version` counts how often."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.state: Literal["none", "running", "done", "cancelled", "failed"] = "none"
        self.to: Path | None = None
        self.what, self.share = "", 0.0
        """What is done, and how much of it, from 0 to 1, where that is told."""
        self.merged: dict[str, Any] = {}
        """What `Merged.to_json` gave, once it is done."""
        self.error: WorkbenchError | None = None
        self.version = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self, to: Path, dtype: str, form: str, *, force: bool = False) -> None:
        """Starts the process; returns at once. It goes on when the screens are closed."""
        asked = {"run": str(self.folder.path.resolve()), "to": str(to), "dtype": dtype, "form": form, "force": force}
        self.state, self.to, self.what, self.share, self.error = "running", to, "starting", 0.0, None
        self.version += 1
        threading.Thread(target=self._follow, args=(asked,), name=f"merge-{self.folder.id}", daemon=True).start()

    def cancel(self) -> None:
        """Asks the process to end and to leave nothing behind; returns at once."""
        process = self._process
        if self.state == "running" and process is not None:
            self.what = "stopping"
            self.version += 1
            threading.Thread(target=_end, args=(process,), daemon=True).start()

    def _follow(self, asked: dict[str, Any]) -> None:
        with tempfile.TemporaryFile() as said:
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", "-m", "workbench.engine.merge_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
                env={**ENVIRONMENT, **os.environ},
            )
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asked))
                process.stdin.close()
            for line in process.stdout:
                self._hear(line)
            process.wait()
            said.seek(0)
            last = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        if self.state == "running":
            self.state = "cancelled" if self.what == "stopping" else "failed"
            self.error = WorkbenchError("The merge ended too early", last or "Its process was ended.", "Try again.")
        self.version += 1

    def _hear(self, line: str) -> None:
        try:
            ((kind, value),) = json.loads(line).items()
        except (ValueError, AttributeError):
            return  # A library printed something.
        if kind == "progress" and self.what != "stopping":
            self.what, self.share = value[0], value[1] or 0.0
        elif kind == "error":
            self.error, self.state = WorkbenchError(*value), "failed"
        elif kind == "merged":
            self.merged, self.state = value, "done"
        self.version += 1


def _end(process: subprocess.Popen[str]) -> None:
    for ask in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, ask)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
            return
