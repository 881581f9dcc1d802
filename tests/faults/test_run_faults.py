"""Full disks, folders that vanish, clocks that jump: the screen can say what happened, and `resume` works."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench, write_pairs
from tests.faults.test_run_kills import SETTINGS, losses, wait_for
from workbench.config import build_config
from workbench.launch import launch
from workbench.runs import checkpoints, process
from workbench.runs.events import Failed
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace

STEPS = 120


@pytest.fixture
def small_disk(make_disk: Callable[[int], Path]) -> Path:
    return make_disk(96)


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


def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(small_disk: Path) -> None:
    folder = begun(small_disk)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                break
    wait_for(folder)
    state = folder.state()
    assert isinstance(state.end, Failed), process.last_words(folder)
    assert "full" in state.end.title
    assert "resume" in state.end.hint
    ballast.unlink()
    assert checkpoints.complete(folder)
    process.resume(folder)
    wait_for(folder)
    assert folder.state().status == "finished"
    assert sorted(losses(folder)) == list(range(1, STEPS + 1))


def test_a_folder_deleted_under_a_worker_ends_it_within_seconds(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    pid = process.worker_pid(folder)
    assert pid is not None
    shutil.rmtree(folder.path)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not folder.path.exists(), "the worker made its folder anew"
    assert workbench(tmp_path, "runs").returncode == 0


def test_sigterm_stops_with_everything_saved_and_the_run_resumes(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    pid = process.worker_pid(folder)
    assert pid is not None
    os.kill(pid, 15)
    wait_for(folder)
    state = folder.state()
    assert state.status == "stopped"
    assert folder.adapter.is_dir()
    assert checkpoints.complete(folder)[-1].name == f"checkpoint-{state.step}"
    process.resume(folder)
    wait_for(folder)
    assert folder.state().status == "finished"


def test_a_torn_checkpoint_is_skipped_with_a_word(tmp_path: Path) -> None:
    folder = begun(tmp_path, step=8)
    pid = process.worker_pid(folder)
    assert pid is not None
    os.kill(pid, 9)
    wait_for(folder)
    *older, newest = checkpoints.complete(folder)
    weights = newest / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert checkpoints.complete(folder) == older
    process.resume(folder)
    wait_for(folder)
    state = folder.state()
    assert state.status == "finished"
    assert any(newest.name in f"{each.title} {each.message}" for each in state.warnings)


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


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(tmp_path)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7200)
    state = folder.state()
    assert process.alive(folder)
    assert process.status(folder, state) == "running"
    assert state.seconds_left is not None
    assert 0 < state.seconds_left < 600
    wait_for(folder)
