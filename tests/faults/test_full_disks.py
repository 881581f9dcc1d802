"""The disk fills up before or while a run is trained, evaluated, reported on, merged, exported: told, and nothing that
was there is harmed; with room again it works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.end_to_end.conftest import FinishedRun, workbench
from tests.faults.table import FaultTable, seeded, times
from tests.faults.test_run_faults import STEPS, begun
from tests.faults.test_run_kills import fingerprint, losses, wait_for
from workbench.runs import process
from workbench.runs.events import Failed
from workbench.runs.folder import RunFolder


@contextmanager
def filled(disk: Path, leave: int = 0) -> Iterator[None]:
    """In the block the disk has `leave` bytes left."""
    ballast = disk / "ballast"
    try:
        fill(ballast, leave)
        yield
    finally:
        ballast.unlink(missing_ok=True)


def fill(ballast: Path, leave: int = 0) -> None:
    with ballast.open("wb") as file:
        for _ in range(100):
            free = os.statvfs(ballast.parent)
            wanted = ballast.stat().st_size + free.f_bavail * free.f_frsize - leave
            with suppress(OSError):  # A run that trains meanwhile took some.
                os.posix_fallocate(file.fileno(), 0, max(4096, wanted))
                return
    raise AssertionError("the disk cannot be filled")


def copied(finished_run: FinishedRun, workspace: Path) -> RunFolder:
    """The finished run and its data in another workspace."""
    shutil.copytree(finished_run.workspace / "pairs", workspace / "pairs")
    shutil.copytree(finished_run.folder, workspace / "runs" / finished_run.id)
    return RunFolder(workspace / "runs" / finished_run.id)


@pytest.fixture
def copy_on_disk(make_disk: Callable[[int], Path], finished_run: FinishedRun) -> tuple[Path, RunFolder]:
    """A small disk with a workspace, and a finished run in it."""
    disk = make_disk(64)
    return disk, copied(finished_run, disk)


def tried(disk: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that has too little room: it says so, unless what was left did suffice."""
    done = workbench(disk, *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1, 2)
    said = (done.stdout + done.stderr).lower()
    if done.returncode:
        assert any(word in said for word in ("space", "disk", "room")), said
    return done


def kept_files(run: RunFolder) -> dict[str, str]:
    """All but the card of the adapter, which an evaluation writes anew."""
    return {name: digest for name, digest in fingerprint(run.path).items() if name != "adapter/README.md"}


LEFT = (0, 4 << 10, 48 << 10)


@pytest.mark.parametrize("leave", LEFT)
def test_a_full_disk_under_evaluate_and_report(
    leave: int, copy_on_disk: tuple[Path, RunFolder], faults: FaultTable
) -> None:
    disk, run = copy_on_disk
    for command, written in (("evaluate", run.evidence), ("report", run.report)):
        with faults.attempt(f"disk full under {command}") as attempt:
            before = kept_files(run)
            with filled(disk, leave):
                first = tried(disk, command, run.id)
            assert written.exists() or first.returncode, "it said that it was written"
            assert not [path for path in run.path.rglob("*.tmp") if path.name != "adapter.tmp"]
            attempt.kept(before.items(), kept_files(run).items())
            assert (run.adapter / "README.md").read_text().rstrip(), "the card was emptied"
            assert workbench(disk, command, run.id).returncode in (0, 1)
            good = json.loads(written.read_text()) if command == "evaluate" else written.read_bytes()
            with filled(disk, leave):
                # Once more: what an earlier one wrote stays until there is room for another.
                again = tried(disk, command, run.id)
            now = json.loads(written.read_text()) if command == "evaluate" else written.read_bytes()
            attempt.kept([True], [now == good or again.returncode < 2])


