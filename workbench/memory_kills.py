"""What the kernel tells of processes that it killed because memory ran out: its counters, and its log where we may read
it. A process that was killed (signal 9) says nothing itself, and whoever may signal it may have done it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_MACHINE, _LOG = Path("/proc/vmstat"), Path("/dev/kmsg")
_CLOCK_SLACK = 1.0
"""Seconds that the clock of the kernel's log and ours may differ."""


def control_groups(root: Path = GROUPS, own: Path = OWN_GROUP) -> Iterator[tuple[int, Path]]:
    """The groups around this process that account for memory, innermost first, each with the version of its interface:
    1 or 2. None where there are no such groups."""
    with suppress(OSError):
        for line in own.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number != "0" and "memory" not in controllers.split(","):
                continue
            version, top = (2, root) if number == "0" else (1, root / "memory")
            folder = top / path.lstrip("/")
            # In a container the path is often the host's, and the root is the container's own group.
            for group in [folder, *folder.parents]:
                yield version, group
                if group == top:
                    break


def count_kills(root: Path = GROUPS, own: Path = OWN_GROUP, machine: Path = _MACHINE) -> dict[str, float]:
    """How often the kernel has killed for want of memory up to now, to be given to `evidence` later.

    "group": in the innermost control group of this process that counts it, which its children share; "machine": in all;
    each left out where the kernel does not tell. "clock": now, in the kernel's seconds.
    """
    counts = {"clock": time.monotonic()}
    for version, group in control_groups(root, own):
        if (kills := _count(group / ("memory.events" if version == 2 else "memory.oom_control"))) is not None:
            counts["group"] = kills
            break
    if (kills := _count(machine)) is not None:
        counts["machine"] = kills
    return counts


def evidence(pid: int, before: Mapping[str, float], now: Mapping[str, float], log: Path = _LOG) -> str:
    """A sentence on why the killed process `pid` may have run out of memory; empty where nothing says so.

    `before` is `count_kills` of when it was started, by a process of the same control group; `now` that of its end.
    """
    counted = before.keys() & now.keys() & {"group", "machine"}
    if counted and all(now[where] <= before[where] for where in counted):
        return ""
    if "clock" in before and _logged(pid, before["clock"], log):
        return "Memory ran out: the kernel's log says that it killed the process for that."
    for where, guess in (
        ("group", "Most likely memory ran out: in its control group"),
        ("machine", "Perhaps memory ran out: on this machine"),
    ):
        if where in before and where in now:
            killed = int(now[where] - before[where])
            times = "once" if killed == 1 else f"{killed} times"
            return f"{guess} the kernel killed {times} for want of it meanwhile." if killed > 0 else ""
    return ""


def _count(path: Path) -> int | None:
    """The count under the name `oom_kill`; None where the file has none."""
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None


def _logged(pid: int, since: float, log: Path) -> bool:
    """Whether the kernel's log tells, after `since`, that this process was killed for want of memory."""
    with suppress(OSError):
        descriptor = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
        try:
            for record in _records(descriptor):
                head, _, message = record.partition(";")
                seconds = int(head.split(",")[2]) / 1e6
                if seconds >= since - _CLOCK_SLACK and f"Killed process {pid} (" in message:
                    return True
        except (ValueError, IndexError):
            return False
        finally:
            os.close(descriptor)
    return False


def _records(descriptor: int) -> Iterator[str]:
    """What is in the log now: a read gives a record, and fails at the end. Of a file, lines."""
    while True:
        try:
            record = os.read(descriptor, 1 << 16)
        except BrokenPipeError:  # The kernel wrote over what was to come next.
            continue
        except BlockingIOError:
            return
        if not record:
            return
        yield from record.decode("utf-8", "replace").splitlines()
