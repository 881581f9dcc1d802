"""Pictures of the Runs screen, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.runs_data import TIME, beginning, displaced, make_pairs, make_run, samples, training, whole_run
from tests.tui.runs_screen import drawn, shows, until
from workbench.runs.events import Failed, Stopped
from workbench.tui.app import WorkbenchApp
from workbench.workspace import Workspace

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])


@pytest.fixture
def app(tmp_path: Path) -> WorkbenchApp:
    for name in ("pairs", "runs"):
        (tmp_path / name).mkdir()
    make_pairs(tmp_path, "support-tone", 512, dropped=12)
    make_pairs(tmp_path, "verbose", 40)
    events = [*beginning(), *training(0, 41), displaced(), *samples(0, 20, 40)]
    make_run(tmp_path, "support-tone", events)
    make_run(tmp_path, "verbose", whole_run(), age=47, model="tiny", quantization="none")
    failed = Failed(
        time=TIME + 4,
        title="Out of memory",
        message="2.1 GiB more were needed.",
        hint="Lower batch_size or max_length.",
    )
    make_run(tmp_path, "support-tone", [*beginning()[:1], failed], age=99, log="loading\ntorch.OutOfMemoryError\n")
    stopped = Stopped(time=TIME + 99, step=31, seconds=20, peak_memory_bytes=2**34, changed=1)
    make_run(tmp_path, "support-tone", [*beginning(), *training(0, 31), stopped], age=1999)
    return WorkbenchApp(Workspace.find(tmp_path), watch="none")


def _after(*keys: str, text: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def run(pilot: Pilot[None]) -> None:
        await shows(pilot, "loss")
        await drawn(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await shows(pilot, text)
        await pilot.wait_for_animation()
        if not keys:
            await drawn(pilot)

    return run


@SIZES
def test_a_live_run_below_the_list(snap_compare: Any, app: WorkbenchApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=_after(text="41/100"))


def test_a_failed_run(snap_compare: Any, app: WorkbenchApp) -> None:
    assert snap_compare(app, terminal_size=(80, 24), run_before=_after("j", "j", "enter", text="OutOfMemoryError"))


def test_another_run_laid_over_and_smoothed(snap_compare: Any, app: WorkbenchApp) -> None:
    async def run_before(pilot: Pilot[None]) -> None:
        await _after("enter", "plus", "space", "enter", "y", "y", text="smoothed 0.9")(pilot)
        chart, *_ = await drawn(pilot)
        await until(pilot, lambda: chart.figure.smoothing == 0.9 and len(chart.figure.lines) == 2)
        await drawn(pilot)

    assert snap_compare(app, terminal_size=(160, 45), run_before=run_before)


def test_the_answers(snap_compare: Any, app: WorkbenchApp) -> None:
    assert snap_compare(app, terminal_size=(80, 24), run_before=_after("enter", "s", text="3 of 3"))
