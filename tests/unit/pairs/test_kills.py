"""A short version of tests/faults/test_pairs_kills.py."""

from pathlib import Path

from tests.faults.table import FaultTable
from tests.faults.test_pairs_kills import kill_often


def test_no_acknowledged_edit_is_lost_in_a_kill(tmp_path: Path) -> None:
    assert sum(kill_often(tmp_path, 7, 1, FaultTable())) > 7
