"""A worker is killed at fifty random moments: nothing is lost but the steps since the last checkpoint."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import write_pairs
from tests.faults.table import FaultTable, seeded, times
from workbench.config import build_config
from workbench.launch import launch
from workbench.runs import checkpoints, process
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace

KILLS = times(50)
SETTINGS = {"pairs": ["support"], "batch_size": 4, "learning_rate": 1e-3, "max_steps": 400, "save_steps": 3}
SETTINGS |= {"holdout": 0.1, "eval_steps": 40, "lora_r": 4, "sample_tokens": 4}


def wait_for(worker_gone: RunFolder, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while process.alive(worker_gone):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def losses(folder: RunFolder) -> dict[int, float]:
    return {each.step: each.metrics["loss"] for each in folder.state().steps}


def fingerprint(path: Path) -> dict[str, str]:
    files = (each for each in sorted(path.rglob("*")) if each.is_file())
    return {str(each.relative_to(path)): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def workers(workspace: Path) -> list[int]:
    """Workers of this workspace's runs that are still there."""
    return [each.pid for each in psutil.process_iter(["cmdline"]) if str(workspace) in str(each.info["cmdline"])]


@pytest.mark.timeout(3600)
def test_fifty_kills_lose_nothing_but_the_steps_since_the_last_checkpoint(tmp_path: Path, faults: FaultTable) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl")
    workspace, rng = Workspace(tmp_path), seeded(11)
    config = build_config(SETTINGS)
    whole = launch(workspace, config)
    wait_for(whole)
    expected = losses(whole)
    assert len(expected) == SETTINGS["max_steps"]
    while '"exit"' not in whole.process.read_text():  # Its parent, this process, writes down how it ended.
        time.sleep(0.05)
    untouched = fingerprint(whole.path)

    kills, outcomes, folder = 0, dict.fromkeys(("early", "training", "finished"), 0), launch(workspace, config)
    while kills < KILLS:
        time.sleep(rng.uniform(0.0, 14.0))
        pid = process.worker_pid(folder)
        if pid is None:
            assert process.status(folder, folder.state()) == "finished"
            assert losses(folder) == pytest.approx(expected, abs=1e-6)
            outcomes["finished"] += 1
            folder = launch(workspace, config)
            continue
        kills += 1
        with faults.attempt("worker killed in a long run") as attempt:
            os.kill(pid, signal.SIGKILL)
            wait_for(folder, 10)
            state = folder.state()
            told = process.status(folder, state)
            if told == "finished":  # It was killed while its interpreter came down.
                continue
            assert told == "lost"
            outcomes["training" if state.steps else "early"] += 1
            whole_ones = checkpoints.complete(folder)
            attempt.kept(
                [each.path for each in state.checkpoints][-1:], [checkpoints.name_in_run(each) for each in whole_ones]
            )
            for path in whole_ones:
                assert checkpoints.verify(path) == ""
            if state.step > 6 and len(state.checkpoints) > 2:
                assert whole_ones, f"no complete checkpoint at step {state.step}"
            process.resume(folder)
    wait_for(folder)
    assert process.status(folder, folder.state()) == "finished"
    assert losses(folder) == pytest.approx(expected, abs=1e-6)
    assert fingerprint(whole.path) == untouched
    time.sleep(1)
    assert not workers(tmp_path)
    print(f"{KILLS} kills: {outcomes}")
