"""Pictures of the form that starts a run, on a machine with a GPU that someone else uses as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.runs_data import make_pairs, trained
from tests.tui.runs_screen import put, shows
from workbench.config import RunConfig
from workbench.runs.machine import Gpu, Holder, Machine, Memory
from workbench.runs.model_shape import Shape
from workbench.runs.preview import Counts, Measured, Preview
from workbench.tui.app import WorkbenchApp
from workbench.workspace import Workspace

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
GIB = 2**30
HOLDERS = (Holder(3122, "python3", 12 * GIB, ours=True), Holder(77, "vllm", 41 * GIB, ours=False))
FREE = {16: 26 * GIB, 64: 2 * GIB}
"""Bytes beside those of our own runs, for the batch sizes that are asked for."""
LLAMA_8B = Shape(4096, 32, 32, 8, 128, 14336, 128256, tied=False)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkbenchApp:
    for name in ("pairs", "runs"):
        (tmp_path / name).mkdir()
    make_pairs(tmp_path, "support-tone", 512, dropped=12)
    make_pairs(tmp_path, "verbose", 40)

    def begin(_: Path, config: RunConfig) -> Preview:
        gpu = Gpu(0, "NVIDIA H100 80GB HBM3", 80 * GIB, FREE.get(config.batch_size, FREE[16]), 0.93, HOLDERS)
        machine = Machine(Memory(128 * GIB, 100 * GIB), (gpu,), gpu, 700 * GIB)
        counts = Counts(448, 50, 2, 37, 1, 412.3, 871, 1024, 800, 1400, tokens=282_000, holdout_tokens=40_000)
        found = Preview(config, machine, LLAMA_8B).after(counts)
        return found.after(Measured(1.9, 10_000, 1, 0.9, 10_000, 41.0, 22 * GIB)) if config.batch_size != 64 else found

    monkeypatch.setattr("workbench.launch.begin", begin)
    monkeypatch.setattr("workbench.launch.PAUSE", 999)
    return WorkbenchApp(Workspace.find(tmp_path), watch="none")


@SIZES
def test_a_run_that_fits(snap_compare: Any, app: WorkbenchApp, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await shows(pilot, "No runs yet")
        await pilot.press("n", "space")
        await shows(pilot, "steps of 16", "s a step, measured", "500 pairs, 12 dropped")

    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_a_run_that_does_not_fit(snap_compare: Any, app: WorkbenchApp, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await shows(pilot, "No runs yet")
        await pilot.press("n", "space")
        await shows(pilot, "steps of 16", "500 pairs, 12 dropped")
        put(pilot, batch_size="64", quantization="none")
        await shows(pilot, "steps of 64", "would fit with")

    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_a_run_on_a_reward(snap_compare: Any, app: WorkbenchApp, size: tuple[int, int], tmp_path: Path) -> None:
    for age, method in enumerate(("reward", "dpo")):
        trained(tmp_path, "support-tone", method, age=age)

    async def run(pilot: Pilot[None]) -> None:
        await shows(pilot, "2 done")
        await pilot.press("n", "space")
        await shows(pilot, "begin with", "steps of 16", "500 pairs, 12 dropped")
        put(pilot, method="grpo")
        await shows(pilot, "steps of 32 answers", "GiB measured of")
        # The charts behind the form may not have been drawn when it opened.
        pilot.app.screen.styles.background = "black"
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=run)


@SIZES
def test_all_settings(snap_compare: Any, app: WorkbenchApp, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await shows(pilot, "No runs yet")
        await pilot.press("n", "space", "ctrl+o")
        put(pilot, launcher="accelerate", processes="4")
        await shows(pilot, "steps of 64", "s a step, measured")
        pilot.app.screen.set_focus(None)
        await pilot.pause(0.2)

    assert snap_compare(app, terminal_size=size, run_before=run)
