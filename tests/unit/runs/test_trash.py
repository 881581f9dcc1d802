"""Deleting a run, and thinking better of it."""

import os

import pytest

from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.runs import trash
from workbench.runs.catalog import Catalog
from workbench.runs.folder import create, to_line
from workbench.runs.process import record


@pytest.fixture
def folder(tmp_path):
    return create(tmp_path, build_config({"pairs": ["x"]}), [to_line({"id": "a"})], {})


def ids(runs):
    return [each.id for each in Catalog(runs).summaries()]


def test_what_is_deleted_is_gone_from_the_list_and_can_be_brought_back(tmp_path, folder):
    assert trash.discarded(tmp_path) == []
    place = trash.discard(tmp_path, folder)
    assert place == tmp_path / ".trash" / folder.id
    assert ids(tmp_path) == []
    assert [each.id for each in trash.discarded(tmp_path)] == [folder.id]
    assert trash.restore(place) == folder
    assert ids(tmp_path) == [folder.id]
    assert list(folder.rows()) == [{"id": "a"}]
    assert trash.discarded(tmp_path) == []


def test_two_of_one_name_lie_side_by_side(tmp_path, folder):
    first = trash.discard(tmp_path, folder)
    folder.path.mkdir()
    folder.run_toml.write_text("")
    second = trash.discard(tmp_path, folder)
    assert (first.name, second.name) == (folder.id, f"{folder.id}-2")
    trash.restore(first)
    third = trash.discard(tmp_path, folder)
    assert third == first
    folder.path.mkdir()
    with pytest.raises(WorkbenchError, match="there already"):
        trash.restore(first)
    assert trash.empty(tmp_path) == 2
    assert trash.empty(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == [folder.id]


def test_a_live_run_is_not_deleted(tmp_path, folder):
    record(folder, os.getpid())
    with pytest.raises(WorkbenchError, match="is running"):
        trash.discard(tmp_path, folder)
    assert ids(tmp_path) == [folder.id]


def test_what_cannot_be_moved_is_told(tmp_path, folder):
    (tmp_path / ".trash").write_text("in the way")
    with pytest.raises(WorkbenchError, match="trash"):
        trash.discard(tmp_path, folder)
    with pytest.raises(WorkbenchError, match="not be restored"):
        trash.restore(tmp_path / ".trash" / "none")
