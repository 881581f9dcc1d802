"""A few of the damages that `make faults` tries by the thousand: no traceback, no pair lost, no wrong result."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.conftest import FinishedRun
from tests.faults.damage import Tally
from tests.faults.damaged_workspace import fill, try_all, try_journal


def test_a_damaged_file_is_read_as_what_it_says_or_named(finished_run: FinishedRun, tmp_path: Path) -> None:
    folder = fill(finished_run.workspace, tmp_path / "workspace")
    tally = Tally()
    try_all(tmp_path / "workspace", folder, 4, seed=8, tally=tally)
    try_journal(tmp_path / "workspace", 20, seed=8, tally=tally)
    assert not tally.lost, str(tally)
