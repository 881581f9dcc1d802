"""`evaluate` on a run of a few steps: what it measures without suites, and what is done with what it found."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.end_to_end.conftest import FinishedRun, workbench


@pytest.fixture
def workspace(finished_run: FinishedRun, tmp_path: Path) -> Path:
    return copytree(finished_run.workspace, tmp_path / "w", ignore=ignore_patterns(".cache", "checkpoints", "lock"))


def test_without_suites_held_out_pairs_are_measured(workspace: Path, finished_run: FinishedRun) -> None:
    done = workbench(workspace, "evaluate", finished_run.id)
    assert done.returncode in (0, 1), done.stderr
    assert "no suites: the held-out pairs alone are measured" in done.stderr
    assert "workbench probes add --all" in done.stderr
    assert "? cannot be said  compliant answers to attacks" in done.stdout
    found = json.loads((workspace / "runs" / finished_run.id / "evidence.json").read_text())
    assert (found["probe_readings"], len(found["pair_readings"]) > 0) == ([], True)
    assert {verdict["kind"]: verdict["holds"] for verdict in found["verdicts"]}["attack"] is None
    report = workbench(workspace, "report", finished_run.id, "--to", "-", "--format", "md")
    assert "workbench probes add" in report.stdout
