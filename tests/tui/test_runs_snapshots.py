"""Pictures of the Runs screen, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.runs_data import TIME, beginning, make_pairs, make_run, training, whole_run
from tests.tui.test_runs import shows, until
from workbench.runs.events import Failed, Stopped, Warned
from workbench.tui.app import WorkbenchApp
from workbench.tui.widgets.chart import Chart
from workbench.workspace import Workspace

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])


@pytest.fixture
def app(tmp_path: Path) -> WorkbenchApp:
    for name in ("pairs", "runs"):
        (tmp_path / name).mkdir()
    make_pairs(tmp_path, "support-tone", 512, dropped=12)
    make_pairs(tmp_path, "verbose", 40)
    displaced = Warned(
        time=TIME + 10 + 41 * 0.42,
        step=40,
        title="Chosen is falling with rejected",
        message="Lower the learning rate or add an sft term.",
    )
    make_run(tmp_path, "support-tone", [*beginning(), *training(0, 41), displaced])
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


def _drawn(pilot: Pilot[None]) -> bool:
    return all(chart._canvas.plain.count("\n") + 1 == chart.canvas_size[1] for chart in pilot.app.screen.query(Chart))


def _after(*keys: str, text: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def run(pilot: Pilot[None]) -> None:
        await shows(pilot, "loss")
        await until(pilot, lambda: _drawn(pilot))
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await shows(pilot, text)
        await pilot.wait_for_animation()
        if not keys:
            await until(pilot, lambda: _drawn(pilot))

    return run


@SIZES
def test_a_live_run_below_the_list(snap_compare: Any, app: WorkbenchApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=_after(text="41/100"))


def test_a_failed_run(snap_compare: Any, app: WorkbenchApp) -> None:
    assert snap_compare(app, terminal_size=(80, 24), run_before=_after("j", "j", "enter", text="OutOfMemoryError"))


@SIZES
def test_the_form(snap_compare: Any, app: WorkbenchApp, size: tuple[int, int]) -> None:
    run_before = _after("n", "space", text="steps of 16")
    assert snap_compare(app, terminal_size=size, run_before=run_before)
