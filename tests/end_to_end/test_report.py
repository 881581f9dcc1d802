"""`workbench report` on a real run of the embedded model: before it was measured, and after."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import FinishedRun, workbench
from tests.end_to_end.devtools import CHROMIUM, browser
from workbench.runs import lease
from workbench.runs.folder import RunFolder
from workbench.tiny.starters import build_probes, to_jsonl

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def measured(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A copy of the run, evaluated on a few probes."""
    workspace = tmp_path_factory.mktemp("measured")
    shutil.copytree(finished_run.workspace, workspace, dirs_exist_ok=True)
    (workspace / "pairs" / "probes").mkdir()
    for kind, rows in build_probes().items():
        (workspace / "pairs" / "probes" / f"{kind}.jsonl").write_text(to_jsonl(rows[:6]), "utf-8")
    (workspace / "workbench.toml").write_text("[evidence]\nsamples = 8\nfewest = 4\n", "utf-8")
    evaluate_once_the_device_is_free(workspace, finished_run.id)
    return FinishedRun(workspace, finished_run.result, finished_run.told)


def evaluate_once_the_device_is_free(workspace: Path, run: str) -> None:
    """`evaluate` waits as a worker does, and can be given up while it waits."""
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace), "evaluate", run, "--json"]
    with lease.DeviceTurn(RunFolder(workspace / "somebody")) as turn:
        assert turn.poll()
        asking = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
            for _ in range(2)
        ]
        for process in asking:
            assert process.stderr is not None
            assert "Evaluating" in process.stderr.readline()
            assert process.stderr.readline() == "  waiting for CPU, which somebody has\n"
        asking[1].send_signal(signal.SIGINT)
        assert asking[1].wait(20) != 0
        assert list(lease.places()) == [workspace / "runs" / run]
    said, told = asking[0].communicate(timeout=240)
    assert asking[0].returncode in (0, 1), told
    assert json.loads(said)["run"] == run
    assert lease.holder("CPU") is None


