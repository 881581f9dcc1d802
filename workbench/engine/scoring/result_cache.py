"""What models made of texts, kept on disk: what was computed once is not computed again."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
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

    It only ever saves time: a file that is broken, cannot be written or is on a full disk is as good as an empty one,
    a value that is damaged as good as none. Those least recently added go first when there is more than `most`.
    """

    def __init__(self, path: Path | None, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._connection: sqlite3.Connection | None = None
        if path is None:
            return
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = _opened(path)
        except sqlite3.OperationalError:
            return
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError, sqlite3.Error):
                path.unlink()
                self._connection = _opened(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forgets all but the newest results, and lets go of the file."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(sqlite3.Error), connection:
            count, size = _extent(connection)
            while count > self._most or size > self._most_bytes:
                less = max(count - self._most, 0) + max(count // 10, 1)
                connection.execute(
                    "DELETE FROM results WHERE key IN (SELECT key FROM results ORDER BY added LIMIT ?)", (less,)
                )
                count, size = _extent(connection)
        connection.close()

    def get(self, keys: Sequence[CacheKey]) -> dict[CacheKey, bytes]:
        """The values that are known."""
        values: dict[CacheKey, bytes] = {}
        if self._connection is None:
            return values
        with contextlib.suppress(sqlite3.Error):
            for begin in range(0, len(keys), _AT_ONCE):
                part = keys[begin : begin + _AT_ONCE]
                marks = ",".join("?" * len(part))
                for name, stored in self._connection.execute(
                    f"SELECT key, value FROM results WHERE key IN ({marks})", part
                ):
                    value = bytes(stored[_CHECK:])
                    if stored[:_CHECK] == _check(name, value):
                        values[name] = value
        return values

    def put(self, values: Mapping[CacheKey, bytes]) -> None:
        """Keeps values."""
        if self._connection is None or not values:
            return
        now = time.time()
        rows: Iterable[tuple[object, ...]] = [
            (name, _check(name, value) + value, now) for name, value in values.items()
        ]
        with contextlib.suppress(sqlite3.Error), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)


def _check(name: CacheKey, value: bytes) -> bytes:
    return hashlib.blake2b(name + value, digest_size=_CHECK).digest()


def _extent(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many results there are, and their bytes."""
    count, size = connection.execute("SELECT count(*), coalesce(sum(length(value)), 0) FROM results").fetchone()
    return count, size


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE)
    try:
        # Not worth a flush to the disk each time: what a crash loses is scored again.
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            connection.execute("BEGIN IMMEDIATE")  # or two processes would both make the table
            if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                connection.execute("DROP TABLE IF EXISTS results")
                connection.execute("CREATE TABLE results (key BLOB PRIMARY KEY, value BLOB, added REAL) WITHOUT ROWID")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        return connection
    except BaseException:
        connection.close()
        raise
