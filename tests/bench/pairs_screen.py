"""The Pairs screen on a data set of hh-rlhf's size, in a terminal, with a worker that trains beside it: keys, memory.

Run as `python -m tests.bench.pairs_screen [ROWS] [--json] [--alone]`; `--alone` leaves the worker out. Every figure is
taken at the terminal: from a key until the last of what it had painted has come.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.pairs import ROWS, make_file
from tests.bench.screen import live_run
from tests.bench.terminal import COLUMNS, LINES, Terminal

LIMITS = {"first screen": 600.0, "usable": 1600.0, "key to repaint, p95": 33.0, "memory (MB)": 900.0}
"""Milliseconds, but for the memory. `usable` counts from the start of the program: its first screen, then the data."""

_KEYS = 200
_GROUPS = {"moving": "jjjkjj", "judging": "axm ", "jumping": "Gg"}


_WORD = "police"


def matches(path: Path) -> str:
    """What the search line says of the rows that have `_WORD` in them."""
    from workbench.pairs.query import parse
    from workbench.pairs.store import PairStore

    with PairStore(path) as store:
        return f"{len(store.find(parse(_WORD))):,} of {len(store):,}"


def measure(workspace: Path, result: str) -> dict[str, float]:
    """Milliseconds for each kind of key, until a search says its `result`, and what the process then holds."""
    found: dict[str, float] = {}
    with Terminal(workspace) as terminal:
        found["first screen"] = 1000 * terminal.read_until("1 Pairs")
        found["usable"] = found["first screen"] + 1000 * terminal.read_until("the model will prefer")
        terminal.count(2)
        every = []
        for name, keys in _GROUPS.items():
            times = [1000 * terminal.repainted(keys[number % len(keys)]) for number in range(_KEYS // len(_GROUPS))]
            every += times
            found[f"{name}, median"], found[f"{name}, p95"] = statistics.median(times), _p95(times)
        found["key to repaint, p95"] = _p95(every)
        terminal.press("/")
        terminal.count(1)
        terminal.press(_WORD)
        found["a search, to its result"] = 1000 * terminal.read_until(result)
        terminal.press("\x1b")
        terminal.count(1)
        found["memory (MB)"] = terminal.process.memory_info().rss / 1e6
        terminal.quit()
    return found


def _p95(times: list[float]) -> float:
    return sorted(times)[int(0.95 * (len(times) - 1))]


def main(arguments: list[str]) -> int:
    """Prints the figures beside their limits; 1 where one is over."""
    rows = next((int(each) for each in arguments if each.isdigit()), ROWS)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        workspace = Path(name)
        os.environ.setdefault("WORKBENCH_STATE", str(workspace / "state"))
        for each in ("pairs", "runs"):
            (workspace / each).mkdir()
        make_file(workspace / "pairs" / "hh.jsonl", rows)
        if "--alone" not in arguments:
            stack.enter_context(live_run(workspace))
        result = matches(workspace / "pairs" / "hh.jsonl")
        measure(workspace, result)  # Fills the caches of files and of compiled modules.
        found = measure(workspace, result)
    if "--json" in arguments:
        print(json.dumps({"rows": rows, "alone": "--alone" in arguments, **found}))
    else:
        beside = "alone" if "--alone" in arguments else "a worker training beside it"
        print(f"Pairs screen: {rows:,} rows, {COLUMNS}×{LINES}, {beside}")
        for each, value in found.items():
            limit = f"   limit {LIMITS[each]:.0f}" if each in LIMITS else ""
            print(f"{each:<26}{value:>10.1f}{'   ' if 'MB' in each else ' ms'}{limit}")
    return int(any(found[each] > limit for each, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