def test_before_evaluate_the_training_is_told(finished_run: FinishedRun, tmp_path: Path) -> None:
    done = workbench(finished_run.workspace, "report", finished_run.id, "--to", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    assert f"workbench evaluate {finished_run.id}" in done.stderr
    assert done.stdout.startswith("No evidence yet")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Log-probability" in page
    assert "Token by token" not in page
    assert not (finished_run.folder / "report.html").exists()


def test_the_page_is_in_the_runs_folder_and_the_same_every_time(measured: FinishedRun) -> None:
    done = workbench(measured.workspace, "report", measured.id, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    path = measured.folder / "report.html"
    assert Path(told["file"]) == path
    assert told["format"] == "html"
    assert told["bytes"] == path.stat().st_size < 500_000
    evidence = json.loads((measured.folder / "evidence.json").read_text("utf-8"))
    assert told["verdicts"] == evidence["verdicts"]
    first = path.read_text("utf-8")
    assert told["headline"] in first
    assert "Token by token" in first
    assert evidence["provenance"]["adapter"] in first
    assert workbench(measured.workspace, "report", measured.id).returncode == 0
    assert path.read_text("utf-8") == first


def test_markdown_goes_to_a_file_or_to_stdout(measured: FinishedRun, tmp_path: Path) -> None:
    done = workbench(measured.workspace, "report", measured.id, "--to", "-", "--format", "md")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"# Alignment report: `{measured.id}`\n")
    again = workbench(measured.workspace, "report", measured.id, "--to", str(tmp_path / "page.md"))
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "page.md").read_text("utf-8") == done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_has_nothing_to_say_about_it(measured: FinishedRun, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert workbench(measured.workspace, "report", measured.id, "--to", str(path)).returncode == 0
    with browser(tmp_path / "profile") as page:
        page.open(path)
        assert [event["request"]["url"] for event in page.told("Network.requestWillBeSent")] == [path.as_uri()]
        assert page.told("Log.entryAdded") == page.told("Runtime.consoleAPICalled") == []
        assert page.evaluate("document.querySelectorAll('figure > svg').length") >= 4
        assert page.evaluate("document.querySelectorAll('.token').length") > 50


def test_what_cannot_be_written_or_is_asked_twice_is_told(measured: FinishedRun, tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "page.html"
    refused = workbench(measured.workspace, "report", measured.id, "--to", str(missing))
    assert refused.returncode == 2
    assert "The report could not be written" in refused.stderr
    twice = workbench(measured.workspace, "report", measured.id, "--to", "-", "--json")
    assert twice.returncode == 2
    assert twice.stdout == ""
    nobody = workbench(measured.workspace, "report", "nobody")
    assert nobody.returncode == 2
    assert "No run 'nobody'" in nobody.stderr


def test_what_the_base_was_held_as_is_told_where_it_is_not_as_in_training(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    (tmp_path / "pairs" / "probes").mkdir(parents=True)
    for kind in ("tone", "neutral"):
        (tmp_path / "pairs" / "probes" / f"{kind}.jsonl").write_text(to_jsonl(build_probes()[kind][:2]), "utf-8")
    (tmp_path / "workbench.toml").write_text("[evidence]\nsamples = 0\n", "utf-8")
    run, other = finished_run.id, f"{finished_run.id}-whole"
    for name in (run, other):
        shutil.copytree(finished_run.folder, tmp_path / "runs" / name)
    settings = tmp_path / "runs" / other / "run.toml"
    settings.write_text(settings.read_text("utf-8").replace('quantization = "nf4"', 'quantization = "none"'), "utf-8")
    RunFolder(settings.parent).sign()

    done = workbench(tmp_path, "evaluate", run, "--quantization", "none", "--json")
    assert done.returncode in (0, 1), done.stderr
    assert "on none weights; it was trained on nf4" in done.stderr
    whole = json.loads(done.stdout)
    assert json.loads((tmp_path / "runs" / run / "evidence.json").read_text("utf-8"))["quantization"] == "none"
    page = workbench(tmp_path, "report", run, "--to", "-", "--format", "md").stdout
    assert "measured with quantization none" in page
    assert "trained with quantization nf4" in page
    assert ", on none weights" in page
    card = (tmp_path / "runs" / run / "adapter" / "README.md").read_text("utf-8")
    assert "The base was held unquantized, in training in 4 bits (NF4)." in card

    # What was measured otherwise is measured again; each as it was trained, which is told.
    both = workbench(tmp_path, "evaluate", run, "--against", other, "--json")
    assert both.returncode in (0, 1), both.stderr
    assert f"differently held weights: {run} on nf4, {other} on none" in both.stderr
    alike = workbench(tmp_path, "evaluate", run, "--against", other, "--quantization", "none")
    assert alike.returncode == 0, alike.stderr
    assert "differently held" not in alike.stderr
    assert "No difference can be told" in alike.stdout
    own = json.loads((tmp_path / "runs" / other / "evidence.json").read_text("utf-8"))
    assert own["probe_readings"] == whole["probe_readings"]


def test_the_merged_model_is_a_column_beside_base_and_run(finished_run: FinishedRun, tmp_path: Path) -> None:
    (tmp_path / "pairs" / "probes").mkdir(parents=True)
    (tmp_path / "pairs" / "probes" / "tone.jsonl").write_text(to_jsonl(build_probes()["tone"][:3]), "utf-8")
    (tmp_path / "workbench.toml").write_text("[evidence]\nsamples = 1\nfewest = 2\nanswer_tokens = 8\n", "utf-8")
    shutil.copytree(finished_run.folder, tmp_path / "runs" / finished_run.id)
    run, to = finished_run.id, tmp_path / "merged" / "polite"
    assert workbench(tmp_path, "merge", run, "--to", str(to)).returncode == 0

    done = workbench(tmp_path, "evaluate", run, "--merged", str(to))
    assert done.returncode in (0, 1), done.stderr
    assert "loading the merged model" in done.stderr
    header = next(line for line in done.stdout.splitlines() if line.startswith("run "))
    assert header.split("  ")[0] == "run"
    assert "merged  " in header
    assert "run to merged, 95%" in header
    assert "merged: polite in float32, sha256:" in done.stdout
    evidence = json.loads((tmp_path / "runs" / run / "evidence.json").read_text("utf-8"))
    assert evidence["merged"]["folder"] == "polite"
    assert len(evidence["merged"]["probe_readings"]) == 3
    assert "## The model that ships" in workbench(tmp_path, "report", run, "--to", "-", "--format", "md").stdout

    for merged, told in (
        (tmp_path / "nothing", "No model there"),
        (tmp_path / "workbench.toml", "Not the folder of a model"),
    ):
        refused = workbench(tmp_path, "evaluate", run, "--merged", str(merged), "--json")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert told in refused.stderr
    both = workbench(tmp_path, "evaluate", run, "--merged", str(to), "--against", run)
    assert both.returncode == 2
    assert "Two comparisons at once" in both.stderr
