"""A journal that is damaged is set aside whole, what is gone with it is told, and the pairs are there all the same."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.unit.pairs.some_pairs import left_to_itself, some
from workbench.errors import WorkbenchError
from workbench.pairs.journal import journal_path
from workbench.pairs.session import DataSetSession
from workbench.pairs.store import PairStore, load_pairs, write_pairs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Five pairs, with three edits that the file does not have: two notes and one that was undone."""
    path = tmp_path / "x.jsonl"
    write_pairs(path, some(5))
    store = PairStore(path, quiet=1000)
    store.set_note([0], "first")
    store.file.save()
    store.set_note([1], "second")
    store.add_tag([2, 3], "tone")
    store.file.turn("undo")
    left_to_itself(store)
    return path


def change(statement: str, *values: object) -> Callable[[Path], None]:
    def damage(journal: Path) -> None:
        with sqlite3.connect(journal) as database:
            database.execute(statement, values)

    return damage


def cut(share: float) -> Callable[[Path], None]:
    def damage(journal: Path) -> None:
        os.truncate(journal, int(journal.stat().st_size * share))

    return damage


def link_elsewhere(journal: Path) -> None:
    journal.rename(journal.parents[2] / "elsewhere")
    journal.symlink_to(journal.parents[2] / "elsewhere")


def folder_instead(journal: Path) -> None:
    journal.unlink()
    journal.mkdir()


def other_tables(journal: Path) -> None:
    journal.unlink()
    change("CREATE TABLE steps(a)")(journal)


def payload(value: object) -> bytes:
    return zlib.compress(json.dumps(value).encode())