@pytest.mark.parametrize("leave", LEFT)
def test_a_full_disk_under_export_and_train(
    leave: int, copy_on_disk: tuple[Path, RunFolder], faults: FaultTable
) -> None:
    disk, run = copy_on_disk
    before = fingerprint(run.path) | fingerprint(disk / "pairs")
    runs = {path.name for path in (disk / "runs").iterdir()}
    target = disk / "out.jsonl"
    with faults.attempt("disk full under export") as attempt, filled(disk, leave):
        done = tried(disk, "export", "support", "--to", str(target))
        assert target.exists() == (done.returncode == 0)
        attempt.kept(before.items(), (fingerprint(run.path) | fingerprint(disk / "pairs")).items())
    target.unlink(missing_ok=True)
    with faults.attempt("disk full when a run is started") as attempt:
        with filled(disk, leave):
            done = tried(disk, "train", "--pairs", "support", "--set=max_steps=2", "--wait", "--json")
            assert done.returncode
        listed = workbench(disk, "runs")
        assert "Traceback" not in listed.stderr
        attempt.kept(before.items(), (fingerprint(run.path) | fingerprint(disk / "pairs")).items())
        for left in {path.name for path in (disk / "runs").iterdir()} - runs:
            assert (disk / "runs" / left / "run.toml").is_file(), f"{left} is half a run"


def test_a_disk_that_fills_up_during_a_merge(copy_on_disk: tuple[Path, RunFolder], faults: FaultTable) -> None:
    """Once it has looked how much room there is, and before it writes the weights."""
    disk, run = copy_on_disk
    before, rng = fingerprint(run.path), seeded(3)
    known = set(disk.iterdir())
    for number in range(times(4)):
        command = [sys.executable, "-m", "workbench", "--workspace", str(disk), "merge", run.id, "--to"]
        with faults.attempt("disk full during a merge") as attempt:
            process = subprocess.Popen([*command, str(disk / f"merged-{number}")], stderr=subprocess.PIPE, text=True)
            said = ""
            for line in process.stderr or ():
                said += line
                if "loading the base again" in line:
                    fill(disk / "ballast", rng.choice([0, 64 << 10, 512 << 10]))
            assert process.wait() in (1, 2), "the disk was full all the same"
            assert "Traceback" not in said, said
            assert any(word in said.lower() for word in ("space", "disk", "room")), said
            assert set(disk.iterdir()) - known == {disk / "ballast"}, "half a model was left"
            attempt.kept(before.items(), fingerprint(run.path).items())
        (disk / "ballast").unlink()
    assert workbench(disk, "merge", run.id, "--to", str(disk / "merged")).returncode == 0


def test_a_disk_that_fills_up_while_a_run_trains(make_disk: Callable[[int], Path], faults: FaultTable) -> None:
    """At several moments, with less and more room left."""
    disk, told = make_disk(96), dict[int, float]()
    folder = begun(disk, save_steps=2)
    for leave in (0, 16 << 10, 300 << 10, 2 << 20)[: times(4)]:
        with faults.attempt("disk full while a run trains") as attempt:
            with filled(disk, leave):
                wait_for(folder)
                state, told = folder.state(), losses(folder)
                if state.status == "finished":
                    break
                assert isinstance(state.end, Failed), process.last_words(folder)
                assert "full" in state.end.title
                shown = workbench(disk, "show", folder.id)
                assert (shown.returncode, "Traceback" in shown.stderr) == (0, False)
                assert "Traceback" not in workbench(disk, "resume", folder.id).stderr
                wait_for(folder)
            process.resume(folder)
            deadline = time.monotonic() + 300
            while not told.keys() <= losses(folder).keys():
                assert time.monotonic() < deadline, process.last_words(folder)
                time.sleep(0.05)
            again = losses(folder)
            assert {step: again[step] for step in told} == pytest.approx(told, abs=1e-6)
            attempt.kept(told, again)
    wait_for(folder)
    assert folder.state().status == "finished", process.last_words(folder)
    assert sorted(losses(folder)) == list(range(1, STEPS + 1))
