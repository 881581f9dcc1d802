"""What models made of texts, kept on disk: what was computed once is not computed again."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

_VERSION = 2
"""Of how results are computed and stored: another number forgets all of them."""
MOST = 1_000_000
"""Results that are kept: scores, most of them, of about 70 bytes."""
MOST_BYTES = 512 * 2**20
_PATIENCE = 5.0
"""Seconds to wait for another process that writes."""
_AT_ONCE = 500
_CHECK = 8
"""Bytes before each value by which a damaged one is told."""
_TABLE = "CREATE TABLE results (key BLOB PRIMARY KEY, value BLOB, added REAL) WITHOUT ROWID"

CacheKey = bytes


def key(*parts: str) -> CacheKey:
    """A key that is the same for the same parts only."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8) + data)
    return digest.digest()


class ResultCache:
    """Results by key in one SQLite file, which several processes may use at once.

    It only ever saves time: a file that is on a full disk or cannot be written is as good as an empty one, a value that
    is damaged as good as none, and a file that is broken, or is none of ours, is made anew. Those least recently added
    go first when there is more than `most`.
    """

    def __init__(self, path: Path | None, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._path, self._most, self._most_bytes = path, most, most_bytes
        self._connection: sqlite3.Connection | None = None
        if path is not None:
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
            with self._mending():
                self._connection = _opened(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forgets all but the newest results, and lets go of the file."""
        connection = self._connection
        if connection is None:
            return
        with self._mending(), connection:
            count, size = _extent(connection)
            while count > self._most or size > self._most_bytes:
                less = max(count - self._most, 0) + max(count // 10, 1)
                connection.execute(
                    "DELETE FROM results WHERE key IN (SELECT key FROM results ORDER BY added LIMIT ?)", (less,)
                )
                count, size = _extent(connection)
        self._let_go()

    def get(self, keys: Sequence[CacheKey]) -> dict[CacheKey, bytes]:
        """The values that are known."""
        values: dict[CacheKey, bytes] = {}
        if self._connection is None:
            return values
        with self._mending():
            for begin in range(0, len(keys), _AT_ONCE):
                part = keys[begin : begin + _AT_ONCE]
                marks = ",".join("?" * len(part))
                for name, stored in self._connection.execute(
                    f"SELECT key, value FROM results WHERE key IN ({marks})", part
                ):
                    value = bytes(stored[_CHECK:]) if isinstance(stored, bytes) else b""
                    if value and stored[:_CHECK] == _check(name, value):
                        values[name] = value
        return values

    def put(self, values: Mapping[CacheKey, bytes]) -> None:
        """Keeps values."""
        now = time.time()
        rows = [(name, _check(name, value) + value, now) for name, value in values.items()]
        for _ in range(2):  # once more where the file was damaged, and an empty one has taken its place
            connection = self._connection
            if connection is None:
                return
            with self._mending(), connection:
                connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)
            if connection is self._connection:
                return

    @contextlib.contextmanager
    def _mending(self) -> Iterator[None]:
        """What the file refuses is left undone; where it is damaged, an empty one takes its place."""
        try:
            yield
        except OSError:
            pass
        except sqlite3.Error as error:
            # Busy, on a full disk, not to be written: there is nothing to mend. Of damage SQLite says this too.
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                return
            self._let_go()
            if self._path is not None:
                with contextlib.suppress(OSError, sqlite3.Error):
                    self._path.unlink()
                    self._connection = _opened(self._path)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _check(name: CacheKey, value: bytes) -> bytes:
    return hashlib.blake2b(name + value, digest_size=_CHECK).digest()


def _extent(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many results there are, and their bytes."""
    count, size = connection.execute("SELECT count(*), coalesce(sum(length(value)), 0) FROM results").fetchone()
    return count, size


def _opened(path: Path) -> sqlite3.Connection:
    if path.is_symlink():  # which SQLite would follow, to write where nobody asked it to
        path.unlink()
    connection = sqlite3.connect(path, timeout=_PATIENCE)
    try:
        connection.text_factory = bytes  # There is none, unless by damage, and then it may be no text.
        # Not worth a flush to the disk each time: what a crash loses is scored again.
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            connection.execute("BEGIN IMMEDIATE")  # or two processes would both make the table
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            table = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'results'").fetchall()
            if version != _VERSION or table != [(_TABLE.encode(),)]:
                connection.execute("DROP TABLE IF EXISTS results")
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        return connection
    except BaseException:
        connection.close()
        raise
