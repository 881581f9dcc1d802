"""Events on disks and in folders that let a worker down."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest

from workbench.runs.events import EventReader, Failed, Phase, encode
from workbench.runs.writer import RESERVE, EventWriter, RunDeletedError

FULL = Failed(time=3, step=2, title="The disk is full", message="m")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def kinds(path):
    reader = EventReader(path)
    found = [type(event).__name__.lower() for event in reader.read()]
    assert reader.damaged == 0
    return found


def full(monkeypatch, path, fits, *, until_freed=True):
    """A disk on which `fits` more bytes have room, for good or until the reserve is given up."""
    room, real = [fits], os.write

    def write(file, data):
        if until_freed and not path.with_name(RESERVE).exists():
            return real(file, data)
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(file, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", write)


@pytest.mark.parametrize("fits", [0, 1, 30])
def test_on_a_full_disk_an_event_is_whole_or_not_there_and_the_last_one_is_told(path, monkeypatch, fits):
    with EventWriter(path) as events:
        events.phase("a")
        whole = path.read_bytes()
        full(monkeypatch, path, fits)
        with pytest.raises(OSError, match="No space") as caught:
            events.phase("b")
        assert caught.value.errno == errno.ENOSPC
        assert path.read_bytes() == whole
        events.write(FULL)
    assert kinds(path) == ["phase", "failed"]
    assert not path.with_name(RESERVE).exists()


def test_where_not_even_the_last_word_has_room_the_file_is_whole(path, monkeypatch):
    with EventWriter(path) as events:
        events.phase("a")
        full(monkeypatch, path, 30, until_freed=False)
        with pytest.raises(OSError, match="No space"):
            events.write(FULL)
    assert kinds(path) == ["phase"]


def test_a_limit_of_the_system_is_met_in_the_same_way(path):
    """A real short write: the kernel writes what fits under RLIMIT_FSIZE."""
    code = f"""
import resource
from pathlib import Path
from workbench.runs.writer import EventWriter
with EventWriter(Path({str(path)!r})) as events:
    events.phase("a")
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    for number in range(9):
        events.phase("x" * number)
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left" in done.stderr or "File too large" in done.stderr
    found = kinds(path)
    assert 2 <= len(found) <= 4
    assert path.stat().st_size <= 200


def test_a_folder_that_is_deleted_is_noticed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with EventWriter(folder / "events.jsonl") as events:
        events.phase("a")
        shutil.rmtree(folder)
        for event in (Phase(time=1, name="b"), FULL):
            with pytest.raises(RunDeletedError):
                events.write(event)
    assert not folder.exists()


def test_a_folder_that_is_moved_gets_the_last_word(tmp_path):
    folder, there = tmp_path / "run", tmp_path / "there"
    folder.mkdir()
    with EventWriter(folder / "events.jsonl") as events:
        folder.rename(there)
        with pytest.raises(RunDeletedError):
            events.phase("a")
        folder.mkdir()
        (folder / "events.jsonl").touch()  # another run of that name
        with pytest.raises(RunDeletedError):
            events.phase("a")
        events.write(FULL)
    assert kinds(there / "events.jsonl") == ["failed"]
    assert kinds(folder / "events.jsonl") == []


@pytest.mark.parametrize("left", [0, 1, 50, 200_000])
@pytest.mark.parametrize("before", [0, 1])
def test_what_a_killed_worker_left_half_written_is_cut_off(path, left, before):
    path.write_text(encode(Phase(time=1, name="a")) * before + "x" * left)
    with EventWriter(path) as events:
        events.phase("b")
    assert kinds(path) == ["phase"] * (before + 1)


def test_a_reserve_left_by_a_killed_worker_is_taken_over(path):
    """On a full disk it could not be made again."""
    code = f"""
import os
from pathlib import Path
from workbench.runs.writer import EventWriter
EventWriter(Path({str(path)!r})).phase("a")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    reserve = path.with_name(RESERVE)
    left = reserve.read_bytes()
    assert len(left) == 64 * 1024
    with EventWriter(path):
        assert reserve.read_bytes() == left
    assert not reserve.exists()


def test_a_folder_without_room_for_a_reserve_is_no_trouble(path):
    path.with_name(RESERVE).mkdir()
    with EventWriter(path) as events:
        events.phase("a")
    assert kinds(path) == ["phase"]
