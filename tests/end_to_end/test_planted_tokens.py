"""Tokens planted in the environment of real runs: no file that they leave has one in it, after a crash neither."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench, write_pairs
from workbench.runs.events import EventReader, Failed

TOKENS = {
    name: f"planted-{number}-{'q7Zt' * 5}"
    for number, name in enumerate(
        (
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "WANDB_API_KEY",
            "OPENAI_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "MY_PASSWORD",
        )
    )
}
_PLANTED = re.compile(rb"planted-\d-(?:q7Zt){5}")
REWARD = '''
import os, sys, traceback

def told(prompts, completions, **_):
    """Tells all that it was given, as libraries do, and fails with it."""
    print("environment", dict(os.environ))
    print("headers", {"Authorization": f"Bearer {os.environ['HF_TOKEN']}"}, file=sys.stderr)
    key = os.environ["OPENAI_API_KEY"]
    raise RuntimeError(f"401 Client Error for https://api.example/v1?key={key} with {os.environ['WANDB_API_KEY']}")
'''


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace; all that is started has tokens in its environment, and its state and caches beside the workspace."""
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTPS_PROXY_OF_TEST", f"http://me:{TOKENS['MY_PASSWORD']}@proxy.example:8080")
    for name in ("WORKBENCH_STATE", "TMPDIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    workspace = tmp_path / "workspace"
    write_pairs(workspace / "pairs" / "support.jsonl", 24)
    return workspace


def found_in(folder: Path) -> dict[str, list[bytes]]:
    """Every file under a folder that has a planted token in it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 8
    return {str(path): hits for path in files if (hits := _PLANTED.findall(path.read_bytes()))}


def test_a_crash_with_tokens_in_its_traceback_leaves_none(planted: Path) -> None:
    (planted / "reward.py").write_text(REWARD)
    settings = [f"reward={planted / 'reward.py'}:told", "max_steps=1", "batch_size=4", "group_size=2"]
    settings += ["completion_tokens=4", "quantization=none", "holdout=0", "sample_tokens=0"]
    given = [f"--set={each}" for each in settings]
    done = workbench(planted, "train", "--pairs", "support", "--method", "grpo", *given, "--wait", "--json")
    assert done.returncode == 1, done.stderr
    assert not _PLANTED.search((done.stdout + done.stderr).encode())
    run = planted / "runs" / json.loads(done.stdout)["id"]
    log = (run / "worker.log").read_text()
    assert "Traceback" in log
    assert "401 Client Error for https://api.example/v1?key=⟨OPENAI_API_KEY⟩ with ⟨WANDB_API_KEY⟩" in log
    assert "Bearer ⟨HF_TOKEN⟩" in log
    end = list(EventReader(run / "events.jsonl").read())[-1]
    assert isinstance(end, Failed)
    assert "⟨WANDB_API_KEY⟩" in end.message
    told = workbench(planted, "show", run.name)
    assert "⟨WANDB_API_KEY⟩" in told.stdout
    reported = workbench(planted, "report", run.name)
    assert reported.returncode == 0, reported.stderr
    assert found_in(planted.parent) == {}


@pytest.mark.slow
def test_a_run_that_is_measured_reported_and_merged_leaves_none(planted: Path) -> None:
    os.environ.pop("HTTPS_PROXY_OF_TEST")
    done = workbench(
        planted, "train", "--pairs", "support", "--set", "max_steps=2", "--set", "save_steps=1", "--wait", "--json"
    )
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["id"]
    for command in (
        ["evaluate", run],
        ["report", run],
        ["merge", run, "--to", str(planted / "merged")],
        ["score", "--pairs", "support", "--run", run],
        ["show", run, "--json"],
        ["doctor"],
    ):
        told = workbench(planted, *command)
        assert "Traceback" not in told.stderr, told.stderr
        assert not _PLANTED.search((told.stdout + told.stderr).encode())
    assert found_in(planted.parent) == {}


def test_a_setting_with_a_token_is_refused_without_saying_it(planted: Path) -> None:
    command = f"env KEY={TOKENS['WANDB_API_KEY']} {{command}}"
    done = workbench(
        planted, "train", "--pairs", "support", "--set", "launcher=command", "--set", f"launcher_command={command}"
    )
    assert done.returncode == 2
    assert "launcher_command has the value of WANDB_API_KEY in it" in done.stderr
    assert not _PLANTED.search((done.stdout + done.stderr).encode())
    assert not list((planted / "runs").glob("*"))
