"""What was edited, written down before it is acknowledged: the history of a data set, and what its file lacks of it.

SQLite in WAL mode, one database a data set: a commit is one short write, atomic, and survives the death of the
process at any instant. `synchronous=NORMAL` leaves the flush to the disk to the system, so a power cut (not a crash of
the program) can lose the edits since the file was last saved, two seconds or so; it never damages the database. One a
data set, since a data set is what is locked, moved and deleted, and two workbenches on two of them never wait.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.lines import Stamp
from workbench.pairs.steps import DAMAGE, EditStep

_SCHEMA = """
CREATE TABLE steps(seq INTEGER PRIMARY KEY, state TEXT, description TEXT, pairs INTEGER, at REAL,
                   payload BLOB);
CREATE TABLE ops(n INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER, forward INTEGER);
CREATE TABLE conflicts(id TEXT PRIMARY KEY, payload TEXT);
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT);
CREATE INDEX steps_by_state ON steps(state, seq);
"""
log = logging.getLogger(__name__)
# The command line tells what is warned of; the screens ask for it.
log.addHandler(logging.NullHandler())
_TABLES = {"steps", "ops", "conflicts", "facts"}
FOLDER = ".journal"
_SHOWN = 5
_NOT_DAMAGE = {
    sqlite3.SQLITE_FULL: "Free space there, then try again.",
    sqlite3.SQLITE_BUSY: "Another program holds it: end that, then try again.",
    sqlite3.SQLITE_LOCKED: "Another program holds it: end that, then try again.",
    sqlite3.SQLITE_READONLY: "Allow writing there, then try again.",
    sqlite3.SQLITE_PERM: "Allow writing there, then try again.",
    sqlite3.SQLITE_CANTOPEN: "Allow reading and writing there, then try again.",
    sqlite3.SQLITE_IOERR: "Free space there, or look for errors of the disk, then try again.",
    sqlite3.SQLITE_NOMEM: "Free memory, then try again.",
    sqlite3.SQLITE_PROTOCOL: "Another program holds it: end that, then try again.",
    sqlite3.SQLITE_INTERRUPT: "Try again.",
}
"""What SQLite reports that says nothing of what is in the file, and the way out."""


class UnusableJournalError(WorkbenchError):
    """The journal cannot be read or written now; nothing is wrong with what is in it."""


class DamagedJournalError(WorkbenchError):
    """The journal holds what was never written into it. `reason` ends a sentence."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The journal of {path.stem} is damaged",
            f"{path}: {reason}. Edits that {path.stem}.jsonl does not have yet cannot be read.",
            "Open the data set for editing: the journal is then set aside, and kept.",
        )
        self.reason = reason


class Op(NamedTuple):
    """A step that was done (`forward`) or taken back, in the order in which that happened."""

    n: int
    step: EditStep


def journal_path(path: Path) -> Path:
    """Where the journal of the data set in `path` is."""
    return path.parent / FOLDER / f"{path.stem}.sqlite"


