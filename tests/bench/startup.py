"""Time from the start of the process to the first painted screen, in a pseudo-terminal.

Run as `python -m tests.bench.startup [REPEATS]`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.terminal import Terminal
from workbench.pairs.pair import Message, Pair
from workbench.pairs.store import write_pairs

LIMIT = 0.6
"""Seconds within which the first screen is to be painted."""

_PAIRS = 500
_FIRST = "1 Pairs"
_DATA = "question 1 "


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
    with Terminal(workspace) as terminal:
        screen = terminal.read_until(_FIRST, patience)
        processor = terminal.computed
        pairs = screen + terminal.read_until(_DATA, patience)
        terminal.quit()
    return Startup(screen, processor, pairs)


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
