"""The model libraries, tried in a process of their own (`workbench.engine.selftest`): they are slow, and may crash."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from workbench import child
from workbench.doctor.findings import Finding
from workbench.errors import WorkbenchError

_PATIENCE = 300
_INSTALL = "Install it again: pip install -c constraints.txt -e . (constraints.txt has versions that run together)"
_NAMES = ("torch", "4-bit", "training")


def look(command: Sequence[str] | None = None) -> Iterator[Finding]:
    """What the self-test finds; what it did not come to is missing, with its last words."""
    findings: list[Finding] = []

    def hear(message: child.Progress | child.Part) -> None:
        if isinstance(message, child.Part):
            findings.append(Finding(**message.value))

    command = command or child.python("workbench.engine.selftest")
    deadline = time.monotonic() + _PATIENCE
    reason = ""
    try:
        child.run(command, {}, hear, name="The self-test", cancelled=lambda: time.monotonic() > deadline)
    except child.GivenUpError:
        yield Finding("torch", "missing", f"did not answer in {_PATIENCE} s", "Restart the machine, then try again.")
        return
    except WorkbenchError as error:
        reason = error.message
    except child.UnforeseenError as error:
        reason = str(error)
    yield from findings
    left = [name for name in _NAMES if name not in {finding.name for finding in findings}]
    if left:
        yield Finding(left[0], "missing", reason or "was not tried", _INSTALL)
