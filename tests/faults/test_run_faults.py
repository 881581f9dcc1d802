"""Folders that vanish, clocks that jump: the screen can say what happened, and `resume` works."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench, write_pairs
from tests.faults.table import FaultTable, seeded, times
from tests.faults.test_run_kills import SETTINGS, losses, wait_for
from tests.unit.engine.training import make, work
from workbench.config import build_config
from workbench.launch import launch
from workbench.runs import checkpoints, process
from workbench.runs.events import Failed, Finished
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace

STEPS = 120
CLOCKED = {"max_steps": 4, "save_steps": 2, "eval_steps": 2, "sample_tokens": 4}


def begun(workspace: Path, step: int = 4, **settings: object) -> RunFolder:
    """A run that has made so many steps."""
    write_pairs(workspace / "pairs" / "support.jsonl")
    folder = launch(Workspace(workspace), build_config({**SETTINGS, "max_steps": STEPS, **settings}))
    reach(folder, step)
    return folder


def reach(folder: RunFolder, step: int) -> None:
    deadline = time.monotonic() + 120
    while folder.state().step < step:
        assert time.monotonic() < deadline
        assert process.alive(folder), process.last_words(folder)
        time.sleep(0.02)


def test_a_folder_deleted_under_a_worker_ends_it_within_seconds(tmp_path: Path, faults: FaultTable) -> None:
    folder = begun(tmp_path)
    pid = process.worker_pid(folder)
    assert pid is not None
    with faults.attempt("run's folder deleted"):
        while folder.path.exists():  # The worker writes and removes files meanwhile.
            shutil.rmtree(folder.path, ignore_errors=True)
        deadline = time.monotonic() + 20
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not folder.path.exists(), "the worker made its folder anew"
        assert workbench(tmp_path, "runs").returncode == 0


def test_sigterm_stops_with_everything_saved_and_the_run_resumes(tmp_path: Path, faults: FaultTable) -> None:
    folder = begun(tmp_path)
    pid = process.worker_pid(folder)
    assert pid is not None
    with faults.attempt("worker ended by SIGTERM") as attempt:
        os.kill(pid, 15)
        wait_for(folder)
        state, told = folder.state(), losses(folder)
        assert state.status == "stopped"
        assert folder.adapter.is_dir()
        assert checkpoints.complete(folder)[-1].name == f"checkpoint-{state.step}"
        process.resume(folder)
        wait_for(folder)
        assert folder.state().status == "finished"
        attempt.kept(told.items(), losses(folder).items())


def test_a_corrupt_line_of_events_is_left_aside(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    with folder.events.open("ab") as file:
        file.write(b'{"v": 1, "kind": "step", "loss": \xff\xfe garbage\n\x00\x00\x00\n')
    wait_for(folder)
    assert folder.state().status == "finished"
    shown = workbench(tmp_path, "show", folder.id)
    assert shown.returncode == 0
    assert "Traceback" not in shown.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable to root")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.checkpoints.chmod(0o500)
    wait_for(folder)
    state = folder.state()
    folder.checkpoints.chmod(0o700)
    assert isinstance(state.end, Failed)
    assert "ermission" in state.end.message


@pytest.mark.parametrize("jump", [7200, -7200, 40 * 365 * 86400, -(10**9)])
def test_a_clock_that_jumps_changes_nothing(
    jump: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: FaultTable
) -> None:
    with faults.attempt("clock jumps for who watches"):
        folder = begun(tmp_path)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        state = folder.state()
        assert process.alive(folder)
        assert process.status(folder, state) == "running"
        assert state.seconds_left is not None
        assert 0 < state.seconds_left < 600
        for command in (["runs"], ["show", folder.id], ["queue"]):
            shown = workbench(tmp_path, *command)
            assert (shown.returncode, "Traceback" in shown.stderr) == (0, False)
        assert workbench(tmp_path, "stop", folder.id, "--wait").returncode == 0
        assert folder.state().status == "stopped"


def test_a_clock_that_jumps_both_ways_under_a_worker_changes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: FaultTable
) -> None:
    whole = make(tmp_path / "whole", **CLOCKED)
    work(whole)
    rng, real = seeded(12), time.time
    for number in range(times(6)):
        with faults.attempt("clock jumps under a worker") as attempt, monkeypatch.context() as patch:
            workspace = tmp_path / str(number)
            folder = make(workspace / "runs", **CLOCKED)
            patch.setattr(time, "time", lambda: real() + rng.choice([0, 7200, -7200, 86400 * 400, -86400 * 400]))
            assert isinstance(work(folder), Finished)
            state = folder.state()
            seconds = [each.seconds for each in state.steps]
            assert seconds == sorted(seconds), "time ran backwards"
            assert state.end.seconds < 600
            assert all(each.pairs_per_second > 0 for each in state.steps)
            for command in ("show", "report"):
                shown = workbench(workspace, command, folder.id)
                assert (shown.returncode, "Traceback" in shown.stderr) == (0, False), shown.stderr
                assert "-1 d" not in shown.stdout
            assert losses(folder) == losses(whole)
            attempt.kept(losses(whole).items(), losses(folder).items())
