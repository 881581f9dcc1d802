"""What can be done to a run, without a screen: what is asked, what happens after yes and after no, what is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.runs_data import beginning, checkpoint, make_run, training, whole_run
from workbench.errors import WorkbenchError
from workbench.runs import labels, lease, process
from workbench.runs.actions import ACTIONS, delete, trusted
from workbench.runs.catalog import Catalog, Run
from workbench.runs.events import Checkpoint, Queued
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace

Worker = Callable[[RunFolder], int]


class Answers:
    """Answers every question alike, and keeps what was asked."""

    def __init__(self, yes: bool) -> None:
        self.yes = yes
        self.asked: list[str] = []

    async def __call__(self, question: str, detail: str, /, *, yes: str, no: str) -> bool:
        self.asked.append(f"{question} {detail} [{yes}/{no}]")
        return self.yes


def now(root: Path, folder: RunFolder) -> Run:
    return next(run for run in Catalog(root / "runs").summaries() if run.id == folder.id)


async def test_stop_asks_and_the_second_time_kills(root: Path, worker: Worker) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 5)], stop_grace=90)
    worker(folder)
    no, yes = Answers(yes=False), Answers(yes=True)
    assert ACTIONS["stop"].possible(now(root, folder))
    assert await ACTIONS["stop"].do(now(root, folder), no) == ""
    assert not folder.stop.exists()
    assert "within 1 min 30 s, it is killed." in no.asked[0]
    assert await ACTIONS["stop"].do(now(root, folder), yes) == "Stopping after this step …"
    assert folder.stop.exists()
    assert process.alive(folder)
    await ACTIONS["stop"].do(now(root, folder), yes)
    assert yes.asked[1].startswith(f"Kill {folder.id} now? It has saved no checkpoint yet")
    assert not process.alive(folder)
    assert not ACTIONS["stop"].possible(now(root, folder))
    assert ACTIONS["resume"].possible(now(root, folder))


async def test_kill_says_what_is_lost(root: Path, worker: Worker) -> None:
    saved = Checkpoint(time=9, step=20, path="checkpoints/checkpoint-20")
    folder = make_run(root, "tone", [*beginning(), *training(0, 25), saved])
    worker(folder)
    no = Answers(yes=False)
    await ACTIONS["kill"].do(now(root, folder), no)
    assert "since its last checkpoint (step 20) is lost" in no.asked[0]
    assert process.alive(folder)


async def test_pause_and_continue(root: Path, worker: Worker) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 5)])
    worker(folder)
    nobody = Answers(yes=False)
    assert "Pausing" in await ACTIONS["pause"].do(now(root, folder), nobody)
    assert folder.pause.exists()
    assert await ACTIONS["pause"].do(now(root, folder), nobody) == "Going on."
    assert not folder.pause.exists()
    assert not nobody.asked


async def test_resume_says_from_where_of_a_run_that_is_known_in_short(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 31)])
    folder.process.write_text('{"pid": 999999, "start": "x", "exit": -9}')
    checkpoint(folder, 20)
    checkpoint(folder, 30, whole=False)
    resumed: list[str] = []
    monkeypatch.setattr(process, "resume", lambda run: resumed.append(run.id))
    no = Answers(yes=False)
    await ACTIONS["resume"].do(now(root, folder), no)
    assert "after step 20 " in no.asked[0]
    assert "The 11 steps after it are made again" in no.asked[0]
    assert "checkpoint-30 was not written to its end: it is skipped" in no.asked[0]
    assert resumed == []
    await ACTIONS["resume"].do(now(root, folder), Answers(yes=True))
    assert resumed == [folder.id]


async def test_the_queue_is_moved_and_left(root: Path, worker: Worker) -> None:
    folders = [make_run(root, name, [Queued(time=9, device="CPU")], age=age) for age, name in enumerate("ab")]
    for folder in reversed(folders):
        lease.enqueue(folder, worker(folder))
    yes = Answers(yes=True)
    assert await ACTIONS["earlier"].do(now(root, folders[0]), yes) == f"{folders[0].id} is 1st in line."
    assert await ACTIONS["later"].do(now(root, folders[0]), yes) == f"{folders[0].id} is 2nd in line."
    assert await ACTIONS["stop"].do(now(root, folders[0]), yes) == "Taken out of the queue."
    assert "out of the queue?" in yes.asked[0]


async def test_archive_and_delete(root: Path, worker: Worker) -> None:
    folder = make_run(root, "tone", whole_run())
    no, yes = Answers(yes=False), Answers(yes=True)
    assert "is archived" in await ACTIONS["archive"].do(now(root, folder), no)
    assert labels.read(folder).archived
    assert "is back" in await ACTIONS["archive"].do(now(root, folder), no)
    assert await delete(now(root, folder), no, Workspace(root)) == ""
    assert folder.path.exists()
    run = now(root, folder)
    worker(folder)
    with pytest.raises(WorkbenchError, match="is running"):
        await delete(run, yes, Workspace(root))
    live = make_run(root, "other", whole_run(), age=5)
    assert await delete(now(root, live), yes, Workspace(root)) == f"Moved to runs/.trash/{live.id}."


async def test_a_run_that_was_not_made_here_is_asked_about_before_it_is_resumed(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 5)], launcher="command", launcher_command="x {command}")
    folder.signature.unlink()
    no, yes = Answers(yes=False), Answers(yes=True)
    assert not await trusted(now(root, folder), no)
    assert await ACTIONS["resume"].do(now(root, folder), no) == ""
    assert not folder.own
    assert no.asked[0].startswith(
        f"Trust {folder.id}? Its run.toml was made elsewhere, or was changed since. It names:"
    )
    assert "launcher_command = x {command} (a command that is run)" in no.asked[0]
    assert await trusted(now(root, folder), yes)
    assert folder.own
    assert await trusted(now(root, folder), no)
    assert (len(no.asked), len(yes.asked)) == (2, 1)
