"""What watching a live run costs: bytes written to the terminal a second, and the share of a core that it takes.

A real run of the embedded model trains in its worker; the screens run in a pseudo-terminal of 120×40 beside it, as they
would at the other end of a connection. Run as `python -m tests.bench.screen [SECONDS] [--json]`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.terminal import COLUMNS, LINES, Terminal
from workbench.config import build_config
from workbench.runs import process
from workbench.runs.folder import RunFolder, create, to_line
from workbench.tiny.starters import build_pairs

BYTES, SLOW_BYTES, SHARE = 8 * 1024, 2 * 1024, 0.05
"""The aims: bytes a second, the same with --slow, and the share of a core."""

_SECONDS = 30.0
_SETTLED = 6.0
"""Seconds after the first picture until counting begins: what opening costs is not what watching costs."""
_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What `seconds` of watching cost. `steps` were made meanwhile; `share` is processor time over time."""

    slow: bool
    seconds: float
    steps: int
    bytes_per_second: float
    worst_second: int
    share: float

    @property
    def holds(self) -> bool:
        """Whether the aims are met."""
        return self.bytes_per_second < (SLOW_BYTES if self.slow else BYTES) and self.share < SHARE


@contextmanager
def live_run(workspace: Path) -> Iterator[RunFolder]:
    """A run on the starter pairs that goes on for as long as the block does. Raises `TimeoutError`."""
    pairs = build_pairs()["support-tone"]
    rows = [row | {"split": "holdout" if n % 8 == 0 else "train"} for n, row in enumerate(pairs)]
    config = build_config(
        {"pairs": ["starter"], "max_steps": _STEPS, "batch_size": 8, "eval_steps": 60, "save_steps": 200}, preset="demo"
    )
    folder = create(workspace / "runs", config, map(to_line, rows), {})
    process.start(folder)
    try:
        end = time.monotonic() + 120
        while folder.state().step < 3:
            if time.monotonic() > end or not process.alive(folder):
                raise TimeoutError("the run did not begin: " + "\n".join(process.last_words(folder)))
            time.sleep(0.5)
        yield folder
    finally:
        if process.alive(folder):
            process.kill(folder)


def measure(workspace: Path, run: RunFolder, seconds: float, *, slow: bool) -> Cost:
    """Watches the run for so many seconds. Raises `TimeoutError` where nothing is painted."""
    with Terminal(workspace, *(["--slow"] if slow else [])) as terminal:
        terminal.read_until("1 Pairs")
        terminal.press("2")
        terminal.read_until("pairs/s")
        terminal.count(_SETTLED)
        spent, first, began = terminal.computed, run.state().step, time.monotonic()
        counted = terminal.count(seconds)
        lasted = time.monotonic() - began
        share = (terminal.computed - spent) / lasted
        return Cost(slow, lasted, run.state().step - first, sum(counted) / lasted, max(counted, default=0), share)


def main(seconds: float = _SECONDS, *, as_json: bool = False) -> int:
    """Prints the figures; 1 where an aim is missed."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        os.environ.setdefault("WORKBENCH_STATE", str(workspace / "state"))
        for each in ("pairs", "runs"):
            (workspace / each).mkdir()
        with live_run(workspace) as run:
            costs = [measure(workspace, run, seconds, slow=slow) for slow in (False, True)]
    if as_json:
        print(json.dumps([asdict(cost) | {"holds": cost.holds} for cost in costs]))
    else:
        print(f"Watching a live run at {COLUMNS}×{LINES} for {seconds:.0f} s")
        print(f"{'':10}{'bytes/s':>10}{'worst second':>16}{'of a core':>12}{'steps/s':>10}")
        for cost in costs:
            print(
                f"{'--slow' if cost.slow else 'usual':10}{cost.bytes_per_second:10,.0f}{cost.worst_second:16,}"
                f"{cost.share:12.1%}{cost.steps / cost.seconds:10.1f}" + ("" if cost.holds else "   over the aim")
            )
    return int(not all(cost.holds for cost in costs))


if __name__ == "__main__":
    numbers = [float(word) for word in sys.argv[1:] if not word.startswith("-")]
    sys.exit(main(*numbers[:1], as_json="--json" in sys.argv))
