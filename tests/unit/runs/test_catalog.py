"""The list of runs."""

import os
import subprocess
import sys
import time
from datetime import datetime, timedelta

from tests.unit.runs.test_state import started, step
from workbench.config import build_config
from workbench.runs.catalog import Catalog
from workbench.runs.events import Finished, Stopped, encode
from workbench.runs.folder import create
from workbench.runs.labels import Labels, write
from workbench.runs.lease import enqueue
from workbench.runs.process import record

NOW = datetime(2026, 3, 4, 15, 6)


def make(runs, number, events):
    config = build_config({"pairs": [f"d{number}"]})
    folder = create(runs, config, [], {}, now=NOW + timedelta(minutes=number))
    folder.events.write_text("".join(encode(event) for event in events))
    return folder


def finished(steps):
    end = Finished(time=99, step=steps, seconds=1, peak_memory_bytes=1, changed=1.0)
    return [started(total=steps), *(step(n) for n in range(1, steps + 1)), end]


def test_newest_first_and_no_folder_is_no_trouble(tmp_path):
    assert Catalog(tmp_path / "none").summaries() == []
    for number in (2, 0, 1):
        make(tmp_path, number, finished(3))
    assert [each.config.pairs for each in Catalog(tmp_path).summaries()] == [["d2"], ["d1"], ["d0"]]


def test_a_long_run_is_read_from_both_ends(tmp_path):
    folder = make(tmp_path, 0, finished(4000))
    assert folder.events.stat().st_size > 300_000
    (summary,) = Catalog(tmp_path).summaries()
    assert (summary.status, summary.state.step, summary.state.total_steps) == ("finished", 4000, 4000)
    assert summary.state.steps[0].step == 1
    assert summary.state.steps[-1].step == 4000
    assert len(summary.state.steps) < 4000


def test_changes_are_seen(tmp_path):
    folder = make(tmp_path, 0, [started()])
    catalog = Catalog(tmp_path)
    assert catalog.summaries()[0].status == "running"
    with folder.events.open("a") as file:
        file.write(encode(step(1)))
    assert catalog.summaries()[0].state.step == 1
    folder.process.write_text("{}")
    assert catalog.summaries()[0].status == "lost"
    folder.run_toml.unlink()
    assert catalog.summaries() == []


def test_a_damaged_run_is_listed_all_the_same(tmp_path):
    folder = make(tmp_path, 0, finished(1))
    folder.run_toml.write_text("?")
    (summary,) = Catalog(tmp_path).summaries()
    assert (summary.config, summary.status) == (None, "finished")


def test_listing_hundreds_of_runs_again_is_cheap(tmp_path):
    for number in range(300):
        make(tmp_path, number, finished(2))
    catalog = Catalog(tmp_path)
    assert len(catalog.summaries()) == 300
    began = time.perf_counter()
    assert len(catalog.summaries()) == 300
    assert time.perf_counter() - began < 1.0  # 0.02 s where this was written


def test_labels_and_the_place_in_line_are_told(tmp_path):
    one, two = make(tmp_path, 0, finished(1)), make(tmp_path, 1, [])
    catalog = Catalog(tmp_path)
    assert [(each.labels, each.place) for each in catalog.summaries()] == [(Labels(), None)] * 2
    write(one, Labels("mine", tags=("a",)))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as sleeper:
        record(two, sleeper.pid)
        enqueue(two, sleeper.pid)
        waits, done = catalog.summaries()
        assert (waits.status, waits.place, done.place) == ("queued", 1, None)
        assert done.labels == Labels("mine", tags=("a",))
        sleeper.kill()
    assert [(each.status, each.place) for each in catalog.summaries()] == [("lost", None), ("finished", None)]


def test_a_run_that_is_started_again_is_seen_before_it_tells_anything(tmp_path):
    folder = make(tmp_path, 0, [Stopped(time=1, seconds=1, peak_memory_bytes=1, changed=0)])
    catalog = Catalog(tmp_path)
    assert catalog.summaries()[0].status == "stopped"
    record(folder, os.getpid())
    assert catalog.summaries()[0].status == "queued"
