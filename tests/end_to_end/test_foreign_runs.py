"""Runs that came from elsewhere, or whose run.toml was changed: nothing that they name runs before the user says so."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench, write_pairs
from tests.tui.compare_data import make_run
from workbench.compare.tuned_runs import drafters, tuned_runs
from workbench.config import build_config
from workbench.engine.train import main as worker
from workbench.errors import WorkbenchError
from workbench.launch import prepare
from workbench.runs import process
from workbench.runs.catalog import Catalog
from workbench.runs.events import Stopped, encode
from workbench.runs.folder import RunFolder, create, to_line
from workbench.workspace import Workspace

REFUSED = "The run was not made here"
ROW = {
    "id": "p0",
    "prompt": [{"role": "user", "content": "Hello?"}],
    "chosen": [{"role": "assistant", "content": "Gladly."}],
    "rejected": [{"role": "assistant", "content": "No."}],
    "split": "train",
}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


def changed(folder: RunFolder, **settings: str) -> RunFolder:
    """The run with other settings written into its run.toml by hand."""
    text = folder.run_toml.read_text("utf-8")
    for name, value in settings.items():
        assert f'{name} = ""' in text or f'{name} = "none"' in text
        text = text.replace(f'{name} = ""', f"{name} = {json.dumps(value)}")
        text = text.replace(f'{name} = "none"', f"{name} = {json.dumps(value)}")
    folder.run_toml.write_text(text, "utf-8")
    return folder


@pytest.fixture
def foreign(tmp_path: Path, marker: Path) -> RunFolder:
    """A stopped run with an adapter, that would run a command."""
    write_pairs(tmp_path / "pairs" / "support.jsonl", 12)
    run = RunFolder(tmp_path / "runs" / make_run(tmp_path, pairs=["support"]))
    run.pairs.write_bytes(to_line(ROW) + to_line(ROW | {"id": "p1", "split": "holdout"}))
    end = Stopped(time=1.0, step=1, seconds=1.0, peak_memory_bytes=1, changed=1.0)
    run.events.write_text(encode(end), "utf-8")
    return changed(run, launcher="command", launcher_command=f"sh -c 'touch {marker}' {{command}}")


@pytest.mark.parametrize(
    "command",
    [
        ("resume", "RUN"),
        ("evaluate", "RUN"),
        ("merge", "RUN", "--to", "merged"),
        ("push", "RUN", "--to", "me/x", "--merged", "--yes"),
        ("score", "--run", "RUN", "--prompt", "x", "--response", "y"),
        ("generate", "--run", "RUN", "--prompt", "x"),
        ("draft", "support", "p3", "--run", "RUN"),
        ("train", "--pairs", "support", "--set", "adapter=RUN"),
        ("train", "--pairs", "support", "--method", "grpo", "--set", "reward=run:RUN"),
        ("trust", "RUN"),
    ],
    ids=" ".join,
)
def test_without_a_terminal_it_is_refused_and_shown(
    tmp_path: Path, foreign: RunFolder, marker: Path, command: tuple[str, ...]
) -> None:
    done = workbench(tmp_path, *(word.replace("RUN", foreign.id) for word in command), typed="y\n" * 9)
    assert (done.returncode, done.stderr.count(REFUSED)) == (2, 1), done.stderr
    assert f"launcher_command = sh -c 'touch {marker}' {{command}}" in done.stderr
    assert f"workbench trust {foreign.id}" in done.stderr
    assert not marker.exists()
    assert not process.alive(foreign)


def test_its_worker_refuses_it_too(foreign: RunFolder, marker: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert worker([str(foreign.path)]) == 2
    assert REFUSED in capfd.readouterr().err
    assert not marker.exists()


def test_compare_offers_it_and_says_why_it_is_not_used(tmp_path: Path, foreign: RunFolder) -> None:
    (run,) = tuned_runs(Catalog(tmp_path / "runs").summaries())
    with pytest.raises(WorkbenchError, match=REFUSED):
        run.column()
    assert [each.column.adapter for each in drafters([run])] == [None]
    foreign.sign()
    (run,) = tuned_runs(Catalog(tmp_path / "runs").summaries())
    assert run.column().adapter == str(foreign.adapter)


def test_with_trust_it_is_used_until_it_is_changed_again(tmp_path: Path, foreign: RunFolder, marker: Path) -> None:
    done = workbench(tmp_path, "resume", foreign.id, "--trust", "--wait")
    assert "launcher_command = sh -c" in done.stderr
    assert marker.exists()
    assert workbench(tmp_path, "trust", foreign.id).stderr == f"{foreign.id} was made here.\n"
    foreign.run_toml.write_text(foreign.run_toml.read_text() + "\n")
    assert not foreign.own
    assert json.loads(workbench(tmp_path, "show", foreign.id, "--json").stdout)["own"] is False
    assert workbench(tmp_path, "trust", foreign.id, "--yes").returncode == 0
    assert foreign.own


@pytest.mark.parametrize(("answer", "trusted"), [("n", False), ("y", True)])
def test_at_a_terminal_it_is_asked_for(tmp_path: Path, foreign: RunFolder, answer: str, *, trusted: bool) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "workbench", "--workspace", str(tmp_path), "trust", foreign.id]
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False, timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "launcher_command = sh -c" in done.stderr
    assert "Trust it?" in done.stderr + done.stdout
    assert (done.returncode == 0, foreign.own) == (trusted, trusted)


def test_own_runs_are_never_asked_about(tmp_path: Path) -> None:
    run = create(tmp_path / "runs", build_config({"pairs": ["x"]}), [], {})
    assert run.own
    moved = RunFolder(run.path.rename(tmp_path / "renamed"))
    assert moved.own


def test_another_users_key_is_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create(tmp_path / "runs", build_config({"pairs": ["x"]}), [], {})
    monkeypatch.setenv("WORKBENCH_STATE", str(tmp_path / "state"))
    assert not run.own
    run.sign()
    assert run.own
    key = tmp_path / "state" / "key"
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)
    key.chmod(0o644)
    assert run.own
    assert key.stat().st_mode & 0o777 == 0o600
    key.write_bytes(b"")
    with pytest.raises(WorkbenchError, match="damaged"):
        _ = run.own


def test_a_reward_of_code_and_a_tracker_are_named(tmp_path: Path, marker: Path) -> None:
    code = tmp_path / "reward.py"
    code.write_text(f"open({str(marker)!r}, 'w')\n\ndef judge(prompts, completions, **_):\n    return []\n")
    settings = {"pairs": ["x"], "method": "grpo", "reward": f"{code}:judge", "report_to": ["wandb"], "batch_size": 8}
    run = create(tmp_path / "runs", build_config(settings), map(to_line, [ROW]), {})
    run.signature.unlink()
    refused = workbench(tmp_path, "resume", run.id)
    assert refused.returncode == 2
    assert f"reward = {code}:judge" in refused.stderr
    assert "report_to = ['wandb']" in refused.stderr
    assert not marker.exists()


def test_an_own_run_does_not_begin_from_a_foreign_one(tmp_path: Path, foreign: RunFolder) -> None:
    with pytest.raises(WorkbenchError) as raised:
        prepare(Workspace(tmp_path), build_config({"pairs": ["support"], "adapter": foreign.id}))
    assert list(raised.value.fields) == ["adapter"]
