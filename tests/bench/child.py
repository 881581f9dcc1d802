"""A process of its own for each measurement, so that its peak of memory is its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from workbench.child import ENVIRONMENT

_PACE = 0.02


@dataclass(frozen=True, slots=True)
class Done:
    """Seconds of the whole process, the most memory that it had, and what it printed."""

    seconds: float
    peak_bytes: int
    output: str


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str] = {},
    watch: Callable[[psutil.Process], None] | None = None,
    *,
    worker: bool = True,
) -> Done:
    """Runs Python with `arguments`, in the environment that workers get; or, where it is no `worker`, in the one that
    there is. `watch` may look at it, 50 times a second.

    Raises `SystemExit` with its last words.
    """
    around = {**(ENVIRONMENT if worker else {}), **os.environ, "HF_HUB_OFFLINE": "1", **environment}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=errors, env=around)
        ended, status, used = os.wait4(process.pid, os.WNOHANG if watch else 0)
        while watch and not ended:
            watch(psutil.Process(process.pid))
            time.sleep(_PACE)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(arguments[:3])} failed:\n{errors.read()[-3000:]}")
        output.seek(0)
        return Done(seconds, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024), output.read())