class Journal:
    """The journal of one data set. Methods that write raise `WorkbenchError`, with nothing written.

    A step is done, undone (and can be done again), or dead (it was undone and another was done since).
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Journal:
        """The journal in `path`, made where there is none.

        Raises `DamagedJournalError`, and `WorkbenchError` where it can be neither read nor made.
        """
        try:
            path.parent.mkdir(exist_ok=True)
            ignore = path.parent / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            _refuse_others(path)
            with telling_damage(path):
                return cls(path, _connected(path))
        except OSError as error:
            raise _unusable(path, error) from error

    @classmethod
    def peek(cls, path: Path) -> Journal | None:
        """The journal for reading, None where there is none yet.

        Raises `DamagedJournalError`, and `WorkbenchError` where it cannot be read.
        """
        try:
            _refuse_others(path)
            if not path.exists():
                return None
        except OSError as error:
            raise _unusable(path, error) from error
        # Nobody writes where nobody may: then there is no file beside it, which reading by the usual way would make.
        ways = ("mode=ro", "immutable=1") if not path.with_name(f"{path.name}-wal").exists() else ("mode=ro",)
        for way in ways:
            with telling_damage(path):
                connection = sqlite3.connect(
                    f"{path.absolute().as_uri()}?{way}", uri=True, timeout=5, check_same_thread=False
                )
                try:
                    connection.execute("SELECT n FROM ops LIMIT 1").fetchall()
                    return cls(path, connection)
                except sqlite3.Error as error:
                    connection.close()
                    if way == ways[-1] or _code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                        raise
        return None

    def close(self) -> None:
        """Lets go of the database."""
        self._connection.close()

    # Steps

    def done(self, step: EditStep) -> None:
        """Writes down a new step; what was undone before cannot be done again."""
        with self._writing() as database:
            database.execute("UPDATE steps SET state = 'dead' WHERE state = 'undone'")
            cursor = database.execute(
                "INSERT INTO steps(state, description, pairs, at, payload) VALUES ('done', ?, ?, ?, ?)",
                (step.description, step.pairs, time.time(), step.encoded()),
            )
            _add_op(database, cursor.lastrowid, forward=True)

    def turned(self, seq: int, *, forward: bool) -> None:
        """Writes down that a step was undone, or done again."""
        with self._writing() as database:
            database.execute("UPDATE steps SET state = ? WHERE seq = ?", ("done" if forward else "undone", seq))
            _add_op(database, seq, forward=forward)

    def next(self, what: Literal["undo", "redo"]) -> tuple[int, EditStep] | None:
        """The step that would be undone, or done again."""
        with self._reading() as database:
            row = database.execute(f"SELECT seq, description, pairs, payload FROM steps {_NEXT[what]}").fetchone()
            return None if row is None else (row[0], EditStep.decoded(*row[1:]))

    def described(self, what: Literal["undo", "redo"]) -> str:
        """What would be undone, or done again, in words; empty for nothing."""
        with self._reading() as database:
            row = database.execute(f"SELECT description, pairs FROM steps {_NEXT[what]}").fetchone()
            return "" if row is None else str(EditStep(*row))

    # What the file lacks

    @property
    def latest(self) -> int:
        """The number of the latest op, 0 for none yet."""
        with self._reading() as database:
            row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'ops'").fetchone()
            return int(row[0]) if row else 0

    @property
    def saved(self) -> int:
        """The number of the latest op that the file is known to have."""
        with self._reading():
            return int(self._fact("saved", 0))

    def saving(self, n: int, stamp: Stamp) -> None:
        """A file with all ops up to `n` is about to take the place of the one before."""
        with self._writing() as database:
            _write_fact(database, "saving", [n, *stamp, _sum(n, *stamp)])

    def saved_in(self, stamp: Stamp) -> int:
        """The number of the latest op that the file with this stamp has, where it was written here; else `saved`."""
        with self._reading():
            n, *fields = self._fact("saving", [0])
            return max(self.saved, int(n)) if fields == [*stamp, _sum(n, *stamp)] else self.saved

    def ops(self, after: int) -> list[Op]:
        """The ops after a number, each as the step that it applied."""
        with self._reading() as database:
            rows = database.execute(_OPS, (after,)).fetchall()
            latest, saved = int(rows[0][0] or 0), int(json.loads(rows[0][1] or "0"))
            checked = json.loads(rows[0][2] or "null")
            every = [row[3:] for row in rows if row[3] is not None]
            if checked not in (None, [_summed(row[:3] for row in every), saved]):
                raise ValueError("the order of the edits is not as it was written")
            found = [(row[0], *row[2:]) for row in every if row[0] > after]
            # An op that is not there, or whose step is not, must not go by as if nobody had edited.
            expected = range(found[0][0] if found else latest + 1, latest + 1)
            if [row[0] for row in found] != list(expected) or not expected.start - 1 <= max(after, saved) <= latest:
                raise ValueError(f"of the edits up to number {latest}, some are not there")
            ops = []
            for n, forward, state, *rest in found:
                if forward not in (0, 1) or state not in _STATES:
                    raise ValueError(f"edit number {n} is neither done nor undone")
                step = EditStep.decoded(*rest)
                ops.append(Op(n, step if forward else step.reversed()))
            return ops

    def mark_saved(self, n: int) -> None:
        """The file has all ops up to `n`."""
        with self._writing() as database:
            _write_fact(database, "saved", n)
            _write_fact(database, "checked", [_checked_sum(database), n])

    def tidy(self) -> None:
        """Forgets ops that the file has and steps that can never be done again."""
        saved = self.saved
        # First: what is damaged must not get a sum that says it is whole.
        self.ops(saved)
        with self._writing() as database:
            database.execute("DELETE FROM ops WHERE n <= ?", (saved,))
            rows = database.execute("SELECT n, seq, forward FROM ops ORDER BY n").fetchall()
            _write_fact(database, "checked", [_summed(rows), saved])
            database.execute("DELETE FROM steps WHERE state = 'dead' AND seq NOT IN (SELECT seq FROM ops)")

    # Conflicts

    def conflicts(self) -> dict[str, Any]:
        """The conflicts that nobody decided yet: what was given to `add_conflicts`, by id."""
        with self._reading() as database:
            return {identity: json.loads(text) for identity, text in database.execute("SELECT * FROM conflicts")}

    def add_conflicts(self, conflicts: dict[str, Any]) -> None:
        """Keeps conflicts, by id, until they are settled."""
        with self._writing() as database:
            rows = [(identity, json.dumps(value)) for identity, value in conflicts.items()]
            database.executemany("INSERT OR REPLACE INTO conflicts VALUES (?, ?)", rows)

    def settle(self, identity: str) -> None:
        """A conflict was decided."""
        with self._writing() as database:
            database.execute("DELETE FROM conflicts WHERE id = ?", (identity,))

    def _fact(self, name: str, default: Any) -> Any:
        with self._reading() as database:
            row = database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
            return default if row is None else json.loads(row[0])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with telling_damage(self._path):
            yield self._connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._connection as database:
                database.execute("BEGIN IMMEDIATE")
                yield database
        except sqlite3.Error as error:
            raise _told(self._path, error, editing=True) from error
        except _NO_SUM as error:
            raise DamagedJournalError(self._path, f"it has no sum of its edits ({error})") from error


_NEXT = {
    "undo": "WHERE state = 'done' ORDER BY seq DESC LIMIT 1",
    "redo": "WHERE state = 'undone' ORDER BY seq LIMIT 1",
}
_STATES = ("done", "undone", "dead")
# One statement, so that all of it is of one moment; a row at least, so that an op that is missing can be told.
_OPS = """
SELECT latest, saved, checked, n, seq, forward, state, description, pairs, payload
FROM (SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'ops') AS latest,
             (SELECT value FROM facts WHERE name = 'saved') AS saved,
             (SELECT value FROM facts WHERE name = 'checked') AS checked)
