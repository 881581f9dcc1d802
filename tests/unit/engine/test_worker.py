"""The worker's process: it waits for its turn, minds signals, ends when it hangs, and tells what the disk did to it."""

import errno
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.unit.engine.training import make, read
from workbench.engine.training.disk_faults import disk_error_of, saving
from workbench.errors import WorkbenchError
from workbench.runs.events import Phase, Queued, Stopped
from workbench.runs.folder import RunFolder
from workbench.runs.lease import DeviceTurn
from workbench.runs.process import seconds_to_kill

HANGS = """
import sys, time, pathlib
from workbench.engine.training.control import Control
from workbench.engine.training.control import watch
from workbench.runs.folder import RunFolder
from workbench.runs.process import record
import ctypes, os
folder = RunFolder(pathlib.Path(sys.argv[1]))
record(folder, os.getpid())
watch(folder, Control(folder), 0.5)
print("ready", flush=True)
lock = ctypes.create_string_buffer(128)
for _ in range(2):  # For ever in C: Python's signal handlers do not run any more.
    ctypes.CDLL(None).pthread_mutex_lock(lock)
"""


def started(code, folder):
    return subprocess.Popen(
        [sys.executable, *code, str(folder.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_worker_waits_for_its_turn_without_torch_and_a_signal_cancels_it(tmp_path):
    other, folder = make(tmp_path / "other"), make(tmp_path / "run")
    with DeviceTurn(other) as turn:
        assert turn.poll()
        worker = started(["-m", "workbench.engine.train"], folder)
        wait_for(lambda: read(folder, Queued))
        assert psutil.Process(worker.pid).memory_info().rss < 120 * 1024**2
        assert folder.state().status == "queued"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
    worker.communicate()
    (end,) = read(folder, Stopped)
    assert end.step == 0
    assert read(folder, Phase) == []
    assert folder.stop.exists()
    assert not folder.adapter.exists()


@pytest.mark.parametrize("ask", [lambda folder, _: folder.stop.touch(), lambda _, worker: worker.terminate()])
def test_a_worker_that_hangs_is_ended_after_the_grace_time(ask, tmp_path):
    folder = make(tmp_path)
    worker = started(["-c", HANGS], folder)
    assert worker.stdout.readline() == "ready\n"
    began = time.monotonic()
    ask(folder, worker)
    wait_for(folder.stop.exists)
    assert seconds_to_kill(folder) > 100
    assert worker.wait(20) == 1
    assert time.monotonic() - began < 10
    assert "Timeout (0:00:00.5" in worker.communicate()[1]


@pytest.mark.parametrize(
    ("error", "free"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 10**12),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 10**12),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 640 vs 534"), 1000),
    ],
)
def test_a_full_disk_is_told_whoever_meets_it(error, free, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    with pytest.raises(WorkbenchError) as told, saving("a checkpoint", RunFolder(tmp_path), 3 * 1024**3):
        raise error
    assert told.value.title == "The disk is full"
    assert "3.0 GB" in told.value.hint
    assert f"workbench resume {tmp_path.name}" in told.value.hint


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="shape"), saving("a checkpoint", RunFolder(tmp_path), 10**18):
        raise RuntimeError("shape mismatch")
    assert disk_error_of(RuntimeError("shape mismatch"), RunFolder(tmp_path)) is None
    told = disk_error_of(OSError(errno.EROFS, os.strerror(errno.EROFS), "/x"), RunFolder(tmp_path))
    assert "/x: Read-only file system" in told.message
