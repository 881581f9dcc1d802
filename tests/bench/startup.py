"""Time from the start of the process to the first painted screen, in a pseudo-terminal.

Run as `python -m tests.bench.startup [REPEATS]`.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from workbench.pairs.pair import Message, Pair
from workbench.pairs.store import write_pairs

LIMIT = 0.8
"""Seconds within which the first screen is to be painted."""

_PAIRS = 500
_FIRST = b"1 Pairs"
_DATA = b"question 1 "


@dataclass(frozen=True, slots=True)
class Startup:
    """Seconds from the start of the process to the first screen, and to the first pairs on it.

    `processor` is the time that the process computed before the first screen: what `screen` is on an idle machine.
    """

    screen: float
    processor: float
    pairs: float


def make_workspace(folder: Path) -> None:
    """A workspace with one data set of 500 pairs."""
    pairs = [
        Pair(
            id=f"pair-{number}",
            prompt=(Message("user", f"question {number} about an order that did not come"),),
            chosen=(Message("assistant", f"I am sorry about order {number}. " * 5),),
            rejected=(Message("assistant", f"Order {number} is late. " * 6),),
        )
        for number in range(1, _PAIRS + 1)
    ]
    write_pairs(folder / "pairs" / "bench.jsonl", pairs)


def measure(workspace: Path, *, patience: float = 30.0) -> Startup:
    """Starts the screens on `workspace`, waits for the first paint, quits. Raises `TimeoutError`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "--workspace", str(workspace)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    painted: dict[bytes, float] = {}
    processor = 0.0
    seen = b""
    try:
        while len(painted) < 2:
            left = begin + patience - time.perf_counter()
            if left <= 0 or not select.select([ours], [], [], left)[0]:
                raise TimeoutError(f"nothing painted in {patience:.0f} s; the terminal got {seen[-2000:]!r}")
            seen += os.read(ours, 1 << 16)
            for mark in (_FIRST, _DATA):
                if mark in seen and mark not in painted:
                    painted[mark] = time.perf_counter() - begin
                    spent = psutil.Process(process.pid).cpu_times()
                    processor = processor or spent.user + spent.system
        os.write(ours, b"q")
        while process.poll() is None and select.select([ours], [], [], 10)[0]:
            try:
                os.read(ours, 1 << 16)
            except OSError:  # Linux says EIO when the other end is closed.
                break
        process.wait(10)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Startup(painted[_FIRST], processor, painted[_DATA])


def main(repeats: int = 7) -> int:
    """Prints the figures; 1 where the median of the first screen is over the limit."""
    with tempfile.TemporaryDirectory() as folder:
        make_workspace(Path(folder))
        measure(Path(folder))  # Fills the caches of files and of compiled modules.
        found = [measure(Path(folder)) for _ in range(repeats)]
    screens, pairs = [each.screen for each in found], [each.pairs for each in found]
    processor = [each.processor for each in found]
    for name, values in (
        ("first screen", screens),
        ("of that, processor", processor),
        (f"first of {_PAIRS} pairs", pairs),
    ):
        middle = statistics.median(values)
        print(f"{name:<20} median {middle:.2f} s   best {min(values):.2f} s   worst {max(values):.2f} s")
    return int(statistics.median(screens) > LIMIT)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