LEFT JOIN ops LEFT JOIN (SELECT seq, state, description, pairs, payload FROM steps
                         WHERE seq IN (SELECT seq FROM ops WHERE n > ?)) USING (seq) ORDER BY n
"""


_NO_SUM = (json.JSONDecodeError, IndexError, TypeError)


def _add_op(database: sqlite3.Connection, seq: int | None, *, forward: bool) -> None:
    cursor = database.execute("INSERT INTO ops(seq, forward) VALUES (?, ?)", (seq, int(forward)))
    total = _sum(cursor.lastrowid, seq, int(forward), start=_checked_sum(database))
    row = database.execute("SELECT value FROM facts WHERE name = 'saved'").fetchone()
    _write_fact(database, "checked", [total, json.loads(row[0]) if row else 0])


def _write_fact(database: sqlite3.Connection, name: str, value: object) -> None:
    database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))


def _checked_sum(database: sqlite3.Connection) -> int:
    """The sum of all ops, by which one that says something else is told: SQLite has none for its pages."""
    row = database.execute("SELECT value FROM facts WHERE name = 'checked'").fetchone()
    return json.loads(row[0])[0] if row else 0


def _summed(ops: Iterable[Sequence[object]]) -> int:
    total = 0
    for op in ops:
        total = _sum(*op, start=total)
    return total


def _sum(*values: object, start: int = 0) -> int:
    return zlib.crc32(repr(values).encode(), start)


def set_aside(path: Path) -> Path:
    """Moves a journal that is damaged out of the way, whole; returns where it is now.

    Raises `WorkbenchError` where that cannot be done.
    """
    stem = f"{path.stem}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
    number, aside = 1, path.with_name(f"{stem}{path.suffix}")
    while aside.exists() or aside.is_symlink():
        number += 1
        aside = path.with_name(f"{stem}-{number}{path.suffix}")
    try:
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists() or part.is_symlink():
                part.rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        raise _unusable(path, error) from error
    return aside


def gone_with(aside: Path) -> str:
    """What can be told of the edits in a journal that was set aside and that the file may lack, in a sentence."""
    unknown = "Which edits the file lacks, if any, cannot be told: it lacks those of the last seconds at most."
    if not aside.is_file() or aside.is_symlink():
        return unknown
    told = []
    try:
        with contextlib.closing(sqlite3.connect(f"{aside.absolute().as_uri()}?mode=ro", uri=True)) as database:
            saved = int(database.execute("SELECT value FROM facts WHERE name = 'saved'").fetchone()[0])
            for n, forward, description, pairs in database.execute(
                "SELECT n, forward, description, pairs FROM ops LEFT JOIN steps USING (seq) ORDER BY n"
            ):
                if n > saved:
                    words = str(EditStep(str(description or "an edit"), int(pairs or 1)))
                    told.append(words if forward else f"undone: {words}")
    except (sqlite3.Error, ValueError, TypeError, OverflowError):
        if not told:
            return unknown
    if not told:
        return "The file has every edit that it holds; what is gone is undo."
    shown = "; ".join(told[:_SHOWN]) + (f"; and {len(told) - _SHOWN:,} more" if len(told) > _SHOWN else "")
    return f"The file may lack {plural(len(told), 'edit')} that it holds: {shown}."


def _connected(path: Path) -> sqlite3.Connection:
    if not path.exists():
        # Under another name first: a journal without tables, empty even, is then one that something happened to.
        unfinished = path.with_suffix(".new")
        for suffix in ("", "-wal", "-shm"):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
        with contextlib.closing(_opened(unfinished)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
        unfinished.rename(path)
    connection = _opened(path)
    try:
        # Before anything is written: what is damaged is to be kept as it is.
        if names := _TABLES - {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}:
            raise ValueError(f"it has no table of {min(names)}")
        if (found := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise ValueError(str(found).splitlines()[-1])
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)


def _refuse_others(path: Path) -> None:
    """Raises `DamagedJournalError` for what no workbench makes: a link, which leads elsewhere, a folder, a pipe."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DamagedJournalError(path, "is a link" if path.is_symlink() else "is no file")


