"""A run that was not made here is shown before anything that it names is started."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from textual.pilot import Pilot

from tests.tui.runs_data import TIME, beginning, make_run, save_adapter, training
from tests.tui.runs_screen import drawn, runs_screen, shows, until
from workbench.runs.events import Stopped
from workbench.runs.folder import RunFolder
from workbench.tui.app import WorkbenchApp
from workbench.workspace import Workspace

NAMED = {
    "trust_remote_code": True,
    "launcher": "command",
    "launcher_command": "sh -c 'touch OWNED; {command}'",
    "model": "evil\x1b]0;x",
}


@pytest.fixture
def foreign(tmp_path: Path) -> RunFolder:
    stopped = Stopped(time=TIME + 99, step=31, seconds=20, peak_memory_bytes=2**34, changed=1)
    folder = make_run(tmp_path, "support-tone", [*beginning(), *training(0, 31), stopped])
    save_adapter(folder)
    settings = tomllib.loads(folder.run_toml.read_text("utf-8"))
    folder.run_toml.write_text(tomlkit.dumps(settings | {"run": settings["run"] | NAMED}), "utf-8")
    return folder


async def _asked(pilot: Pilot[None], key: str = "r") -> None:
    await shows(pilot, "31/100")
    await drawn(pilot)
    await pilot.press(key)
    await shows(pilot, "Trust ")


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
def test_what_it_names_is_shown(snap_compare: Any, tmp_path: Path, foreign: RunFolder, size: tuple[int, int]) -> None:
    app = WorkbenchApp(Workspace.find(tmp_path), watch="none")
    assert snap_compare(app, terminal_size=size, run_before=_asked)
    assert not foreign.own


@pytest.mark.parametrize("key", ["r", "e", "c", "m"])
async def test_nothing_begins_before_the_user_trusts_it(tmp_path: Path, foreign: RunFolder, key: str) -> None:
    async with runs_screen(tmp_path) as pilot:
        await _asked(pilot, key)
        await pilot.press("n")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1)
        assert not foreign.own
        await _asked(pilot, key)
        await pilot.press("y")
        await until(pilot, lambda: foreign.own and len(pilot.app.screen_stack) == 2)  # the question that comes next
    assert not (tmp_path / "OWNED").exists()
