"""Every file that a workspace keeps is damaged, 2,000 times and more: each is read as what it says, or named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.conftest import FinishedRun, finished_run  # noqa: F401 (a fixture)
from tests.faults.damage import Tally
from tests.faults.damaged_workspace import fill, try_all, try_journal
from tests.faults.table import FaultTable, times

EACH = times(180)


@pytest.mark.timeout(3600)
def test_no_damaged_file_ends_in_a_traceback_or_in_a_wrong_result(
    finished_run: FinishedRun,  # noqa: F811
    tmp_path: Path,
    faults: FaultTable,
) -> None:
    folder = fill(finished_run.workspace, tmp_path / "workspace")
    tally = Tally()
    try_all(tmp_path / "workspace", folder, EACH, seed=22, tally=tally)
    try_journal(tmp_path / "workspace", 3 * EACH, seed=22, tally=tally)
    print(f"\n{tally}")
    for kind, tried in tally.tried.items():
        faults.counted(
            "damaged journal" if kind == "journal" else "damaged file", tried, tried - len(tally.lost.get(kind, ()))
        )
    assert not tally.lost, str(tally)
