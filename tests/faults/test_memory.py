"""Memory runs out: of a worker (its address space, its control group), of the scorer, of a command."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import FinishedRun, workbench, workbench_process, write_pairs
from tests.faults.table import FaultTable, seeded, times
from tests.faults.test_run_kills import SETTINGS, losses, wait_for
from workbench.compare.client import ScorerClient
from workbench.compare.messages import Column, NextToken
from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.launch import launch
from workbench.memory_kills import control_groups
from workbench.runs import process
from workbench.runs.events import Failed
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace

MB = 1024**2
SHORT = {**SETTINGS, "max_steps": 8}


def started(workspace: Path) -> RunFolder:
    write_pairs(workspace / "pairs" / "support.jsonl")
    return launch(Workspace(workspace), build_config(SHORT))


def cap(pid: int, size: int) -> None:
    """As `ulimit -v` does, for a process that runs."""
    resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[int, float], int]:
    """The losses of a run that had all the memory it wanted, and the address space it took."""
    folder, most = started(tmp_path_factory.mktemp("whole")), 0
    while (pid := process.worker_pid(folder)) is not None:
        try:
            most = max(most, psutil.Process(pid).memory_info().vms)
        except psutil.Error:
            break
        time.sleep(0.02)
    wait_for(folder)
    assert folder.state().status == "finished", process.last_words(folder)
    return losses(folder), most


def goes_on(folder: RunFolder, expected: dict[int, float]) -> None:
    """With memory again, the run ends as one that was never short of it."""
    if folder.state().status != "finished":
        process.resume(folder)
        wait_for(folder)
    assert folder.state().status == "finished", process.last_words(folder)
    assert losses(folder) == pytest.approx(expected, abs=1e-6)


@pytest.mark.timeout(1800)
def test_a_worker_whose_address_space_ends_says_so(
    whole: tuple[dict[int, float], int], tmp_path: Path, faults: FaultTable
) -> None:
    expected, most = whole
    rng, count = seeded(5), times(12)
    seen = []
    for number in range(count):
        with faults.attempt("worker out of address space") as attempt:
            folder = started(tmp_path / str(number))
            pid = process.worker_pid(folder)
            assert pid is not None
            size = int(most * (0.1 + 0.9 * (number + rng.random()) / count))
            cap(pid, size)
            wait_for(folder)
            state = folder.state()
            told = process.status(folder, state)
            assert told in ("finished", "failed", "lost")
            if isinstance(state.end, Failed):
                assert "memory" in f"{state.end.title} {state.end.message}".lower(), (size // MB, state.end)
                assert state.end.hint
                seen.append("told")
            else:
                assert told == "finished" or process.cause_of_loss(folder)
                seen.append(told)
            shown = workbench(tmp_path / str(number), "show", folder.id)
            assert (shown.returncode, "Traceback" in shown.stderr) == (0, False)
            goes_on(folder, expected)
            attempt.kept(expected, losses(folder))
    print(seen)
    assert "told" in seen or count < 4


@pytest.fixture
def make_group() -> Iterator[Callable[[int], Path]]:
    """Makes a control group with a limit of memory within that of this process; skips where that is not allowed."""
    made: list[Path] = []

    def make(limit: int) -> Path:
        for version, group in control_groups():
            path = group / f"faults-{os.getpid()}"
            try:
                path.mkdir()
                made.append(path)
                (path / ("memory.max" if version == 2 else "memory.limit_in_bytes")).write_text(str(limit))
            except OSError:
                continue
            return path
        pytest.skip("making a control group is not allowed here")

    yield make
    for path in made:
        path.rmdir()


def test_a_worker_killed_for_memory_is_lost_and_goes_on(
    make_group: Callable[[int], Path], whole: tuple[dict[int, float], int], tmp_path: Path, faults: FaultTable
) -> None:
    group = make_group(120 * MB)
    with faults.attempt("worker killed by the kernel for memory") as attempt:
        folder = started(tmp_path)
        pid = process.worker_pid(folder)
        (group / "cgroup.procs").write_text(str(pid))
        wait_for(folder)
        while '"exit"' not in folder.process.read_text():  # Its parent, this process, writes down how it ended.
            time.sleep(0.05)
        assert process.status(folder, folder.state()) == "lost"
        assert "signal 9" in process.cause_of_loss(folder)
        assert "emory" in process.cause_of_loss(folder)
        goes_on(folder, whole[0])
        attempt.kept(whole[0], losses(folder))


async def test_a_scorer_without_memory_says_so_and_the_next_one_works(faults: FaultTable) -> None:
    asked = NextToken(columns=[Column(name="base")], prompt="What about the card?")
    async with ScorerClient("tiny") as client:
        expected = await client.ask(asked)
    for size in (300, 1200, 2200)[: times(3)]:
        with faults.attempt("scorer out of address space"):
            client = ScorerClient("tiny")
            cap((await client._started())._process.pid, size * MB)
            try:
                assert await client.ask(asked) == expected.model_copy(update={"id": 1})
            except WorkbenchError:
                # The next request starts another one.
                assert await client.ask(asked) == expected.model_copy(update={"id": 2})
            await client.close()


@pytest.mark.parametrize("command", ["score", "evaluate", "merge", "report"])
def test_a_command_without_memory_ends_in_words(
    command: str, finished_run: FinishedRun, tmp_path: Path, faults: FaultTable
) -> None:
    shutil.copytree(finished_run.folder, tmp_path / "runs" / finished_run.id)
    run = RunFolder(tmp_path / "runs" / finished_run.id)
    arguments = {
        "score": ["score", "--prompt=What about the card?", "--response=Gladly.", "--run", run.id],
        "evaluate": ["evaluate", run.id],
        "merge": ["merge", run.id, "--to", str(tmp_path / "merged")],
        "report": ["report", run.id],
    }[command]
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    for size in (500, 900, 1500)[: times(3)]:
        with faults.attempt("command out of address space"):
            try:
                resource.setrlimit(resource.RLIMIT_AS, (size * MB, hard))  # The command inherits it.
                done = workbench_process(tmp_path, *arguments)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            assert "Traceback" not in done.stderr, (size, done.stderr)
            assert not (tmp_path / "merged").exists() or done.returncode == 0
            assert done.returncode == 0 or done.stderr.strip()
