"""Whether a worker is there, told from real processes."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.runs.events import Failed, Phase
from workbench.runs.folder import create
from workbench.runs.process import alive, cause_of_loss, last_words, record, request_stop, status, worker_pid
from workbench.runs.writer import EventWriter


@pytest.fixture
def folder(tmp_path):
    return create(tmp_path, build_config({"pairs": ["x"]}), [], {})


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_worker_is_alive_until_it_is_killed(folder, sleeper):
    record(folder, sleeper.pid)
    assert worker_pid(folder) == sleeper.pid
    sleeper.kill()
    deadline = time.monotonic() + 10
    while psutil.Process(sleeper.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not alive(folder)  # a zombie: nobody has waited for it yet
    sleeper.wait()
    assert not alive(folder)


def test_another_process_with_the_same_pid_is_not_the_worker(folder, sleeper):
    record(folder, sleeper.pid)
    found = json.loads(folder.process.read_text())
    folder.process.write_text(json.dumps(found | {"create_time": found["create_time"] - 60}))
    assert not alive(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": -5, "create_time": 1}', '{"pid": 1}'])
def test_a_damaged_record_means_no_worker(folder, text):
    folder.process.write_text(text)
    assert not alive(folder)


def test_lost_is_a_worker_that_went_without_a_last_word(folder, sleeper):
    assert status(folder, folder.state()) == "queued"
    with EventWriter(folder.events) as events:
        events.phase("loading the model")
    record(folder, sleeper.pid)
    before = folder.state()
    assert status(folder, before) == "running"
    sleeper.kill()
    sleeper.wait()
    assert status(folder, before) == "lost"
    with EventWriter(folder.events) as events:
        events.write(Failed(time=1, title="t", message="m"))
    assert status(folder, before) == "failed"  # the last word came after `before` was read


def test_only_a_running_run_can_be_asked_to_stop(folder, sleeper):
    with pytest.raises(WorkbenchError, match="not running"):
        request_stop(folder)
    record(folder, sleeper.pid)
    request_stop(folder)
    assert folder.stop.exists()


def test_the_last_words_are_the_end_of_the_log(folder):
    assert last_words(folder) == []
    folder.log.write_bytes(b"x" * 100_000 + b"\n\nbar 10%\rbar 20%\n\xff\x1b[31mred\n")
    assert last_words(folder, 3) == ["bar 10%", "bar 20%", "\ufffd\x1b[31mred"]


def test_the_cause_is_told_from_the_exit_status(folder):
    assert "restarted" in cause_of_loss(folder)
    folder.process.write_text(json.dumps({"pid": os.getpid(), "create_time": 1.0, "exit": -signal.SIGKILL}))
    assert "memory" in cause_of_loss(folder)
    folder.process.write_text(json.dumps({"pid": os.getpid(), "create_time": 1.0, "exit": -signal.SIGSEGV}))
    assert "signal 11" in cause_of_loss(folder)


def test_events_are_not_mixed_by_two_writers(folder):
    with EventWriter(folder.events) as one, EventWriter(folder.events) as other:
        for number in range(50):
            (one if number % 2 else other).write(Phase(time=number, name="x" * 5000))
    assert len(folder.events.read_text().splitlines()) == 50
    assert folder.state().last_event == 49
