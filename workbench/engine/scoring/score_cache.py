"""Scores of responses kept on disk: what was scored once under a model and an adapter is not scored again."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from workbench.compare.messages import ResponseScore

_VERSION = 1
"""Of how scores are computed and stored: another number forgets all of them."""
MOST = 1_000_000
"""Scores that are kept: about 60 MB."""
_PATIENCE = 5.0
"""Seconds to wait for another process that writes."""
_AT_ONCE = 500

CacheKey = bytes


def key(*parts: str) -> CacheKey:
    """A key that is the same for the same parts only."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8) + data)
    return digest.digest()


class ScoreCache:
    """Scores by key in one SQLite file, which several processes may use at once.

    It only ever saves time: a file that is broken, cannot be written or is on a full disk is as good as an empty one.
    The scores least recently added go first when there are more than `most`.
    """

    def __init__(self, path: Path | None, most: int = MOST) -> None:
        self._most = most
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
        """Forgets all but the newest scores, and lets go of the file."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(sqlite3.Error), connection:
            (count,) = connection.execute("SELECT count(*) FROM scores").fetchone()
            if count > self._most:
                connection.execute(
                    "DELETE FROM scores WHERE key IN (SELECT key FROM scores ORDER BY added LIMIT ?)",
                    (count - self._most + self._most // 10,),
                )
        connection.close()

    def get(self, keys: Sequence[CacheKey]) -> dict[CacheKey, ResponseScore]:
        """The scores that are known."""
        scores: dict[CacheKey, ResponseScore] = {}
        if self._connection is None:
            return scores
        with contextlib.suppress(sqlite3.Error):
            for begin in range(0, len(keys), _AT_ONCE):
                part = keys[begin : begin + _AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, total, tokens, cut FROM scores WHERE key IN ({marks})"
                rows = self._connection.execute(query, part)
                scores |= {
                    name: ResponseScore(sum=total, tokens=tokens, cut=bool(cut)) for name, total, tokens, cut in rows
                }
        return scores

    def put(self, scores: Mapping[CacheKey, ResponseScore]) -> None:
        """Keeps scores."""
        if self._connection is None or not scores:
            return
        now = time.time()
        rows: Iterable[tuple[object, ...]] = [
            (name, side.sum, side.tokens, side.cut, now) for name, side in scores.items()
        ]
        with contextlib.suppress(sqlite3.Error), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)", rows)


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE)
    try:
        # Not worth a flush to the disk each time: what a crash loses is scored again.
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            connection.execute("BEGIN IMMEDIATE")  # or two processes would both make the table
            if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                connection.execute("DROP TABLE IF EXISTS scores")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS scores"
                    " (key BLOB PRIMARY KEY, total REAL, tokens INTEGER, cut INTEGER, added REAL) WITHOUT ROWID"
                )
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        return connection
    except BaseException:
        connection.close()
        raise