STEP = "UPDATE steps SET payload = ? WHERE seq = (SELECT max(seq) FROM ops)"
DAMAGE = {
    "nonsense": lambda journal: journal.write_bytes(b"nonsense" * 1000),
    "empty": cut(0),
    "half": cut(0.5),
    "almost whole": cut(0.99),
    "a link": link_elsewhere,
    "a folder": folder_instead,
    "other tables": other_tables,
    "no facts": change("DROP TABLE facts"),
    "another column": change("ALTER TABLE ops RENAME COLUMN seq TO step"),
    "zlib": change(STEP, b"nonsense"),
    "no bytes": change(STEP, None),
    "no JSON": change(STEP, zlib.compress(b"{")),
    "deep": change(STEP, zlib.compress(b"[" * 100_000)),
    "another field": change(STEP, payload({"changes": [["nope", ["id1"], [[""], 1], [["x"], 1]]]})),
    "a number for a note": change(STEP, payload({"changes": [["note", ["id1"], [[""], 1], [[5], 1]]]})),
    "too few values": change(STEP, payload({"changes": [["note", ["id1", "id2"], [[""], 1], [["x"], 1]]]})),
    "a line that is no pair": change(STEP, payload({"changes": [], "added": [["n", "", "{}"]], "removed": []})),
    "steps gone": change("DELETE FROM steps WHERE seq > 1"),
    "an op gone": change("DELETE FROM ops WHERE n = 3"),
    "neither done nor undone": change("UPDATE ops SET forward = 7 WHERE n = 3"),
    "saved what was never done": change("UPDATE facts SET value = '99' WHERE name = 'saved'"),
    "saved a word": change("UPDATE facts SET value = 'abc' WHERE name = 'saved'"),
    "saving nothing": change("UPDATE facts SET value = '[]' WHERE name = 'saving'"),
    "an op of another step": change("UPDATE ops SET seq = 1 WHERE n = 2"),
    "an op turned round": change("UPDATE ops SET forward = 1 - forward WHERE n = 3"),
    "saved more than it was": change("UPDATE facts SET value = '2' WHERE name = 'saved'"),
    "no sum": change("UPDATE facts SET value = 'x' WHERE name = 'checked'"),
    "no UTF-8": change("UPDATE steps SET description = CAST(x'ff' AS TEXT)"),
    "a conflict of nothing": change("INSERT INTO conflicts VALUES ('id1', '5')"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_whatever_happened_to_it_the_pairs_are_there_and_can_be_edited(path: Path, what: str) -> None:
    journal = journal_path(path)
    # Closed once, so that all of it is in one file.
    sqlite3.connect(journal).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    DAMAGE[what](journal)
    damaged = journal.read_bytes() if journal.is_file() else b""
    found, problems = load_pairs(path)
    assert ([pair.id for pair in found], problems) == ([f"id{number}" for number in range(5)], [])
    with PairStore(path) as store:
        assert len(store) == 5
        assert store.file.damage is not None
        assert not store.file.read_only
        store.set_note([4], "after")
    assert [pair.note for pair in load_pairs(path)[0]] == ["first", "", "", "", "after"]
    (aside,) = (each for each in journal.parent.glob("x.damaged-*") if not each.name.endswith(("-wal", "-shm")))
    # What SQLite itself wrote may move from its log into the file at any moment, while somebody still has it open.
    by_sqlite = DAMAGE[what].__qualname__.startswith(change.__qualname__)
    assert by_sqlite or not aside.is_file() or aside.read_bytes() == damaged
    assert str(aside) in store.file.damage.message


def test_what_is_gone_is_named(path: Path) -> None:
    change(STEP, b"nonsense")(journal_path(path))
    with PairStore(path) as store:
        assert store.file.damage is not None
        assert "may lack 3 edits" in store.file.damage.message
        assert "note; tag tone (2 pairs); undone: tag tone (2 pairs)" in store.file.damage.message


def test_nothing_is_gone_where_the_file_has_all(path: Path) -> None:
    PairStore(path).close()
    change(STEP.replace("ops", "steps"), b"nonsense")(journal_path(path))
    with PairStore(path) as store:
        # Undo is damaged, which only undo sees.
        assert store.file.damage is None
        assert store.file.described("undo") == "note"
    with sqlite3.connect(journal_path(path)) as database:
        database.execute("DROP TABLE conflicts")
    with PairStore(path) as store:
        assert store.file.damage is not None
        assert "The file has every edit that it holds" in store.file.damage.message
        assert [pair.note for pair in store.pairs][:2] == ["first", "second"]


@pytest.mark.parametrize("what", ["nonsense", "no facts", "another column", "zlib"])
def test_damage_while_it_is_open_loses_no_edit(path: Path, what: str) -> None:
    session = DataSetSession(path)
    store = session.store
    store.set_status([3], "accepted")
    journal = journal_path(path)
    if what == "nonsense":
        sqlite3.connect(journal).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
        journal.write_bytes(b"nonsense" * 1000)
        # The connection has pages of its own: only a new one sees what is on the disk.
        store.file._journal._connection.close()
        store.file._journal._connection = sqlite3.connect(journal, isolation_level=None, check_same_thread=False)
    else:
        DAMAGE[what](journal)
    undone, _ = store.file.turn("undo")
    store.set_note([2], "third")
    store.file.save()
    assert (trouble := session.trouble) is not None
    assert "was damaged" in trouble.title
    assert session.trouble is None
    assert session.close() is None
    after = load_pairs(path)[0]
    assert [pair.note for pair in after] == ["first", "second", "third", "", ""]
    assert after[3].status == ("new" if undone else "accepted")


def test_bits_that_flip_lose_no_pair_and_no_session(path: Path) -> None:
    journal, rng = journal_path(path), Random(5)
    sqlite3.connect(journal).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    good, file = journal.read_bytes(), path.read_bytes()
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(rng.choice([1, 1, 8, 200])):
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        for each in journal.parent.iterdir():
            if each.is_file() and each.name != ".gitignore":
                each.unlink()
        path.write_bytes(file)
        journal.write_bytes(bad)
        assert len(load_pairs(path)[0]) == 5
        with PairStore(path) as store:
            store.file.turn("undo")
            store.set_note([4], "after")
        found = load_pairs(path)[0]
        assert ([pair.id for pair in found], found[4].note) == ([f"id{number}" for number in range(5)], "after")


def test_a_journal_that_another_program_holds_is_not_damaged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: real(*given, **{**named, "timeout": 0.05}))
    other = real(journal_path(path), isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with PairStore(path) as store:
        assert store.file.read_only
        assert store.file.damage is not None
        assert "end that" in store.file.damage.hint
        with pytest.raises(WorkbenchError, match="reading only"):
            store.set_note([0], "no")
    other.close()
    assert not list(journal_path(path).parent.glob("*damaged*"))
    assert [pair.note for pair in load_pairs(path)[0]][:2] == ["first", "second"]


def test_edits_are_read_where_nobody_may_write(path: Path) -> None:
    # In a process of its own, which gives up being root first: root may write anywhere.
    code = "import os, sys; from pathlib import Path; from workbench.pairs.store import load_pairs\n"
    code += "os.geteuid() or os.setuid(65534); print([pair.note for pair in load_pairs(Path(sys.argv[1]))[0]])"
    sqlite3.connect(journal_path(path)).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    for folder in (*path.parents, journal_path(path).parent):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    folder = journal_path(path).parent
    for each in folder.iterdir():
        each.chmod(0o444)
    folder.chmod(0o555)
    try:
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    finally:
        folder.chmod(0o755)
    assert done.stdout == "['first', 'second', '', '', '']\n", done.stderr
