"""Workers of every method are killed, stopped and continued: the result is that of a run which nothing happened to."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench, write_pairs
from tests.faults.table import FaultTable, seeded, times
from tests.faults.test_every_method import FUNCTION
from tests.faults.test_run_faults import reach
from tests.faults.test_run_kills import wait_for
from workbench.config import build_config
from workbench.launch import launch
from workbench.methods import METHODS, uses
from workbench.runs import process
from workbench.runs.events import Eval, Step
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace

KILLS = times(50)
SETTINGS: dict[str, object] = {
    "pairs": ["support"], "batch_size": 4, "learning_rate": 1e-3, "max_steps": 8, "save_steps": 2, "eval_steps": 4,
    "holdout": 0.1, "lora_r": 4, "sample_tokens": 4, "group_size": 2, "completion_tokens": 6, "max_length": 128,
}  # fmt: skip


def started(workspace: Path, method: str) -> RunFolder:
    if not (workspace / "pairs").exists():
        write_pairs(workspace / "pairs" / "support.jsonl", 24)
        (workspace / "judge.py").write_text(FUNCTION)
    values = SETTINGS | {"method": method, "reward": f"{workspace / 'judge.py'}:vowels"}
    config = build_config({key: value for key, value in values.items() if key == "method" or uses(method, key)})
    return launch(Workspace(workspace), config)


def told(folder: RunFolder) -> dict[tuple[str, int], dict[str, float]]:
    """All that steps and evaluations measured, but for speed."""
    state = folder.state()
    measured: list[Step | Eval] = [*state.steps, *state.evals]
    return {
        (type(each).__name__, each.step): {name: value for name, value in each.metrics.items() if "time" not in name}
        for each in measured
    }


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_ends_as_one_that_was_not(method: str, tmp_path: Path, faults: FaultTable) -> None:
    kills = max(1, KILLS // len(METHODS) + (list(METHODS).index(method) < KILLS % len(METHODS)))
    rng = seeded(list(METHODS).index(method))
    began = time.monotonic()
    whole = started(tmp_path, method)
    wait_for(whole)
    took, expected = time.monotonic() - began, told(whole)
    assert whole.state().status == "finished", process.last_words(whole)
    folder = started(tmp_path, method)
    for _ in range(kills):
        with faults.attempt(f"worker killed ({method})") as attempt:
            # Nothing is to be killed once it has finished, and most of the time goes into imports.
            time.sleep(rng.uniform(0.0, took * 0.9))
            pid = process.worker_pid(folder)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                wait_for(folder, 20)
            before, state = told(folder), folder.state()
            assert process.status(folder, state) in ("lost", "finished")
            if process.status(folder, state) == "finished":
                again = folder
                folder = started(tmp_path, method)
            else:
                process.resume(folder)
                again = folder
                deadline = time.monotonic() + 300
                while process.alive(again) and not before.keys() <= told(again).keys():
                    assert time.monotonic() < deadline, process.last_words(again)
                    time.sleep(0.05)
            after = told(again)
            for at, metrics in before.items():
                assert after[at] == pytest.approx(metrics, abs=1e-5, nan_ok=True), at
            attempt.kept(before, after)
    wait_for(folder)
    assert folder.state().status == "finished", process.last_words(folder)
    ended = told(folder)
    assert ended.keys() == expected.keys()
    for at, metrics in expected.items():
        assert ended[at] == pytest.approx(metrics, abs=1e-5, nan_ok=True), at
    assert not any("goes on where it was" in each.title for each in folder.state().warnings)


def test_a_worker_that_is_stopped_and_continued_loses_nothing(tmp_path: Path, faults: FaultTable) -> None:
    rng = seeded(9)
    whole = started(tmp_path, "dpo")
    wait_for(whole)
    for number in range(times(5)):
        with faults.attempt("worker stopped and continued") as attempt:
            folder = started(tmp_path, "dpo")
            if number % 2:
                reach(folder, 2)
            else:
                time.sleep(rng.uniform(0.1, 2))
            pid = process.worker_pid(folder)
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            time.sleep(1.5)
            assert process.alive(folder)
            shown = workbench(tmp_path, "runs")
            assert (shown.returncode, "lost" in shown.stdout) == (0, False)
            os.kill(pid, signal.SIGCONT)
            wait_for(folder)
            assert folder.state().status == "finished", process.last_words(folder)
            ended = told(folder)
            for at, metrics in told(whole).items():
                assert ended[at] == pytest.approx(metrics, abs=1e-5)
            attempt.kept(told(whole), ended)


def test_a_worker_that_stays_stopped_can_be_ended(tmp_path: Path, faults: FaultTable) -> None:
    with faults.attempt("worker stopped for good"):
        folder = started(tmp_path, "dpo")
        reach(folder, 1)
        pid = process.worker_pid(folder)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        assert workbench(tmp_path, "stop", folder.id).returncode == 0
        assert workbench(tmp_path, "stop", folder.id, "--now").returncode == 0
        assert not process.alive(folder)
        assert folder.state().status in ("stopped", "finished")
        if folder.state().status == "stopped":
            process.resume(folder)
            wait_for(folder)
        assert folder.state().status == "finished"


def test_killed_waiters_leave_the_line_and_the_others_go_on(tmp_path: Path, faults: FaultTable) -> None:
    rng = seeded(4)
    folders = [started(tmp_path, "dpo") for _ in range(6)]
    victims = rng.sample(folders[1:], 3)
    for folder in victims:
        with faults.attempt("worker killed in the queue") as attempt:
            time.sleep(rng.uniform(0, 1))
            pid = process.worker_pid(folder)
            assert pid is not None
            os.kill(pid, rng.choice([signal.SIGKILL, signal.SIGTERM]))
            wait_for(folder, 60)
            listed = workbench(tmp_path, "queue", "--json")
            assert (listed.returncode, folder.id in listed.stdout) == (0, False)
            assert process.status(folder, folder.state()) in ("lost", "stopped")
            process.resume(folder)
            attempt.kept([True], [process.alive(folder)])
    for folder in folders:
        wait_for(folder, 600)
        assert folder.state().status == "finished", (folder.id, process.last_words(folder))
        assert told(folder).keys() == told(folders[0]).keys()
