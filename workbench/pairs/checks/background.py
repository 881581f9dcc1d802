"""Checks a data set in a process of its own, so that neither keys nor the memory of the screen feel it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.pairs.checks.findings import Finding, Report, finding_from
from workbench.pairs.checks.token_lengths import TokenLengths
from workbench.pairs.checks.watch import CancelledError, Progress

_LOOKED = 0.03


def check_file(
    path: Path,
    *,
    model: str | None = None,
    max_length: int = 1024,
    leave_out: Collection[str] = (),
    progress: Progress = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
    found: Callable[[Finding], None] = lambda _: None,
) -> Report:
    """What `run_checks` says of a data set as it is on disk, acknowledged edits included; blocks: call it in a thread.

    `progress` and `found` are called from that thread. Raises `CancelledError` within a moment after `cancelled` says
    so, and `WorkbenchError` where the data set or the model cannot be read.
    """
    asked = {"path": str(path.resolve()), "model": model, "max_length": max_length, "leave_out": sorted(leave_out)}
    findings: dict[str, Finding] = {}
    tokens: TokenLengths | None = None
    report: Report | None = None
    ended = threading.Event()
    with (
        tempfile.TemporaryFile() as told,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "workbench.pairs.checks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        guard = threading.Thread(target=_kill_when, args=(process, cancelled, ended), daemon=True)
        guard.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asked))
                process.stdin.close()
            for line in process.stdout:
                ((kind, value),) = json.loads(line).items()
                match kind:
                    case "progress":
                        progress(*value)
                    case "finding":
                        finding = finding_from(value)
                        findings[finding.check] = finding
                        found(finding)
                    case "error":
                        raise WorkbenchError(*value)
                    case "tokens":
                        tokens = TokenLengths.from_json(value)
                    case "report":
                        found_all = tuple(findings[name] for name in value["findings"])
                        report = Report(**{**value, "findings": found_all, "tokens": tokens})
        except BaseException:
            _kill(process)
            raise
        finally:
            ended.set()
        process.wait()
        told.seek(0)
        last = told.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    if report is None:
        if cancelled():
            raise CancelledError
        raise WorkbenchError(
            "The checks ended too early", f"{path.name}: {last or 'their process was ended'}", "Run them again."
        )
    return report


def _kill_when(process: subprocess.Popen[str], cancelled: Callable[[], bool], ended: threading.Event) -> None:
    while not ended.wait(_LOOKED):
        if cancelled():
            _kill(process)
            return


def _kill(process: subprocess.Popen[str]) -> None:
    """Ends the process and those that it started."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
