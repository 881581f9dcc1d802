"""One workspace with one finished run, made by the real command, for all tests that only look at it."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workbench.cli.main import main
from workbench.runs.catalog import Catalog
from workbench.runs.process import alive, kill

SUBJECTS = ["the parcel", "my account", "the card", "the alarm", "a refund", "the door"]


def write_pairs(path: Path, count: int = 40) -> None:
    """A data set of conversations that the embedded model can tell apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number in range(count):
            subject = SUBJECTS[number % len(SUBJECTS)]
            row = {
                "id": f"p{number}",
                "prompt": [{"role": "user", "content": f"Case {number}: what about {subject}?"}],
                "chosen": [{"role": "assistant", "content": f"Gladly. We look after {subject} at once."}],
                "rejected": [{"role": "assistant", "content": "That is your own fault."}],
            }
            file.write(json.dumps(row) + "\n")


def workbench(
    workspace: Path, *arguments: str, columns: str = "120", typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """The command line, in this process, so that nothing is imported anew: exit status and what it printed.

    `typed` comes in on stdin, which is no terminal.
    """
    command = ["workbench", "--workspace", str(workspace), *arguments]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"argv": command, "stdin": io.StringIO(typed), "stdout": out, "stderr": err}.items():
            patch.setattr(sys, name, value)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("COLUMNS", columns)
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    texts = (stream.buffer.getvalue().decode("utf-8") for stream in (out, err))
    return subprocess.CompletedProcess(command, status, *texts)


def workbench_process(
    workspace: Path, *arguments: str, timeout: float = 240, columns: str = "120"
) -> subprocess.CompletedProcess[str]:
    """The command line as its users start it."""
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace), *arguments]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": columns}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)


@dataclass(frozen=True)
class FinishedRun:
    """What `train --wait --json` left behind. `result` is its document, `told` what it said on stderr."""

    workspace: Path
    result: dict[str, Any]
    told: str

    @property
    def id(self) -> str:
        return str(self.result["id"])

    @property
    def folder(self) -> Path:
        return self.workspace / "runs" / self.id


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run of four steps on the embedded model, the same for all processes of a test run. Leave it as it is."""
    base = tmp_path_factory.getbasetemp()
    workspace = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    workspace.mkdir(exist_ok=True)
    told = workspace / "told.txt"
    with (workspace / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # The first process trains it, the others wait.
        if not told.exists():
            write_pairs(workspace / "pairs" / "support.jsonl")
            settings = ["max_steps=4", "batch_size=8", "learning_rate=1e-3", "save_steps=2"]
            given = (f"--set={setting}" for setting in settings)
            done = workbench_process(workspace, "train", "--pairs", "support", *given, "--wait", "--json")
            assert done.returncode == 0, done.stderr
            (workspace / "result.json").write_text(done.stdout)
            told.write_text(done.stderr)
    return FinishedRun(workspace, json.loads((workspace / "result.json").read_text()), told.read_text())


@pytest.fixture
def make_workspace(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Makes a workspace with the data set `support` in it. Workers still at it afterwards are ended."""

    def make() -> Path:
        write_pairs(tmp_path / "pairs" / "support.jsonl")
        return tmp_path

    yield make
    for each in Catalog(tmp_path / "runs").summaries():
        if alive(each.folder):
            kill(each.folder)
