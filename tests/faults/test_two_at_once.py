"""Two of everything: two screens on a workspace, two evaluations of a run, exports and moves while pairs are edited."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.bench.terminal import Terminal
from tests.end_to_end.conftest import FinishedRun, workbench, write_pairs
from tests.end_to_end.tmux import Tmux, needs_tmux
from tests.faults.pairs_session import Model, edit, starting_pairs
from tests.faults.table import FaultTable, seeded, times
from tests.faults.test_full_disks import copied
from workbench.pairs.store import PairStore, load_pairs
from workbench.pairs.store import write_pairs as write_data_set


def statuses(workspace: Path) -> list[str]:
    pairs, problems = load_pairs(workspace / "pairs" / "support.jsonl")
    assert not problems
    return [pair.status for pair in pairs]


KEYS = {"a": "accepted", "x": "dropped"}
"""Each judges a pair and goes on to the next."""


@needs_tmux
@pytest.mark.timeout(3600)
def test_screens_killed_at_random_moments_lose_no_judgement(tmp_path: Path, faults: FaultTable) -> None:
    """What the screen showed as judged is there afterwards; and what is there is what was typed."""
    rng = seeded(51)
    for number in range(times(50)):
        workspace = tmp_path / str(number)
        write_pairs(workspace / "pairs" / "support.jsonl", 40)
        with faults.attempt("screens killed") as attempt, Tmux(workspace) as tmux:
            pid = tmux.pid
            tmux.wait("40 left", 90)
            judged: list[str] = []
            for _ in range(rng.randrange(1, 6)):
                keys = [rng.choice([*KEYS]) for _ in range(rng.choice([1, 1, 3, 7]))]
                tmux.type("".join(keys))
                judged += [KEYS[key] for key in keys]
                time.sleep(rng.choice([0, 0, 0.02, 0.2, 3]))
            left = re.search(r"(\d+) left", tmux.screen())
            os.kill(pid, signal.SIGKILL)
            while psutil.pid_exists(pid):
                time.sleep(0.01)
            found = [status for status in statuses(workspace) if status != "new"]
            assert found == judged[: len(found)]
            shown = 40 - int(left[1]) if left else 0
            attempt.kept(range(shown), range(len(found)))
            for line in (workspace / "pairs" / "support.jsonl").read_text().splitlines():
                json.loads(line)
        assert "Traceback" not in workbench(workspace, "check", "support").stderr


def test_of_two_screens_one_edits_and_the_other_says_why_it_does_not(tmp_path: Path, faults: FaultTable) -> None:
    for number in range(times(3)):
        workspace = tmp_path / str(number)
        write_pairs(workspace / "pairs" / "support.jsonl", 20)
        with (
            faults.attempt("two screens on a workspace") as attempt,
            Terminal(workspace) as first,
        ):
            first.read_until("Keys", 90)
            first.repainted("a")
            with Terminal(workspace) as second:
                second.read_until("read only", 90)
                second.press("x")
                first.repainted("x")
                second.press("\x1b")  # closes what told why it did not
                time.sleep(1)
                for screens in (first, second):
                    screens.press("2")
                    screens.read_until("No runs yet", 90)
                    screens.press("1")
                assert first.runs
                assert second.runs
                second.quit()
            first.quit()
            attempt.kept(["accepted", "dropped"], statuses(workspace)[:2])
            assert statuses(workspace) == ["accepted", "dropped", *["new"] * 18]


def evaluate(workspace: Path, run: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace), "evaluate", run, "--json"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def measured(document: str) -> object:
    evidence = json.loads(document)
    return evidence["measurements"], evidence["verdicts"]


@pytest.mark.timeout(1800)
def test_two_evaluations_of_a_run(finished_run: FinishedRun, tmp_path: Path, faults: FaultTable) -> None:
    run = copied(finished_run, tmp_path)
    with faults.attempt("two evaluations of a run"):
        both = [evaluate(tmp_path, run.id) for _ in range(2)]
        results = [each.communicate(timeout=600) for each in both]
        for each, (out, error) in zip(both, results, strict=True):
            assert each.returncode in (0, 1), error
            assert "Traceback" not in error
            assert measured(out) == measured(results[0][0])
        assert measured(run.evidence.read_text()) == measured(results[0][0])
    rng = seeded(2)
    for _ in range(times(4)):
        with faults.attempt("evaluation killed beside another") as attempt:
            before = run.evidence.read_bytes()
            victim, other = evaluate(tmp_path, run.id), evaluate(tmp_path, run.id)
            time.sleep(rng.uniform(0, 8))
            victim.kill()
            victim.communicate()
            attempt.kept([True], [run.evidence.read_bytes() == before or bool(json.loads(run.evidence.read_text()))])
            out, error = other.communicate(timeout=600)
            assert other.returncode in (0, 1), error
            assert measured(out) == measured(results[0][0])
            assert not list(run.path.glob("*.tmp")) or victim.returncode


def test_exports_and_moves_while_pairs_are_edited(tmp_path: Path, faults: FaultTable) -> None:
    """What is exported is the data set after some number of edits; a file that is moved away loses none of them."""
    path, acknowledged = tmp_path / "pairs" / "x.jsonl", tmp_path / "acknowledged"
    path.parent.mkdir()
    write_data_set(path, starting_pairs())
    acknowledged.write_bytes(b"")
    command = [sys.executable, "-m", "tests.faults.pairs_session", str(path), "0", str(acknowledged)]
    session = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not acknowledged.stat().st_size:
        assert session.poll() is None
        time.sleep(0.002)
    for number in range(times(20)):
        with faults.attempt("exported while it is edited"):
            target = tmp_path / f"out-{number}.jsonl"
            done = workbench(tmp_path, "export", "x", "--to", str(target))
            assert done.returncode == 0, done.stderr
            rows = [json.loads(line) for line in target.read_text().splitlines()]
            assert len({row["id"] for row in rows}) == len(rows)
    moved = tmp_path / "elsewhere.jsonl"
    with faults.attempt("moved while it is edited") as attempt:
        path.rename(moved)
        time.sleep(0.5)
        session.kill()
        session.communicate()
        told = acknowledged.stat().st_size
        if not path.exists():
            moved.rename(path)
        model, states = Model(starting_pairs()), []
        for edited in range(told + 1):
            states.append(list(model.pairs))
            edit(model, edited)
        with PairStore(path) as store:
            found = list(store.pairs)
        assert found in (states[told], list(model.pairs))
        attempt.kept(range(told), range(told) if found in (states[told], list(model.pairs)) else ())
