"""The model libraries, tried in a process of their own (`workbench.engine.selftest`): they are slow, and may crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from workbench.child import ENVIRONMENT
from workbench.doctor.findings import Finding

_PATIENCE = 300
_INSTALL = "Install it again: pip install -c constraints.txt -e . (constraints.txt has versions that run together)"
_NAMES = ("torch", "4-bit", "training")


def look(command: tuple[str, ...] = ("-P", "-m", "workbench.engine.selftest")) -> Iterator[Finding]:
    """What the self-test prints, a line each; what it did not come to is missing, with its last words."""
    told = set()
    try:
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            env={**ENVIRONMENT, **os.environ},
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield Finding("torch", "missing", f"did not answer in {_PATIENCE} s", "Restart the machine, then try again.")
        return
    for line in done.stdout.splitlines():
        try:
            finding = Finding(**json.loads(line))
        except (ValueError, TypeError):
            continue  # A library printed something.
        told.add(finding.name)
        yield finding
    left = [name for name in _NAMES if name not in told]
    if left:
        ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        last = done.stderr.strip().rpartition("\n")[2] or "without a word"
        yield Finding(left[0], "missing", f"{last} ({ended})", _INSTALL)
