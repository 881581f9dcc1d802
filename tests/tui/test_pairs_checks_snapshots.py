"""Pictures of the panel of the checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.checks_panel import CLEAN, FAULTY, Panel, checked, panel

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])


@SIZES
def test_findings(snap_compare: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await checked(pilot)
        assert isinstance(pilot.app, Panel)
        checks = [finding.check for finding in pilot.app.checks.findings]
        await pilot.press(*["j"] * checks.index("duplicate"))

    assert snap_compare(panel(tmp_path, FAULTY), terminal_size=size, run_before=run)


@SIZES
def test_nothing_found(snap_compare: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    assert snap_compare(panel(tmp_path, CLEAN, "clean"), terminal_size=size, run_before=checked)
