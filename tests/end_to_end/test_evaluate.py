"""`evaluate` on a run of a few steps: what it measures without suites, and what is done with what it found."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.end_to_end.conftest import FinishedRun, workbench
from workbench.evidence.jobs import evaluate
from workbench.evidence.sample_labels import to_label
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace


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


async def test_the_screens_measure_a_merged_model_whose_answers_can_be_judged(
    workspace: Path, finished_run: FinishedRun
) -> None:
    probes = workspace / "pairs" / "probes"
    probes.mkdir()
    rows = [{"id": str(n), "kind": "tone", "group": str(n), "prompt": f"My card {n} was declined."} for n in range(2)]
    (probes / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    merged = workspace / "merged" / "m"
    assert workbench(workspace, "merge", finished_run.id, "--to", str(merged), "--dtype", "fp32").returncode == 0
    folder = RunFolder(workspace / "runs" / finished_run.id)
    told: list[str] = []
    evidence = await evaluate(Workspace(workspace), folder, told.append, merged=merged)
    assert evidence.merged is not None
    assert "loading the merged model" in told
    assert len(evidence.sampled) == 2 * len(evidence.examples) == 2 * len(evidence.merged.examples) > 0
    answers = to_label(evidence.sampled, [], "tone", "rude", 99)
    assert {one.answer for one in answers} >= {each.after for each in evidence.merged.examples}
