"""What cannot be written is refused or kept and told; a second workbench reads only."""

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.unit.pairs.some_pairs import accept, left_to_itself, some
from workbench.errors import WorkbenchError
from workbench.pairs.journal import journal_path
from workbench.pairs.open_file import ReadOnlyError
from workbench.pairs.pair import Pair
from workbench.pairs.store import PairStore, load_pairs, write_pairs

# What cannot be written


def test_a_folder_that_cannot_be_written_is_read() -> None:
    # In a process of its own, which gives up being root first: root may write anywhere.
    code = """
import os, sys
from pathlib import Path
from workbench.pairs.store import PairStore
if os.geteuid() == 0:
    os.setuid(65534)
store = PairStore(Path(sys.argv[1]))
print(len(store), store.file.read_only)
try:
    store.set_status([0], "accepted")
except Exception as error:
    print(type(error).__name__, error)
"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "x.jsonl"
        write_pairs(path, some(5))
        folder.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
        folder.chmod(0o755)
        assert [each.name for each in folder.iterdir()] == ["x.jsonl"]
    assert done.stdout.startswith("5 "), done.stderr
    assert "cannot be written (Permission denied)" in done.stdout
    assert "ReadOnlyError x is open for reading only" in done.stdout


def test_an_edit_that_cannot_be_journalled_is_refused(path: Path, store: PairStore) -> None:
    store.set_status([0], "accepted")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = sum(file.stat().st_size for file in journal_path(path).parent.glob("*.sqlite-wal"))
    # Python ignores the signal, so that what is too large fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(WorkbenchError, match="was not made") as caught:
            store.set_note([1], "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "Free space" in caught.value.hint
    assert (store.pairs[1].note, store.file.described("undo")) == ("", "accepted")
    store.set_note([1], "now")
    left_to_itself(store)
    assert [pair.note for pair in load_pairs(path)[0]] == ["", "now", "", "", ""]


def test_a_file_that_cannot_be_saved_is_told_and_the_edit_kept(
    path: Path, store: PairStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    store.update(["id1"], accept)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WorkbenchError, match="No space left"):
            store.file.save()
    assert store.file.trouble
    assert "kept in" in store.file.trouble.message
    assert path.read_bytes() == content
    assert not list(path.parent.glob("*.part"))
    assert load_pairs(path)[0][1].status == "accepted"
    store.file.save()
    assert store.file.trouble is None
    assert b'"accepted"' in path.read_bytes()


def test_a_damaged_journal_is_set_aside(path: Path) -> None:
    journal_path(path).parent.mkdir()
    journal_path(path).write_bytes(b"nonsense" * 1000)
    with PairStore(path) as store:
        store.update(["id1"], accept)
    assert load_pairs(path)[0][1].status == "accepted"
    assert list(path.parent.glob(".journal/x.damaged-*"))


@pytest.mark.usefixtures("store")
def test_the_journal_is_not_for_git(path: Path) -> None:
    assert (path.parent / ".journal" / ".gitignore").read_text() == "*\n"
    with sqlite3.connect(journal_path(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# Two workbenches


def test_the_second_reads_only_and_says_who_edits(path: Path, store: PairStore) -> None:
    store.update(["id1"], accept)
    with PairStore(path) as second:
        assert f"process {os.getpid()}, since" in second.file.read_only
        assert second.pairs[1].status == "accepted"
        for change in (
            lambda: second.set_status([0], "dropped"),
            lambda: second.add([Pair("n", "p", "c", "r")]),
            lambda: second.file.turn("undo"),
        ):
            with pytest.raises(ReadOnlyError, match="reading only"):
                change()
        store.file.save()
        assert second.file.check_disk() is not None
        assert second.pairs[1].status == "accepted"
    with pytest.raises(WorkbenchError, match="is being edited"):
        write_pairs(path, some(1))
    store.close()
    with PairStore(path) as third:
        assert third.file.read_only == ""


def test_the_lock_of_a_dead_process_is_taken_over(path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from workbench.pairs.store import PairStore\n"
    code += "store = PairStore(Path(sys.argv[1])); store.set_status([0], 'dropped'); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    with PairStore(path) as store:
        assert store.file.read_only == ""
        assert store.pairs[0].status == "dropped"


def test_a_data_set_written_anew_has_no_history(path: Path) -> None:
    store = PairStore(path)
    store.update(["id1"], accept)
    left_to_itself(store)
    write_pairs(path, some(5))
    with PairStore(path) as again:
        assert (again.file.described("undo"), again.counts()["new"]) == ("", 5)
