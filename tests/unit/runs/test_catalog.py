"""The list of runs."""

import time
from datetime import datetime, timedelta

from tests.unit.runs.test_state import started, step
from workbench.config import build_config
from workbench.runs.catalog import Catalog
from workbench.runs.events import Finished, encode
from workbench.runs.folder import create

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
