"""What was edited, written down before it is acknowledged: the history of a data set, and what its file lacks of it.

SQLite in WAL mode, one database a data set: a commit is one short write, atomic, and survives the death of the
process at any instant. `synchronous=NORMAL` leaves the flush to the disk to the system, so a power cut (not a crash of
the program) can lose the edits since the file was last saved, two seconds or so; it never damages the database. One a
data set, since a data set is what is locked, moved and deleted, and two workbenches on two of them never wait.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from workbench.errors import WorkbenchError
from workbench.pairs.lines import Stamp
from workbench.pairs.steps import EditStep

_SCHEMA = """
CREATE TABLE IF NOT EXISTS steps(seq INTEGER PRIMARY KEY, state TEXT, description TEXT, pairs INTEGER, at REAL,
                                 payload BLOB);
CREATE TABLE IF NOT EXISTS ops(n INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER, forward INTEGER);
CREATE TABLE IF NOT EXISTS conflicts(id TEXT PRIMARY KEY, payload TEXT);
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT);
CREATE INDEX IF NOT EXISTS steps_by_state ON steps(state, seq);
"""
FOLDER = ".journal"


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
        """The journal in `path`, made where there is none; one that is damaged is set aside, under another name.

        Raises `WorkbenchError` where it can be neither read nor made.
        """
        try:
            path.parent.mkdir(exist_ok=True)
            ignore = path.parent / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            try:
                return cls(path, _connected(path))
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                aside = path.with_suffix(f".damaged-{int(time.time())}")
                path.rename(aside)
                for suffix in ("-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                return cls(path, _connected(path))
        except (OSError, sqlite3.Error) as error:
            raise _not_journalled(path, error) from error

    @classmethod
    def peek(cls, path: Path) -> Journal | None:
        """The journal for reading, None where there is none (or none that can be read)."""
        if not path.exists():
            return None
        try:
            uri = f"{path.absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, timeout=5, check_same_thread=False)
            connection.execute("SELECT n FROM ops LIMIT 1").fetchall()
            return cls(path, connection)
        except sqlite3.Error:
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
            database.execute("INSERT INTO ops(seq, forward) VALUES (?, 1)", (cursor.lastrowid,))

    def turned(self, seq: int, *, forward: bool) -> None:
        """Writes down that a step was undone, or done again."""
        with self._writing() as database:
            database.execute("UPDATE steps SET state = ? WHERE seq = ?", ("done" if forward else "undone", seq))
            database.execute("INSERT INTO ops(seq, forward) VALUES (?, ?)", (seq, int(forward)))

    def next(self, what: Literal["undo", "redo"]) -> tuple[int, EditStep] | None:
        """The step that would be undone, or done again."""
        row = self._connection.execute(f"SELECT seq, description, pairs, payload FROM steps {_NEXT[what]}").fetchone()
        return None if row is None else (row[0], EditStep.decoded(*row[1:]))

    def described(self, what: Literal["undo", "redo"]) -> str:
        """What would be undone, or done again, in words; empty for nothing."""
        row = self._connection.execute(f"SELECT description, pairs FROM steps {_NEXT[what]}").fetchone()
        return "" if row is None else str(EditStep(*row))

    # What the file lacks

    @property
    def latest(self) -> int:
        """The number of the latest op, 0 for none yet."""
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'ops'").fetchone()
        return int(row[0]) if row else 0

    @property
    def saved(self) -> int:
        """The number of the latest op that the file is known to have."""
        return int(self._fact("saved") or 0)

    def saving(self, n: int, stamp: Stamp) -> None:
        """A file with all ops up to `n` is about to take the place of the one before."""
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES ('saving', ?)", (json.dumps([n, *stamp]),))

    def saved_in(self, stamp: Stamp) -> int:
        """The number of the latest op that the file with this stamp has, where it was written here; else `saved`."""
        n, *fields = json.loads(self._fact("saving") or "[0]")
        return max(self.saved, n) if fields == list(stamp) else self.saved

    def ops(self, after: int) -> list[Op]:
        """The ops after a number, each as the step that it applied."""
        rows = self._connection.execute(
            "SELECT n, forward, description, pairs, payload FROM ops JOIN steps USING (seq) WHERE n > ? ORDER BY n",
            (after,),
        )
        ops = []
        for n, forward, *rest in rows:
            step = EditStep.decoded(*rest)
            ops.append(Op(n, step if forward else step.reversed()))
        return ops

    def mark_saved(self, n: int) -> None:
        """The file has all ops up to `n`."""
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES ('saved', ?)", (str(n),))

    def tidy(self) -> None:
        """Forgets ops that the file has and steps that can never be done again."""
        with self._writing() as database:
            database.execute("DELETE FROM ops WHERE n <= ?", (self.saved,))
            database.execute("DELETE FROM steps WHERE state = 'dead' AND seq NOT IN (SELECT seq FROM ops)")

    # Conflicts

    def conflicts(self) -> dict[str, Any]:
        """The conflicts that nobody decided yet: what was given to `add_conflicts`, by id."""
        return {identity: json.loads(text) for identity, text in self._connection.execute("SELECT * FROM conflicts")}

    def add_conflicts(self, conflicts: dict[str, Any]) -> None:
        """Keeps conflicts, by id, until they are settled."""
        with self._writing() as database:
            rows = [(identity, json.dumps(value)) for identity, value in conflicts.items()]
            database.executemany("INSERT OR REPLACE INTO conflicts VALUES (?, ?)", rows)

    def settle(self, identity: str) -> None:
        """A conflict was decided."""
        with self._writing() as database:
            database.execute("DELETE FROM conflicts WHERE id = ?", (identity,))

    def _fact(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._connection as database:
                database.execute("BEGIN IMMEDIATE")
                yield database
        except sqlite3.Error as error:
            raise _not_journalled(self._path, error) from error


_NEXT = {
    "undo": "WHERE state = 'done' ORDER BY seq DESC LIMIT 1",
    "redo": "WHERE state = 'undone' ORDER BY seq LIMIT 1",
}


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        # All tables at once: a reader must not come between two of them.
        connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _not_journalled(path: Path, error: Exception) -> WorkbenchError:
    return WorkbenchError(
        "The edit was not made",
        f"It could not be written down: {path}: {error}. Everything before it is safe.",
        f"Free space, or allow writing in {path.parent}, then make the edit again.",
    )
