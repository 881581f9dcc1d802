"""Watching runs without a screen: what a look sees, when it is due, and that one that fails ends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tui.runs_data import append, beginning, finished, make_run, training, whole_run
from workbench.runs import watching
from workbench.runs.catalog import Catalog
from workbench.runs.machine import Gpu
from workbench.runs.watching import RunWatcher, Snapshot, Wanted, WatchPace

AT_ONCE = WatchPace(0.01, 0.0, 0.0, 0.0)
SELDOM = WatchPace(600.0, 600.0, 600.0, 600.0)


def watcher(root: Path, pace: WatchPace = AT_ONCE) -> RunWatcher:
    return RunWatcher(root / "runs", pace)


def test_a_look_sees_all_runs_in_short_and_the_wanted_one_in_full(root: Path) -> None:
    long = make_run(root, "long", whole_run(1000), log="one\rtwo\nthree \x1b[31m\n\n")
    other = make_run(root, "other", whole_run(), age=5)
    snapshot = watcher(root).look(Wanted(long.id, (other.id,), log=True))
    assert [run.id for run in snapshot.runs] == [long.id, other.id]
    assert snapshot.run is not None
    assert (len(snapshot.runs[0].state.steps), len(snapshot.run.state.steps)) < (1000, 1000)
    assert len(snapshot.run.state.steps) == 1000
    assert [len(state.steps) for state in snapshot.overlays.values()] == [100]
    assert list(snapshot.overlays) == [other.id]
    assert snapshot.log == ("two", "three ␛[31m")


def test_without_a_wanted_run_there_is_a_list_only(root: Path) -> None:
    make_run(root, "tone", whole_run())
    looks = watcher(root)
    assert looks.look(Wanted()) == Snapshot(tuple(Catalog(root / "runs").summaries()), listed=True)
    assert looks.look(Wanted("2026-01-01-0000-none")).run is None


def test_it_remembers_what_became_of_runs(root: Path) -> None:
    ends = make_run(root, "ends", [*beginning(), *training(0, 5)])
    goes = make_run(root, "goes", [*beginning(), *training(0, 5)], age=5)
    make_run(root, "stays", [*beginning(), *training(0, 5)], age=9)
    looks = watcher(root)
    assert looks.look(Wanted()).before == ()
    append(ends, [finished()])
    goes.path.rename(root / "elsewhere")
    snapshot = looks.look(Wanted())
    assert [(run.id, run.status) for run in snapshot.before] == [(ends.id, "running"), (goes.id, "running")]
    assert [run.status for run in snapshot.runs] == ["finished", "running"]
    assert looks.look(Wanted()).before == ()


def test_a_state_in_which_nothing_is_new_is_the_same_object(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 5)])
    looks, wanted = watcher(root), Wanted(folder.id)
    first, second = looks.look(wanted).run, looks.look(wanted).run
    append(folder, training(6, 9))
    third = looks.look(wanted).run
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.state is second.state
    assert third.state.step == 9


def test_the_list_is_read_at_its_own_pace(root: Path) -> None:
    folder = make_run(root, "tone", whole_run())
    looks = watcher(root, SELDOM)
    assert looks.look(Wanted()).listed
    make_run(root, "new", [])
    later = looks.look(Wanted(folder.id))
    assert not later.listed
    assert [run.id for run in later.runs] == [folder.id]
    looks.hurry(at_list=True)
    assert len(looks.look(Wanted()).runs) == 2


def test_the_gpu_is_the_one_that_the_worker_is_on(
    root: Path, worker: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu(0, "NVIDIA H200", 140 * 2**30, 40 * 2**30, 0.5, ())
    monkeypatch.setattr("workbench.runs.machine.gpus", lambda: (replace(gpu, name="other"), gpu))
    live = make_run(root, "live", [*beginning(), *training(0, 5)])
    done = make_run(root, "done", whole_run(), age=5)
    worker(live)
    looks = watcher(root, SELDOM)
    assert looks.look(Wanted(live.id)).gpu == gpu
    assert looks.look(Wanted(done.id)).gpu is None


async def test_it_sleeps_until_it_is_woken_and_hurries_when_asked(root: Path) -> None:
    make_run(root, "tone", whole_run())
    looks = watcher(root, SELDOM)
    waiting = asyncio.create_task(looks.next(Wanted))
    looks.hurry()
    await asyncio.sleep(0.1)
    assert not waiting.done()
    looks.wake()
    assert (await asyncio.wait_for(waiting, 5)).listed
    waiting = asyncio.create_task(looks.next(Wanted))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    looks.hurry()
    assert not (await asyncio.wait_for(waiting, 5)).listed


async def test_a_look_that_fails_is_made_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(root, "tone", whole_run())
    looks = watcher(root, replace(SELDOM, one=0.01))
    summaries = Catalog.summaries

    def denied(_: Catalog) -> None:
        raise PermissionError(13, "Permission denied")

    looks.wake()
    for _ in range(2):
        monkeypatch.setattr(Catalog, "summaries", denied)
        with pytest.raises(PermissionError):
            await looks.next(lambda: Wanted(folder.id))
    monkeypatch.setattr(Catalog, "summaries", summaries)
    snapshot = await looks.next(lambda: Wanted(folder.id))
    assert snapshot.run is not None


def test_a_log_that_cannot_be_read_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(root, "tone", whole_run())
    assert watcher(root).look(Wanted(folder.id, log=True)).log == ()
    folder.log.mkdir()
    [line] = watcher(root).look(Wanted(folder.id, log=True)).log
    assert "cannot be read" in line
    monkeypatch.setattr(watching, "_LOG_LINES", 2)
    folder.log.rmdir()
    folder.log.write_text("a\nb\nc\n")
    assert watcher(root).look(Wanted(folder.id, log=True)).log == ("b", "c")
