"""A real merge, started with a key, followed, stopped, and seen again after its dialog was closed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import FinishedRun
from tests.tui.runs_screen import runs_screen, shown, shows, until
from workbench.tui.screens.runs import RunsScreen
from workbench.tui.widgets.fields import PathField


@pytest.mark.timeout(280)
async def test_merging_with_a_key(finished_run: FinishedRun, tmp_path: Path) -> None:
    to = tmp_path / "out" / "polite"
    to.parent.mkdir()
    (tmp_path / "runs").symlink_to(finished_run.workspace / "runs")
    (tmp_path / "workbench.toml").write_text("[merge]\nmove = 0\n", "utf-8")
    async with runs_screen(tmp_path, (100, 30)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        await shows(pilot, "✔ finished")
        await pilot.press("m")
        await shows(pilot, "Merge " + finished_run.id, "fp16", f"merged/{finished_run.id}")
        pilot.app.screen.query_one(PathField).value = str(to)
        await pilot.press("enter")
        await shows(pilot, "No setting named 'move'")
        (tmp_path / "workbench.toml").write_text("[merge]\nmoved = 0\n", "utf-8")
        await pilot.press("enter")
        await until(pilot, lambda: "loading the base" in shown(pilot), 120)
        await pilot.press("ctrl+x")
        await until(pilot, lambda: "Stopped; nothing was left behind" in shown(pilot), 60)
        assert list(to.parent.iterdir()) == []
        await pilot.press("down", "down", "enter")
        await shows(pilot, "esc hides")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunsScreen)
        await pilot.press("m")
        await until(pilot, lambda: "To serve it" in shown(pilot), 200)
        await shows(
            pilot,
            "2.07 M parameters in fp32",
            "0 of 3 held-out pairs changed sides",
            "vllm serve",
            "--served-model-name polite",
        )
        await shows(pilot, "of 3 greedy answers in other words", "▲ Chosen answers are", "likely once merged")
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, RunsScreen)
        assert json.loads((to / "config.json").read_text())["dtype"] == "float32"
