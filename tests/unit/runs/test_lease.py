"""One worker a device: real processes that wait in line, hold, and die."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.runs import lease
from workbench.runs.folder import RunFolder
from workbench.runs.lease import DeviceTurn, device, enqueue, holder, move, places, queues
from workbench.runs.user_state import STATE

WORKER = """
import sys, time
from pathlib import Path
from workbench.runs.folder import RunFolder
from workbench.runs.lease import DeviceTurn
with DeviceTurn(RunFolder(Path(sys.argv[1]))) as turn:
    print("waits", flush=True)
    while not turn.poll():
        time.sleep(0.02)
    print("has it", flush=True)
    exec(sys.argv[2])
"""


def waiting():
    return list(places())


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv(STATE, str(tmp_path / "state"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path / "state"


@pytest.fixture
def worker(tmp_path):
    """Starts a process that takes its turn and then runs some code."""
    started = []

    def begin(name, code="sys.stdin.read()"):
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        command = [sys.executable, "-c", WORKER, str(path), code]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "waits\n"
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()


def make(tmp_path, name):
    (tmp_path / name).mkdir()
    return RunFolder(tmp_path / name)


def test_the_next_has_its_turn_when_the_first_ends_however_it_ends(tmp_path, worker):
    first = worker("a")
    assert first.stdout.readline() == "has it\n"
    second, third = worker("b"), worker("c")
    assert (holder(), waiting()) == (tmp_path / "a", [tmp_path / "b", tmp_path / "c"])
    assert places() == {tmp_path / "b": 1, tmp_path / "c": 2}
    first.kill()  # SIGKILL: it can tidy nothing
    first.wait()
    assert second.stdout.readline() == "has it\n"
    assert (holder(), waiting()) == (tmp_path / "b", [tmp_path / "c"])
    second.stdin.close()  # a good end
    assert third.stdout.readline() == "has it\n"
    assert second.wait() == 0
    assert (holder(), waiting()) == (tmp_path / "c", [])
    third.send_signal(signal.SIGKILL)
    third.wait()
    assert (holder(), waiting(), queues()) == (None, [], [])


def test_two_never_hold_at_once(tmp_path, worker):
    """Five workers that would notice each other, started together."""
    mark = tmp_path / "mark"
    code = f"import os; p = {str(mark)!r}; os.close(os.open(p, os.O_CREAT | os.O_EXCL)); time.sleep(0.02); os.unlink(p)"
    workers = [worker(str(n), code) for n in range(5)]
    assert [each.wait() for each in workers] == [0] * 5


def test_a_child_that_outlives_its_worker_does_not_keep_the_device(worker):
    code = "import os; pid = os.fork()\nif pid == 0: time.sleep(60)\nprint(pid, flush=True); sys.stdin.read()"
    first = worker("a", code)
    assert first.stdout.readline() == "has it\n"
    child = int(first.stdout.readline())
    try:
        first.kill()
        first.wait()
        second = worker("b")
        assert second.stdout.readline() == "has it\n"
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_line_can_be_put_in_another_order_and_the_dead_do_not_count(tmp_path, worker):
    first = worker("a")
    assert first.stdout.readline() == "has it\n"
    workers = {name: worker(name) for name in "bcd"}
    folders = {name: RunFolder(tmp_path / name) for name in "abcd"}
    assert move(folders["d"], -1) == 2
    assert move(folders["d"], -99) == 1
    assert [path.name for path in waiting()] == ["d", "b", "c"]
    assert move(folders["d"], 1) == 2
    workers["b"].kill()
    workers["b"].wait()
    assert [path.name for path in waiting()] == ["d", "c"]
    for folder in (folders["a"], folders["b"]):
        with pytest.raises(WorkbenchError, match="not wait"):
            move(folder, 1)
    first.stdin.close()
    assert workers["d"].stdout.readline() == "has it\n"
    workers["d"].stdin.close()
    assert workers["c"].stdout.readline() == "has it\n"


def test_whoever_starts_a_worker_can_join_the_line_for_it(tmp_path):
    folder, other = make(tmp_path, "a"), make(tmp_path, "b")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as sleeper:
        enqueue(other, sleeper.pid)
        enqueue(folder, os.getpid())
        enqueue(other, sleeper.pid)
        with DeviceTurn(folder) as turn:
            assert waiting() == [other.path, folder.path]
            assert not turn.poll()
            sleeper.kill()
            sleeper.wait()
            assert turn.poll()
            assert turn.poll()
            assert (holder(), waiting()) == (folder.path, [])
    assert queues() == []
    enqueue(other, sleeper.pid)  # gone by now
    assert queues() == []


def test_a_line_that_was_lost_is_joined_again(tmp_path, state):
    folder = make(tmp_path, "a")
    with DeviceTurn(folder) as turn:
        for path in state.glob("*.queue"):
            path.write_text("[")
        assert waiting() == []
        assert not turn.poll()
        assert waiting() == [folder.path]
        assert turn.poll()
        assert holder() == folder.path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["folder", "pid", "start", "holds"]), inner)
                | st.fixed_dictionaries({"folder": inner, "pid": inner, "start": inner, "holds": inner})
            ),
        ).map(lambda value: json.dumps([value])),
    )
)
def test_whatever_the_file_says_the_device_is_had(text, tmp_path, state):
    folder = RunFolder(tmp_path)
    state.mkdir(exist_ok=True)
    for path in state.glob("*.queue"):
        path.write_text(text, "utf-8", "surrogatepass")
    queues()
    with DeviceTurn(folder) as turn:
        assert turn.poll()
        assert holder() == tmp_path


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(STATE, str(tmp_path / "file" / "state"))
    with pytest.raises(WorkbenchError, match="WORKBENCH_STATE"), DeviceTurn(make(tmp_path, "a")):
        pass
    assert queues() == []


@pytest.mark.parametrize(
    ("visible", "gpus", "named"),
    [
        (None, ["GPU-aa", "GPU-bb"], "GPU 0"),
        ("1,0", ["GPU-aa", "GPU-bb"], "GPU 1"),
        ("7", ["GPU-aa"], "CPU"),
        ("", ["GPU-aa"], "CPU"),
        ("-1", ["GPU-aa"], "CPU"),
        ("GPU-bb", ["GPU-aa", "GPU-bb"], "GPU 1"),
        ("MIG-1/2/x", ["GPU-aa"], "GPU MIG-1-2-x"),
        ("0", [""], "GPU 0"),
        (None, [], "CPU"),
    ],
)
def test_the_device_is_what_the_worker_will_see(visible, gpus, named, monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "_gpus", lambda: gpus)
    lease._device.cache_clear()
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    try:
        assert device() == named
        with DeviceTurn(make(tmp_path, "a")) as turn:
            assert turn.poll()
            assert [(queue.device, queue.holder) for queue in queues()] == [(named, Path(tmp_path / "a"))]
    finally:
        lease._device.cache_clear()
