"""Complete and torn: the marker tells, whatever happened to the files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.runs.checkpoints import (
    MARKER,
    RunProgress,
    check,
    complete,
    mark_complete,
    newest_intact,
    progress,
    remove,
    rotate,
    torn,
)
from workbench.runs.folder import RunFolder

FILES = {"adapter.safetensors": b"a" * 100, "optimizer.pt": b"o" * 50, "state/rng.pth": b"r"}


def make(folder, step, *, marked=True):
    path = folder.checkpoints / f"checkpoint-{step}"
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    if marked:
        mark_complete(path, RunProgress(step, 1.5 * step, 16 * step, 100 * step))
    return path


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def names(paths):
    return [path.name for path in paths]


def test_complete_ones_come_oldest_first_by_number(folder):
    for step in (20, 100, 3):
        make(folder, step)
    (folder.checkpoints / "checkpoint-x").mkdir()
    (folder.checkpoints / "checkpoint-7").write_text("a file")
    assert names(complete(folder)) == ["checkpoint-3", "checkpoint-20", "checkpoint-100"]
    assert torn(folder) == []
    assert progress(complete(folder)[1]) == RunProgress(20, 30.0, 320, 2000)


def test_no_checkpoints_are_none(folder):
    assert complete(folder) == torn(folder) == []


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: (path / MARKER).unlink(), "was not written to its end"),
        (lambda path: (path / MARKER).write_text("{"), f"has a {MARKER} that cannot be read"),
        (lambda path: (path / MARKER).write_text("[]"), f"has a {MARKER} that cannot be read"),
        (lambda path: (path / "optimizer.pt").unlink(), "lacks optimizer.pt"),
        (lambda path: (path / "adapter.safetensors").write_bytes(b"a" * 60), "has 60 of the 100 bytes of adapter.saf"),
    ],
)
def test_a_torn_one_says_what_is_wrong(harm, told, folder):
    make(folder, 1)
    harm(make(folder, 2))
    assert names(complete(folder)) == ["checkpoint-1"]
    ((path, wrong),) = torn(folder)
    assert path.name == "checkpoint-2"
    assert told in wrong


def changed(**fields):
    def change(path):
        marker = path / MARKER
        marker.write_text(json.dumps(json.loads(marker.read_text()) | fields))

    return change


def flip(path):
    content = bytearray((path / "optimizer.pt").read_bytes())
    content[20] ^= 1
    (path / "optimizer.pt").write_bytes(content)


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (flip, "has other bytes in optimizer.pt than were written"),
        (changed(step=1), "cannot be read"),
        (changed(step=10**9), "cannot be read"),
        (changed(seconds=float("nan")), "cannot be read"),
        (changed(tokens=-5), "cannot be read"),
        (changed(files={}), "cannot be read"),
        (changed(files={"../checkpoint-1/optimizer.pt": {"bytes": 50, "sha256": ""}}), "cannot be read"),
        (changed(files={"ghost.pt": {"bytes": 50, "sha256": ""}}), "lacks ghost.pt"),
        (lambda path: (path / MARKER).write_text("[" * 100_000), "cannot be read"),
    ],
)
def test_one_that_lies_is_passed_over_for_an_older_one(lie, told, folder):
    older, newest = make(folder, 1), make(folder, 2)
    assert newest_intact(folder) == (newest, [])
    lie(newest)
    found, ((path, wrong),) = newest_intact(folder)
    assert (found, path) == (older, newest)
    assert told in wrong


def test_a_marker_that_cannot_be_read_is_told(folder):
    path = make(folder, 1)
    (path / MARKER).write_text('{"step": 1}')
    with pytest.raises(WorkbenchError, match="checkpoint-1"):
        progress(path)


KEYS = st.sampled_from(["step", "seconds", "pairs", "tokens", "files", "x"])
LEAVES = st.none() | st.integers() | st.text(max_size=3)


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner)))
def test_no_marker_breaks_the_check(tmp_path_factory, document):
    path = make(RunFolder(tmp_path_factory.mktemp("run")), 1)
    (path / MARKER).write_text(json.dumps(document))
    assert check(path)


def test_rotating_keeps_the_newest_complete_ones(folder):
    for step in (1, 2, 3, 4):
        make(folder, step)
    make(folder, 9, marked=False)
    rotate(folder.checkpoints, 2)
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["checkpoint-3", "checkpoint-4"]


def test_while_none_is_complete_nothing_is_deleted(folder):
    make(folder, 1, marked=False)
    rotate(folder.checkpoints, 1)
    assert names(path for path, _ in torn(folder)) == ["checkpoint-1"]


def test_a_removal_that_was_cut_short_is_neither_complete_nor_torn(folder):
    make(folder, 1)
    unwanted = folder.checkpoints / "checkpoint-2.deleted"
    make(folder, 2).rename(unwanted)
    assert names(complete(folder)) == ["checkpoint-1"]
    assert torn(folder) == []
    rotate(folder.checkpoints, 2)
    assert not unwanted.exists()
    remove(folder.checkpoints / "checkpoint-5")


def test_a_link_in_the_place_of_a_checkpoint_goes_and_what_it_points_to_stays(folder):
    target = make(folder, 1)
    for _ in range(2):
        (folder.checkpoints / "checkpoint-2").symlink_to(target)
        remove(folder.checkpoints / "checkpoint-2")
    assert [path.name for path in folder.checkpoints.iterdir()] == ["checkpoint-1"]
    assert check(target) == ""
