"""A journal that is damaged is set aside whole, what is gone with it is told, and the pairs are there all the same."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.unit.pairs.some_pairs import left_to_itself, some
from workbench.errors import WorkbenchError
from workbench.pairs.journal import (
    DamagedJournalError,
    Journal,
    UnusableJournalError,
    gone_with,
    journal_path,
    set_aside,
)
from workbench.pairs.lines import Stamp
from workbench.pairs.session import DataSetSession
from workbench.pairs.steps import EditStep
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
        with contextlib.closing(sqlite3.connect(journal, isolation_level=None)) as database:
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


@contextlib.contextmanager
def written_by_nobody(folder: Path, unreadable: str = "") -> Iterator[None]:
    """Nobody may write into the folder; root, who may write anywhere, is somebody else meanwhile."""
    user = os.geteuid()
    for each in folder.iterdir():
        each.chmod(0 if each.name == unreadable else 0o444)
    for each in (folder, *folder.parents):
        if each.is_relative_to("/tmp") and each != Path("/tmp"):
            each.chmod(0o555 if each == folder else 0o755)
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


def test_edits_are_read_where_nobody_may_write(path: Path) -> None:
    journal = journal_path(path)
    sqlite3.connect(journal).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    with written_by_nobody(journal.parent):
        with pytest.raises(PermissionError):
            (journal.parent / "new").touch()
        found = [pair.note for pair in load_pairs(path)[0]]
    assert found == ["first", "second", "", "", ""]


@pytest.mark.parametrize("unreadable", ["", "x.sqlite", "x.sqlite-wal"])
def test_edits_that_are_not_in_the_database_yet_are_read_or_missed_aloud(tmp_path: Path, unreadable: str) -> None:
    journal = Journal.open(tmp_path / "x.sqlite")
    journal.done(EditStep("edit", 1))
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path, killed)
    journal.close()
    with written_by_nobody(killed, unreadable):
        if unreadable:
            with pytest.raises(UnusableJournalError) as raised:
                Journal.peek(killed / "x.sqlite")
            assert raised.value.hint == "Allow reading and writing there, then try again."
        else:
            found = Journal.peek(killed / "x.sqlite")
            assert found is not None
            assert [op.step.description for op in found.ops(0)] == ["edit"]
            found.close()


def edited(path: Path, count: int) -> Path:
    """A journal with that many edits, none of which the file has."""
    journal = Journal.open(path)
    for number in range(count):
        journal.done(EditStep(f"edit {number}", 1))
    journal.close()
    return path


def test_the_folder_of_a_journal_is_made_with_it(tmp_path: Path) -> None:
    assert edited(tmp_path / ".journal/x.sqlite", 0).exists()
    with pytest.raises(WorkbenchError) as raised:
        Journal.open(edited(tmp_path / "y.sqlite", 0) / "z.sqlite")
    assert raised.value.hint == "Allow reading and writing there, then try again."


def test_ops_are_given_after_any_number_even_one_that_the_file_is_not_known_to_have(tmp_path: Path) -> None:
    journal = Journal.open(edited(tmp_path / "x.sqlite", 3))
    assert [(op.n, op.step.description) for op in journal.ops(2)] == [(3, "edit 2")]
    assert [op.n for op in journal.ops(0)] == [1, 2, 3]
    journal.close()


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["UPDATE steps SET state = 'odd' WHERE seq = 1"], "edit number 1 is neither done nor undone"),
        (["DELETE FROM ops WHERE n = 1"], "the order of the edits is not as it was written"),
        (["DELETE FROM ops WHERE n = 1", "DELETE FROM facts"], "of the edits up to number 3, some are not there"),
        (["DELETE FROM ops WHERE n = 2", "DELETE FROM facts"], "of the edits up to number 3, some are not there"),
    ],
)
def test_what_was_never_written_is_told_of_the_edits(tmp_path: Path, statements: list[str], told: str) -> None:
    path = edited(tmp_path / "x.sqlite", 3)
    for statement in statements:
        change(statement)(path)
    journal = Journal.open(path)
    with pytest.raises(DamagedJournalError, match=told):
        journal.ops(0)
    journal.close()


@pytest.mark.parametrize("damage", [link_elsewhere, lambda journal: journal.write_bytes(b"no database" * 100)])
def test_looking_into_a_damaged_journal_says_so(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    (tmp_path / "pairs").mkdir()
    path = edited(tmp_path / "pairs/.journal/x.sqlite", 1)
    damage(path)
    with pytest.raises(DamagedJournalError):
        Journal.peek(path)


def test_several_may_be_set_aside_in_one_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.pairs.journal.time.strftime", lambda _: "now")
    names = []
    for count in range(4, 7):
        aside = set_aside(edited(tmp_path / "x.sqlite", count))
        change("INSERT INTO facts VALUES ('saved', '0')")(aside)
        names.append(aside.name)
    assert names == ["x.damaged-now.sqlite", "x.damaged-now-2.sqlite", "x.damaged-now-3.sqlite"]
    shown = [gone_with(tmp_path / name).removeprefix("The file may lack ") for name in names]
    assert shown[0] == "4 edits that it holds: edit 0; edit 1; edit 2; edit 3."
    assert shown[1].endswith("edit 4.")
    assert shown[2] == "6 edits that it holds: edit 0; edit 1; edit 2; edit 3; edit 4; and 1 more."


def held_open(folder: Path) -> list[str]:
    """The files under `folder` that this process has open."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(each.readlink()))
    return [name for name in found if name.startswith(str(folder))]


@pytest.mark.parametrize("use", [Journal.open, Journal.peek])
def test_a_journal_that_is_damaged_is_let_go_of(tmp_path: Path, use: Callable[[Path], object]) -> None:
    path = edited(tmp_path / "x.sqlite", 1)
    change("DROP TABLE ops")(path)
    # With all that was raised still there: the store keeps it to show it.
    with pytest.raises(DamagedJournalError) as raised:
        use(path)
    assert raised.value.reason
    assert held_open(tmp_path) == []


def test_the_sums_of_journals_stay_as_they_are(tmp_path: Path) -> None:
    """Or the next version takes what this one wrote for damaged."""
    path = tmp_path / "x.sqlite"
    journal = Journal.open(path)
    journal.done(EditStep("edit", 1))
    stamp = Stamp(1, 2, 3)
    journal.saving(1, stamp)
    journal.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        facts = dict(database.execute("SELECT * FROM facts"))
    assert json.loads(facts["checked"]) == [zlib.crc32(b"(1, 1, 1)"), 0]
    assert json.loads(facts["saving"]) == [1, *stamp, zlib.crc32(b"(1, 1, 2, 3)")]
