"""The rows of a run as they lie on disk: one JSON object a line, read anew each time and never all at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Pairs that train and are held out, and lines of their data sets that are no pairs."""

    train: int
    holdout: int
    unusable: int


def to_line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of pairs.jsonl, newline included."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """What tells these rows, in this order, from others: the sha256 of the file that they make."""
    if isinstance(rows, RowsFile):
        return rows.digest()
    found = hashlib.sha256()
    for row in rows:
        found.update(to_line(row))
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class RowsFile:
    """A run's pairs.jsonl. Reading it raises `WorkbenchError` where the file is gone or no JSONL."""

    path: Path

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open(encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def __len__(self) -> int:
        try:
            with self.path.open("rb") as lines:
                return sum(1 for _ in lines)
        except OSError as error:
            raise self._unreadable(error) from error

    def digest(self) -> str:
        """The sha256 of the file."""
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> WorkbenchError:
        return WorkbenchError(
            "The run's pairs cannot be read", f"{self.path}: {error}.", "Restore the file, or start a new run."
        )