@contextlib.contextmanager
def telling_damage(path: Path) -> Iterator[None]:
    """Makes of what reading the journal raises either that it is damaged, or that it cannot be used for now."""
    try:
        yield
    except sqlite3.Error as error:
        raise _told(path, error) from error
    except DAMAGE as error:
        raise DamagedJournalError(path, str(error) or type(error).__name__) from error


def _told(path: Path, error: sqlite3.Error, *, editing: bool = False) -> DamagedJournalError | UnusableJournalError:
    if _code(error) in _NOT_DAMAGE:
        return _unusable(path, error, editing=editing)
    return DamagedJournalError(path, str(error))


def _code(error: sqlite3.Error) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _unusable(path: Path, error: Exception, *, editing: bool = True) -> UnusableJournalError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    hint = _NOT_DAMAGE.get(_code(error) or -1) if isinstance(error, sqlite3.Error) else None
    if hint is None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = _NOT_DAMAGE[sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_CANTOPEN]
    if editing:
        told = f"It could not be written down: {path}: {reason}. Everything before it is safe."
        return UnusableJournalError("The edit was not made", told, hint)
    told = f"{path}: {reason}. Edits that {path.stem}.jsonl does not have yet are in it."
    return UnusableJournalError(f"The journal of {path.stem} cannot be read", told, hint)
