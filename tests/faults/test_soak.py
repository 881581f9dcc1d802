"""The screens for half an hour beside a run that trains: nothing piles up, and nothing is left behind.

`SOAK_MINUTES=3` takes another time; `FAULTS` counts for it as for every other.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
import pytest

from tests.bench.terminal import Terminal
from tests.end_to_end.conftest import write_pairs
from tests.faults.table import FaultTable, times
from tests.tui.runs_data import trained
from workbench.config import build_config
from workbench.launch import launch
from workbench.runs import process
from workbench.workspace import Workspace

MINUTES = float(os.environ.get("SOAK_MINUTES", times(30)))
WARM_UP = 60.0
"""Seconds until all has been shown once, and what is kept for good is there."""
GROWTH = 5.0
"""Megabytes that may be added in all the time after that."""
ESC, PALETTE = "\x1b", "\x10"
ROUND = [
    *("2", "j", "k", "\r", "]", "[", "z", ESC, "x", "y", "l", "l", "s", "s", ESC, ESC, "h", ESC, "i", ESC, "t", ESC),
    *("1", "j", "j", "k", "a", "u", "x", "u", "/", "refund", "\r", ESC, ESC, "t", ESC, "e", ESC, "f", ESC, "S", ESC),
    *("1", "2", "1", "2", "1", "c", ESC, "w", ESC, "i", ESC, "?", ESC, PALETTE, "zoom", ESC, ESC, "3", "?", ESC, "1"),
]
"""Every screen and most dialogs; nothing that is still there once the round is over."""
PACE = 0.25
"""Seconds between two keys."""


@dataclass(frozen=True)
class Held:
    """What the process has at one moment."""

    at: float
    megabytes: float
    descriptors: int
    threads: int
    children: int


def held(screens: psutil.Process, began: float) -> Held:
    """Of memory that is its own alone: pages of files come and go."""
    status = Path(f"/proc/{screens.pid}/status").read_text()
    own = int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))) / 1e3
    return Held(time.monotonic() - began, own, screens.num_fds(), screens.num_threads(), len(screens.children()))


@pytest.mark.timeout(60 * MINUTES + 600)
def test_half_an_hour_leaves_nothing_behind(
    faults: FaultTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("WORKBENCH_STATE", str(tmp_path / "state"))
    workspace = Workspace(tmp_path / "workspace")
    write_pairs(workspace.pairs_file("support"), 1500)
    for age, method in enumerate(("dpo", "reward")):
        trained(workspace.root, "support", method, age=age)
    settings = {"pairs": ["support"], "max_steps": 100_000, "batch_size": 256, "gradient_accumulation": 8}
    run = launch(workspace, build_config({**settings, "save_steps": 50, "eval_steps": 100}))
    while run.state().step < 2:  # What draws its charts comes with its first steps.
        assert process.alive(run), process.last_words(run)
        time.sleep(0.5)
    samples: list[Held] = []
    with faults.attempt("half an hour at the screens"), Terminal(workspace.root) as terminal:
        try:
            terminal.read_until("Keys", 120)
            began = time.monotonic()
            while (elapsed := time.monotonic() - began) < 60 * MINUTES or len(samples) < 6:
                for key in ROUND:
                    terminal.press(key)
                    terminal.count(PACE)
                terminal.count(2.0)
                samples.append(held(terminal.process, began))
                print(samples[-1], flush=True)
                assert terminal.runs
                assert elapsed < 60 * MINUTES + 300
            steps = run.state().step
            helpers = terminal.process.children(recursive=True)
            for key in (ESC, ESC, "1"):
                terminal.press(key)
                terminal.count(1.0)
            terminal.press("q")
            deadline = time.monotonic() + 120
            while terminal.runs:
                assert time.monotonic() < deadline, "q did not end the screens"
                with contextlib.suppress(OSError):  # Linux says EIO when the other end is closed.
                    terminal.count(0.2)
            _, left = psutil.wait_procs([each for each in helpers if each.pid != process.worker_pid(run)], 10)
            assert left == []
            assert process.alive(run)  # closing the screens stops no run
        finally:
            process.kill(run)
        warm = next((each for each in samples if each.at >= WARM_UP), samples[len(samples) // 2])
        growth = median(each.megabytes for each in samples[-3:]) - warm.megabytes
        last = samples[-1]
        figures = f"{last.at / 60:.0f} min, {len(samples)} rounds of {len(ROUND)} keys beside {steps:,} steps: "
        figures += f"{warm.megabytes:.1f} MB after {warm.at:.0f} s, {growth:+.1f} MB since"
        # Pools of threads are filled as they are needed, up to a limit: more in the second half is more each time.
        first, second = samples[: len(samples) // 2], samples[len(samples) // 2 :]
        most = {
            what: tuple(max(getattr(each, what) for each in some) for some in (first, second))
            for what in ("descriptors", "threads", "children")
        }
        figures += "".join(
            f"; {what} {before} at most in the first half, {after} in the second"
            for what, (before, after) in most.items()
        )
        faults.measured("soak", figures)
        assert growth < GROWTH, figures
        assert all(after <= before for before, after in most.values()), figures
        assert not list(temporary.rglob("*"))
        assert not [path for end in ("*.tmp", "*.part") for path in workspace.root.rglob(end)]
        assert not list(workspace.errors.glob("*"))
