"""The worker's end of events.jsonl: whole events only, and room kept for a last word."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from workbench.credentials import without_secrets
from workbench.files import open_to_append
from workbench.runs.events import End, Event, Phase, Warned, encode

RESERVE = ".reserve"
"""A file beside the events that holds the room for the last ones on a disk that is full by then."""
_RESERVED = 64 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHUNK = 64 * 1024


class RunDeletedError(Exception):
    """The run's folder was deleted or moved under the worker: there is nobody to tell, and nowhere to save.

    The worker ends quietly on it. `EventWriter.write` raises it for every event but an `End`, for which it tries once
    more: where the folder was only moved, its last word is still found there.
    """


class EventWriter:
    """Appends events to a file, each whole or not at all, so that a reader never sees half a line for long.

    Opening cuts off the half-written line that a killed worker left, and puts a reserve of 64 KB beside the file.
    Raises `OSError` where the disk refuses, `WorkbenchError` where the file is a link.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._reserve = path, path.with_name(RESERVE)
        self._file = open_to_append(path)
        self._cut_half_line()
        self._make_reserve()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.close(self._file)
        self._free_reserve()

    def write(self, event: Event) -> None:
        """Appends one event.

        Raises `OSError` (errno ENOSPC, EDQUOT or EFBIG) where the disk is full; the file is then as it was before. An
        `End` uses the reserve, so that `Failed("The disk is full", …)` can be told all the same. Raises
        `RunDeletedError` where the file is no longer in its place.
        """
        last = isinstance(event, End)
        self._check_place(last)
        line = without_secrets(encode(event)).encode("utf-8", "replace")
        try:
            self._append(line)
        except OSError as error:
            if not last or error.errno not in _NO_ROOM:
                raise
            self._free_reserve()
            self._append(line)
        if last:
            with suppress(OSError):
                os.fsync(self._file)

    def phase(self, name: str, step: int = 0) -> None:
        """Says what happens now. Raises as `write` does."""
        self.write(Phase(time=time.time(), step=step, name=name))

    def warn(self, title: str, message: str, step: int = 0) -> None:
        """Tells of something that the user should know. Raises as `write` does."""
        self.write(Warned(time=time.time(), step=step, title=title, message=message))

    def _append(self, line: bytes) -> None:
        written = os.write(self._file, line)
        if written < len(line):  # What fitted on the disk.
            os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR) - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def _check_place(self, last: bool) -> None:
        mine = os.fstat(self._file)
        try:
            there = os.path.samestat(mine, self._path.stat())
        except OSError:
            there = False
        if not (there or (last and mine.st_nlink)):
            raise RunDeletedError(str(self._path))

    def _cut_half_line(self) -> None:
        end = size = os.fstat(self._file).st_size
        while end:
            begin = max(0, end - _CHUNK)
            newline = os.pread(self._file, end - begin, begin).rfind(b"\n")
            end = begin
            if newline >= 0:
                end = begin + newline + 1
                break
        if end < size:
            os.ftruncate(self._file, end)

    def _make_reserve(self) -> None:
        # Random bytes: a file system that compresses keeps no room for zeros.
        with suppress(OSError):
            if self._reserve.is_file() and self._reserve.stat(follow_symlinks=False).st_size == _RESERVED:
                return  # Left by a worker that was killed; on a full disk it could not be made again.
            self._reserve.unlink(missing_ok=True)
            self._reserve.write_bytes(os.urandom(_RESERVED))

    def _free_reserve(self) -> None:
        with suppress(OSError):
            self._reserve.unlink()
