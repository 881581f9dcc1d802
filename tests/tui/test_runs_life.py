"""What the Runs screen does to runs: stops, kills, pauses, resumes, queues, names, archives and discards them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.runs_data import append, beginning, checkpoint, make_run, training, whole_run
from tests.tui.runs_screen import runs_screen, shown, shows, told, until
from workbench.runs import labels, lease, process
from workbench.runs.events import Checkpoint, Paused, Phase, Queued, Resumed
from workbench.runs.folder import RunFolder
from workbench.tui.screens.runs import RunsScreen

Worker = Callable[[RunFolder], int]


async def test_stop_asks_counts_down_and_a_second_time_kills(root: Path, worker: Worker) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 5)], stop_grace=90)
    worker(folder)
    async with runs_screen(root) as pilot:
        await shows(pilot, "5/100")
        await pilot.press("p")
        await shows(pilot, "Stop and save", "it is killed.")
        await pilot.press("n")
        assert not folder.stop.exists()
        await pilot.press("p")
        await shows(pilot, "Stop and save")
        await pilot.press("y")
        await until(pilot, folder.stop.exists)
        await shows(pilot, "stopping", "saves after this step", "killed in 1 min 2")
        await pilot.press("p")
        await shows(pilot, "Kill 2026-03-14-1509-tone-dpo now?", "no checkpoint yet")
        await pilot.press("y")
        await shows(pilot, "■ stopped", "killed", "The worker was killed")
        assert not process.alive(folder)


async def test_kill_says_what_is_lost(root: Path, worker: Worker) -> None:
    saved = Checkpoint(time=9, step=20, path="checkpoints/checkpoint-20")
    folder = make_run(root, "tone", [*beginning(), *training(0, 25), saved])
    worker(folder)
    async with runs_screen(root) as pilot:
        await shows(pilot, "25/100")
        await pilot.press("K")
        await shows(pilot, "since its last checkpoint (step 20) is lost")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        assert process.alive(folder)


async def test_pause_and_continue(root: Path, worker: Worker) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 5)])
    worker(folder)
    async with runs_screen(root) as pilot:
        await shows(pilot, "5/100")
        await pilot.press("space")
        await until(pilot, folder.pause.exists)
        append(folder, [Paused(time=9, step=6)])
        await shows(pilot, "◍ paused", "space continues", "1 paused")
        await pilot.press("P")
        await until(pilot, lambda: not folder.pause.exists())


async def test_resume_says_from_where_and_skips_what_is_torn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 31)], log="the last words\n")
    folder.process.write_text('{"pid": 999999, "start": "x", "exit": -9}')
    checkpoint(folder, 10)
    checkpoint(folder, 20)
    checkpoint(folder, 30, whole=False)
    resumed: list[str] = []
    monkeypatch.setattr(process, "resume", lambda run: resumed.append(run.id))
    async with runs_screen(root) as pilot:
        await shows(pilot, "? lost", "r resumes after step 20", "checkpoint-30 is torn", "the last words")
        await pilot.press("r")
        await shows(
            pilot, "goes on after step 20", "The 11 steps after it are made again", "checkpoint-30 was not written"
        )
        await pilot.press("y")
        await until(pilot, lambda: resumed == [folder.id])


async def test_a_worker_that_resumes_says_what_it_does(root: Path, worker: Worker) -> None:
    again = [
        Resumed(time=9, step=20, checkpoint="checkpoints/checkpoint-20"),
        Phase(time=9, step=20, name="loading it"),
    ]
    worker(make_run(root, "tone", [*beginning(), *training(0, 31), *again]))
    async with runs_screen(root, (80, 24)) as pilot:
        text = await shows(pilot, "step 20/100", "loading it …")
        assert " left" not in text.split("running   step")[1].split("\n")[0]


async def test_a_run_that_cannot_be_resumed_says_so(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 3)])
    folder.process.write_text('{"pid": 999999, "start": "x"}')
    async with runs_screen(root) as pilot:
        await shows(pilot, "? lost", "r starts it again")
        await pilot.press("r")
        await shows(pilot, "begins again from the first")


async def test_the_queue_is_shown_moved_and_left(root: Path, worker: Worker) -> None:
    folders = [make_run(root, name, [Queued(time=9, device="CPU")], age=age) for age, name in enumerate("abc")]
    for folder in reversed(folders):
        lease.enqueue(folder, worker(folder))
    async with runs_screen(root, (120, 30)) as pilot:
        await shows(pilot, "3 queued", "3rd in line, behind 2026-03-14-1508-b-dpo", "< > move it")
        await pilot.press("less_than_sign")
        await shows(pilot, "2nd in line, behind 2026-03-14-1507-c-dpo")
        assert lease.places()[folders[0].path.resolve()] == 2
        await pilot.press("greater_than_sign")
        await shows(pilot, "3rd in line, behind 2026-03-14-1508-b-dpo")
        await pilot.press("p")
        await shows(pilot, "out of the queue?")
        await pilot.press("y")
        await until(pilot, folders[0].stop.exists)


async def test_delete_asks_moves_to_the_trash_and_never_takes_a_run_that_goes_on(root: Path, worker: Worker) -> None:
    live = make_run(root, "live", [*beginning(), *training(0, 5)])
    worker(live)
    old = make_run(root, "old", whole_run(), age=10)
    async with runs_screen(root) as pilot:
        await shows(pilot, "1 running · 1 done")
        await pilot.press("D")
        await pilot.pause(0.2)
        assert isinstance(pilot.app.screen, RunsScreen)
        await pilot.press("j", "D")
        await shows(pilot, f"Delete {old.id}?", "runs/.trash")
        await pilot.press("y")
        await until(pilot, lambda: not old.path.exists())
        await until(pilot, lambda: old.id not in shown(pilot).replace(f"runs/.trash/{old.id}", ""))
        assert (root / "runs" / ".trash" / old.id / "run.toml").exists()
        assert any("Moved to runs/.trash" in each for each in told(pilot))
        assert not any("is gone" in each for each in told(pilot))
        assert live.path.exists()


async def test_names_tags_and_the_archive(root: Path) -> None:
    folder = make_run(root, "tone", whole_run())
    other = make_run(root, "other", whole_run(), age=4)
    async with runs_screen(root, (160, 45)) as pilot:
        await shows(pilot, folder.id)
        await pilot.press("t")
        await shows(pilot, "words, apart by spaces")
        await pilot.press(*"best", "tab", *"sft", "space", *"x", "tab", *"keep", "enter")
        await shows(pilot, "✔ finished  best", "#sft #x", "keep")
        assert labels.read(folder) == labels.Labels("best", "keep", ("sft", "x"))
        await pilot.press("slash", *"#sft")
        await until(pilot, lambda: other.id not in shown(pilot))
        await shows(pilot, "1 of 2")
        await pilot.press("enter", "escape")
        await shows(pilot, other.id)
        await pilot.press("A")
        await until(pilot, lambda: labels.read(folder).archived)
        await until(pilot, lambda: "best" not in shown(pilot).split("─")[0])
        await pilot.press("a")
        await shows(pilot, "✔ finished  best")
        await pilot.press("k", "A")
        await until(pilot, lambda: not labels.read(folder).archived)
        await pilot.press("slash", *"nowhere")
        await shows(pilot, "No run is left to show", "0 of 2")
        await pilot.press("escape")
        await shows(pilot, "✔ finished  best")


async def test_a_tag_that_is_none_is_refused_with_words(root: Path) -> None:
    make_run(root, "tone", whole_run())
    async with runs_screen(root) as pilot:
        await shows(pilot, "1 done")
        await pilot.press("t")
        await shows(pilot, "words, apart by spaces")
        await pilot.press("tab", *"it's", "enter")
        await shows(pilot, "Not a tag")


async def test_the_report_is_written_from_the_screen(root: Path) -> None:
    folder = make_run(root, "tone", whole_run())
    async with runs_screen(root) as pilot:
        await shows(pilot, "finished")
        await pilot.press("w")
        await until(pilot, folder.report.exists)
        await until(pilot, lambda: any("report.html" in each for each in told(pilot)))
    assert "Log-probability" in folder.report.read_text("utf-8")


async def test_a_report_that_cannot_be_written_says_why(root: Path) -> None:
    folder = make_run(root, "tone", whole_run())
    folder.evidence.write_text("{}", "utf-8")
    async with runs_screen(root) as pilot:
        await shows(pilot, "finished")
        await pilot.press("w")
        await shows(pilot, "No evidence of this version", "workbench evaluate")
    assert not folder.report.exists()
