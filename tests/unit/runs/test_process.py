"""A worker seen from outside, told from real processes."""

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
from workbench.runs import process_identity
from workbench.runs.events import Checkpoint, Failed, Finished, Killed, Phase, Queued, Started, Step, Stopped, encode
from workbench.runs.folder import create
from workbench.runs.machine import total_memory
from workbench.runs.process import (
    alive,
    cause_of_loss,
    kill,
    last_words,
    record,
    recorded,
    request_continue,
    request_pause,
    request_stop,
    resume,
    seconds_to_kill,
    start,
    status,
    worker_pid,
)
from workbench.runs.writer import EventWriter

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def folder(tmp_path):
    return create(tmp_path, build_config({"pairs": ["x"], "stop_grace": 30}), [], {})


@pytest.fixture
def sleeper():
    process = subprocess.Popen(SLEEPS, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def tell(folder, *events):
    with EventWriter(folder.events) as writer:
        for event in events:
            writer.write(event)


def now(folder):
    return status(folder, folder.state())


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_worker_is_alive_until_it_is_killed(folder, sleeper):
    record(folder, sleeper.pid)
    assert worker_pid(folder) == sleeper.pid
    sleeper.kill()
    wait_until(lambda: psutil.Process(sleeper.pid).status() == psutil.STATUS_ZOMBIE)
    assert not alive(folder)  # a zombie: nobody has waited for it yet
    sleeper.wait()
    assert not alive(folder)


def test_another_process_with_the_same_pid_is_not_the_worker(folder, sleeper):
    record(folder, sleeper.pid)
    boot, ticks = recorded(folder)["start"].split()
    for start_word in (f"{boot} {int(ticks) - 1}", f"another-boot {ticks}", ticks, ""):
        folder.process.write_text(json.dumps(recorded(folder) | {"start": start_word}))
        assert not alive(folder)


def test_who_a_worker_is_does_not_depend_on_the_clock(folder, sleeper):
    """It is told in ticks since the machine's boot, which nobody can set."""
    record(folder, sleeper.pid)
    stat = (process_identity._PROC / str(sleeper.pid) / "stat").read_text()
    assert recorded(folder)["start"] == f"{process_identity.boot_id()} {stat.split()[21]}"


def test_without_proc_the_system_is_asked_another_way(folder, sleeper, monkeypatch):
    monkeypatch.setattr(process_identity, "boot_id", lambda: "")
    record(folder, sleeper.pid)
    assert worker_pid(folder) == sleeper.pid
    sleeper.kill()
    wait_until(lambda: not alive(folder))  # a zombie
    sleeper.wait()
    assert process_identity.start_of(sleeper.pid) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": -5, "start": "1"}', '{"pid": 1}', "[" * 9999])
def test_a_damaged_record_means_no_worker(folder, text):
    folder.process.write_text(text)
    assert not alive(folder)
    assert cause_of_loss(folder)


def test_lost_is_a_worker_that_went_without_a_last_word(folder, sleeper):
    assert now(folder) == "queued"
    record(folder, sleeper.pid)
    assert now(folder) == "queued"
    tell(folder, Phase(time=1, name="loading the model"))
    before = folder.state()
    assert status(folder, before) == "running"
    sleeper.kill()
    sleeper.wait()
    assert status(folder, before) == "lost"
    tell(folder, Failed(time=1, title="t", message="m"))
    assert status(folder, before) == "failed"  # the last word came after `before` was read


def test_a_worker_started_again_waits_until_it_tells_something(folder, sleeper):
    end = Stopped(time=1, step=3, seconds=1, peak_memory_bytes=1, changed=1)
    tell(folder, end)
    assert now(folder) == "stopped"
    record(folder, sleeper.pid)
    assert now(folder) == "queued"
    sleeper.kill()
    sleeper.wait()
    assert now(folder) == "lost"  # it told nothing at all
    tell(folder, Phase(time=2, name="starting"), end)
    assert now(folder) == "stopped"


def test_only_a_running_run_can_be_asked_for_anything(folder, sleeper):
    for request in (request_stop, request_pause, request_continue, kill):
        with pytest.raises(WorkbenchError, match="not running"):
            request(folder)
    assert seconds_to_kill(folder) is None
    record(folder, sleeper.pid)
    with pytest.raises(WorkbenchError, match="waits already"):
        request_pause(folder)
    tell(folder, Phase(time=1, name="training"))
    with pytest.raises(WorkbenchError, match="not paused"):
        request_continue(folder)
    request_pause(folder)
    assert folder.pause.exists()
    request_continue(folder)
    assert not folder.pause.exists()
    request_stop(folder)
    assert folder.stop.exists()
    with pytest.raises(WorkbenchError, match="is stopping"):
        request_pause(folder)


def test_a_finished_run_is_asked_for_nothing_while_its_worker_ends(folder, sleeper):
    record(folder, sleeper.pid)
    tell(folder, Finished(time=1, step=1, seconds=1, peak_memory_bytes=1, changed=1))
    assert alive(folder)
    for request in (request_stop, request_pause):
        with pytest.raises(WorkbenchError, match="not running"):
            request(folder)
    assert not folder.stop.exists()


def test_the_grace_is_counted_from_the_first_request_by_a_clock_that_nobody_sets(folder, sleeper):
    record(folder, sleeper.pid)
    assert seconds_to_kill(folder) is None
    request_stop(folder)
    assert 29 < seconds_to_kill(folder) <= 30
    os.utime(folder.stop, (0, 0))  # as if the clock had been set
    assert 29 < seconds_to_kill(folder) <= 30
    folder.stop.write_text(f"{process_identity.boot_id()} {time.monotonic() - 20}")
    request_stop(folder)
    assert 9 < seconds_to_kill(folder) <= 10
    folder.stop.write_text(f"{process_identity.boot_id()} {time.monotonic() - 99}")
    assert seconds_to_kill(folder) == 0
    for text in ("", "?", "x y", f"{process_identity.boot_id()} soon"):  # made by another hand: the file's time counts
        folder.stop.write_text(text)
        os.utime(folder.stop, (time.time() - 10, time.time() - 10))
        assert 19 < seconds_to_kill(folder) <= 20
    sleeper.kill()
    sleeper.wait()
    assert seconds_to_kill(folder) is None


def test_killing_ends_the_whole_group_and_is_told(folder):
    family = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    parent = subprocess.Popen([sys.executable, "-c", f"{family}; print(1, flush=True); time.sleep(60)"],
                              start_new_session=True, stdout=subprocess.PIPE)  # fmt: skip
    assert parent.stdout.readline() == b"1\n"
    (child,) = psutil.Process(parent.pid).children()
    record(folder, parent.pid)
    tell(folder, Phase(time=1, step=7, name="training"), Checkpoint(time=1, step=6, path="checkpoints/checkpoint-6"))
    kill(folder)
    parent.communicate()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    state = folder.state()
    assert isinstance(state.end, Killed)
    assert (state.end.step, state.end.message) == (7, "Ended by force at step 7; the last checkpoint is of step 6.")
    assert now(folder) == "stopped"


def test_killing_spares_whoever_shares_the_group(folder):
    worker = subprocess.Popen(SLEEPS)  # in the group of these tests
    record(folder, worker.pid)
    kill(folder)
    assert worker.wait() == -signal.SIGKILL


def test_killing_says_nothing_where_the_worker_was_faster(folder, sleeper):
    record(folder, sleeper.pid)
    tell(folder, Finished(time=1, step=1, seconds=1, peak_memory_bytes=1, changed=1))
    kill(folder)
    assert folder.state().status == "finished"


def test_starting_and_resuming_refuse_what_they_must(folder, sleeper):
    record(folder, sleeper.pid)
    for again in (start, resume):
        with pytest.raises(WorkbenchError, match="has a worker"):
            again(folder)
    sleeper.kill()
    sleeper.wait()
    tell(folder, Finished(time=1, step=1, seconds=1, peak_memory_bytes=1, changed=1))
    with pytest.raises(WorkbenchError, match="has finished"):
        resume(folder)
    folder.run_toml.unlink()
    folder.path.rename(folder.path.with_name("away"))
    with pytest.raises(WorkbenchError, match="could not be started"):
        start(folder)


def test_resuming_clears_old_requests_and_the_end_is_known_to_who_started_it(folder, monkeypatch, tmp_path):
    tell(folder, Killed(time=1, step=2, message=""))
    folder.stop.touch()
    folder.pause.touch()
    (tmp_path / "python").write_text(f"#!{sys.executable}\nimport time; time.sleep(0.3); raise SystemExit(3)\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    pid = resume(folder)
    assert worker_pid(folder) == pid
    assert os.getsid(pid) == pid
    assert not folder.stop.exists()
    assert not folder.pause.exists()
    assert now(folder) == "queued"
    wait_until(lambda: "exit" in recorded(folder))
    assert "exit status 3" in cause_of_loss(folder)
    assert now(folder) == "lost"
    assert not psutil.pid_exists(pid)  # no zombie


def test_the_last_words_are_the_end_of_the_log(folder):
    assert last_words(folder) == []
    folder.log.write_bytes(b"x" * 100_000 + b"\n\nbar 10%\rbar 20%\n\xff\x1b[31mred\n")
    assert last_words(folder, 3) == ["bar 10%", "bar 20%", "\ufffd\x1b[31mred"]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({}, "The worker is gone without a last event; how it ended was not seen."),
        ({"exit": -signal.SIGKILL}, "The worker was killed (signal 9)."),
        ({"exit": 137}, "The worker was killed (signal 9)."),
        ({"exit": -signal.SIGSEGV}, "signal 11 (SIGSEGV)"),
        ({"exit": -99}, "signal 99"),
        ({"exit": 1}, "exit status 1"),
        ({"start": "another-boot 5"}, "machine was restarted"),
        ({"start": "another-boot 5", "host": "elsewhere"}, "another machine (elsewhere)"),
    ],
)
def test_the_cause_is_told_from_what_the_worker_left(folder, found, told):
    folder.process.write_text(json.dumps({"pid": os.getpid(), "start": "", **found}))
    assert told in cause_of_loss(folder)


@pytest.mark.parametrize("code", [None, -signal.SIGKILL, 137])
def test_that_memory_ran_out_is_told_with_evidence_alone(folder, code):
    def told(**found):
        found = {"pid": os.getpid(), "start": "", **({} if code is None else {"exit": code}), **found}
        folder.process.write_text(json.dumps(found))
        return cause_of_loss(folder)

    assert "memory" not in told().lower()
    assert "Nothing says that memory ran out" in told(kills={"group": 3}, kills_after={"group": 3})
    assert "Most likely memory ran out" in told(kills={"group": 3}, kills_after={"group": 4})
    assert "Perhaps memory ran out" in told(kills={"machine": 3}, kills_after={"machine": 5})
    # Another process's end counts for nothing once this one's was seen.
    assert "Nothing says" in told(kills={"group": 3, "machine": 1}, kills_after={"group": 3, "machine": 9})
    nothing_killed = {"kills": {"group": 3}, "kills_after": {"group": 3}}
    for share, words in ((0.95, "Memory may have run out: it had taken up to"), (0.5, "Nothing says")):
        folder.events.write_text(steps_taking(int(share * total_memory())))
        assert words in told(**nothing_killed)
        # Of many events the first and the last are read alone.
        folder.events.write_text(steps_taking(1) + steps_taking(1) * 500 + steps_taking(int(share * total_memory())))
        assert words in told(**nothing_killed)


def steps_taking(amount):
    """What a worker on the CPU tells that has taken so many bytes."""
    started = Started(
        time=1.0, step=0, total_steps=5, train_pairs=1, holdout_pairs=0, dropped=0, truncated=0, identical=0,
        trainable_parameters=1, total_parameters=1, reference="", device="CPU", model_revision="",
    )  # fmt: skip
    step = Step(
        time=2.0, step=1, epoch=0.1, seconds=1.0, pairs=1, metrics={}, pairs_per_second=1.0, tokens_per_second=1.0,
        memory_bytes=amount,
    )  # fmt: skip
    return "".join(encode(event).rstrip("\n") + "\n" for event in (started, step))


def test_a_worker_that_its_watchdog_ended_is_told_so(folder):
    """With the real watchdog, whether or not anyone learned the exit status."""
    code = "import faulthandler, time; faulthandler.dump_traceback_later(0.05, exit=True); time.sleep(30)"
    with folder.log.open("wb") as log:
        assert subprocess.run([sys.executable, "-c", code], stderr=log, check=False).returncode == 1
    assert "did not stop" not in cause_of_loss(folder)
    folder.stop.touch()
    for found in ({}, {"exit": 1}):
        folder.process.write_text(json.dumps(found))
        assert cause_of_loss(folder) == "The worker did not stop within 30 s of being asked, and was ended."
    folder.process.write_text(json.dumps({"exit": -9}))
    assert "signal 9" in cause_of_loss(folder)


def test_a_full_disk_and_a_folder_that_is_gone_are_causes(folder, monkeypatch):
    real = os.statvfs(folder.path)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result([*real[:4], 0, *real[5:10]]))
    assert "is full" in cause_of_loss(folder)
    monkeypatch.undo()
    folder.path.rename(folder.path.with_name("away"))
    assert "deleted or moved" in cause_of_loss(folder)


def test_a_run_that_waits_can_be_cancelled(folder, sleeper):
    record(folder, sleeper.pid)
    tell(folder, Queued(time=1, device="CPU"))
    assert now(folder) == "queued"
    request_stop(folder)
    assert folder.stop.exists()
