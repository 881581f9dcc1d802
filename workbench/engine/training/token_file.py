"""Pairs as token ids in an Arrow file that is read through a memory map: what nobody looks at takes no memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import pyarrow as pa

from workbench.engine.model.token_ids import PairIds, common_length
from workbench.runs.pair_scores import PairIdentity

COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")
"""The ids, as TRL's preference collator names them."""
MOST_BYTES = 2 * 1024**3
"""What the files of a folder may take together."""
_DAY = 24 * 3600.0
_SUM = hashlib.sha256().digest_size
"""Bytes at the end of a file by which a damaged one is told."""

T = TypeVar("T")

_SCHEMA = pa.schema(
    [
        *((name, pa.list_(pa.int32())) for name in COLUMNS),
        ("common", pa.int32()),
        ("id", pa.binary()),  # Half characters, which JSON allows in an id, are no text for Arrow.
        ("text", pa.string()),
        ("holdout", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A pair to keep: its ids, not cut, and which pair it is."""

    ids: PairIds
    subject: PairIdentity


Parts = Iterable[Sequence[Entry]]
"""Entries in order; all parts but the last have the same length."""


class TokenFile:
    """All pairs of a run, by their row in its pairs.jsonl.

    `sizes` (pairs, 3) are the lengths of prompt, chosen and rejected; `common` (pairs) says with how many tokens chosen
    and rejected begin alike; `holdout` (pairs) which are held out.
    """

    def __init__(self, source: pa.Buffer) -> None:
        self.table: pa.Table = pa.ipc.open_file(source).read_all()
        if self.table.schema != _SCHEMA:
            raise pa.ArrowInvalid("a file of another kind")
        self._columns = [
            [(chunk.offsets.to_numpy(), chunk.values.to_numpy()) for chunk in self.table.column(name).chunks]
            for name in COLUMNS
        ]
        lengths = [[np.diff(offsets) for offsets, _ in parts] or [np.empty(0, np.int32)] for parts in self._columns]
        self.sizes = np.stack([np.concatenate(parts) for parts in lengths], axis=1)
        self.common: np.ndarray = self.table.column("common").to_numpy()
        self.holdout: np.ndarray = self.table.column("holdout").to_numpy()
        self._part = len(self._columns[0][0][0]) - 1 if len(self.sizes) else 1

    @property
    def most(self) -> int:
        """The greatest token id of all."""
        return max((int(values.max()) for column in self._columns for _, values in column if len(values)), default=0)

    def ids(self, row: int) -> PairIds:
        """The ids of a pair."""
        part, index = divmod(row, self._part)
        prompt, chosen, rejected = (
            values[offsets[index] : offsets[index + 1]].tolist() for offsets, values in (c[part] for c in self._columns)
        )
        return PairIds(prompt, chosen, rejected)

    def subject(self, row: int) -> PairIdentity:
        """Which pair it is."""
        name, text = (self.table.column(column)[row].as_py() for column in ("id", "text"))
        return PairIdentity(name.decode("utf-8", "surrogatepass"), text, "holdout" if self.holdout[row] else "train")


class StoredRows(Sequence[T]):
    """Some rows of a file, each read when it is asked for."""

    def __init__(self, file: TokenFile, rows: np.ndarray, read: Callable[[int], T]) -> None:
        self.file, self.rows, self._read = file, rows, read

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._read(row) for row in self.rows[index].tolist()]
        return self._read(int(self.rows[index]))


class StoredPairs(StoredRows[PairIds]):
    """Some rows of a file as pairs. `sizes` (pairs, 3) are the lengths of prompt, chosen and rejected."""

    def __init__(self, file: TokenFile, rows: np.ndarray) -> None:
        super().__init__(file, rows, file.ids)
        self.sizes = file.sizes[rows]


def stored(folder: Path | None, key: str, make: Callable[[], Parts], most: int = MOST_BYTES) -> TokenFile:
    """The file named `key` in `folder`, made where there is none; it is there whole or not at all.

    A file with other bytes than were written for `key` is made anew: all are read to see that, about 1 s a GB.
    The files used longest ago go when all take more than `most` bytes; who has one open keeps it. With no folder, or
    one that cannot be written, the entries are held in memory, as compactly.
    """
    if folder is None:
        return _in_memory(make())
    path = folder / f"{key}.arrow"
    if file := _as_written(path, key):
        return file
    with suppress(OSError):
        _write_file(path, key, make())
        _make_room(folder, path, most)
    return _as_written(path, key) or _in_memory(make())


def _in_memory(parts: Parts) -> TokenFile:
    sink = pa.BufferOutputStream()
    _write(sink, parts)
    return TokenFile(sink.getvalue())


def _as_written(path: Path, key: str) -> TokenFile | None:
    """The file, through a memory map; None where it is not there, or has other bytes than were written for `key`."""
    with suppress(OSError):
        whole = pa.memory_map(str(path)).read_buffer()
        content = whole.slice(0, max(0, whole.size - _SUM))
        if _sum(key, content) == whole.slice(content.size).to_pybytes():
            os.utime(path)  # It counts as used now.
            return TokenFile(content)
    return None


def _sum(key: str, content: pa.Buffer) -> bytes:
    # With its key, so that another data set's tokens under this name are told too.
    digest = hashlib.sha256(key.encode())
    digest.update(content)
    return digest.digest()


def _write_file(path: Path, key: str, parts: Parts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two runs at once each write a file of their own; the later one to end takes the place of the same thing.
    descriptor, unfinished = tempfile.mkstemp(suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(file, parts)
            file.flush()
            file.write(_sum(key, pa.memory_map(unfinished).read_buffer()))
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(unfinished).unlink()
        raise


def _write(sink: object, parts: Parts) -> None:
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        for part in parts:
            writer.write_batch(_batch(part))


def _batch(part: Sequence[Entry]) -> pa.RecordBatch:
    ids, subjects = [entry.ids for entry in part], [entry.subject for entry in part]
    columns = [
        [pair.prompt for pair in ids],
        [pair.chosen for pair in ids],
        [pair.rejected for pair in ids],
        [common_length(pair.chosen, pair.rejected) for pair in ids],
        [subject.id.encode("utf-8", "surrogatepass") for subject in subjects],
        [subject.text for subject in subjects],
        [subject.split == "holdout" for subject in subjects],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=_SCHEMA)


def _make_room(folder: Path, newest: Path, most: int) -> None:
    """Deletes what was used longest ago, but not the newest; and what a killed process left half-written."""
    by_age = []
    for path in folder.iterdir():
        with suppress(OSError):
            status = path.stat()
            if path.suffix == ".arrow":
                by_age.append((path != newest, -status.st_mtime, status.st_size, path))
            elif time.time() - status.st_mtime > _DAY:
                path.unlink()
    total = 0
    for older, _, size, path in sorted(by_age):
        total += size
        if older and total > most:
            with suppress(OSError):
                path.unlink()
