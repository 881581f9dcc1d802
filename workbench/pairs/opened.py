"""A file of pairs that is open: locked, journalled, saved in the background, merged with what others write into it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from workbench.errors import WorkbenchError
from workbench.pairs.columns import load
from workbench.pairs.files import Stamp, not_saved
from workbench.pairs.journal import Journal, Op, journal_path
from workbench.pairs.lines import write_atomically
from workbench.pairs.lock import Lock
from workbench.pairs.merge import Conflict, take_in
from workbench.pairs.rows import Rows
from workbench.pairs.saving import Saver, in_breaths
from workbench.pairs.search import Search
from workbench.pairs.view import View

_QUIET = 2.0
_LONGEST = 10.0
_SETTLE = 0.1


class ReadOnlyError(WorkbenchError):
    """The data set can be read but not edited here."""


class _ChangedError(Exception):
    """The file is not the one that is to be replaced."""


@dataclass(frozen=True, slots=True)
class DiskChange:
    """What another program did to the file: `changed` pairs taken in, and what is left to decide.

    `trouble` is set where nothing could be taken in (the file is gone, or holds no pairs any more): all is then as it
    was, nothing is saved, and `PairStore.restore` puts the file back.
    """

    changed: int = 0
    conflicts: tuple[Conflict, ...] = ()
    trouble: WorkbenchError | None = None


class OpenedFile:
    """The rows of a file, kept safe: what `PairStore` edits."""

    def __init__(self, path: Path, *, quiet: float = _QUIET) -> None:
        """Opens `path`, replaying what was edited and not saved; raises `WorkbenchError` where it cannot be read."""
        self.path = path
        self.read_only = ""
        """Why nothing can be edited; empty where it can."""
        self.trouble: WorkbenchError | None = None
        """Why the file could not be saved the last time; the edits are in the journal."""
        self.generation = 0
        self.touched: list[int] = []
        """The rows of the latest step, done, undone or redone."""
        self.conflicts: dict[str, Conflict] = {}
        """By id: what is still to decide with `resolve`."""
        self._mutex = threading.RLock()
        self._saving = threading.Lock()
        self._file_lock: Lock | None = None
        self._journal: Journal | None = None
        self._lost = False
        if not path.is_file():
            load(path)
        self._take_lock()
        try:
            self._open()
        except BaseException:
            self._let_go()
            raise
        self._saver = Saver(self._save_quietly, quiet=quiet, longest=max(quiet, _LONGEST))
        if self.unsaved:
            self._saver.touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take_lock(self) -> None:
        journal = journal_path(self.path)
        try:
            lock = Lock.take(journal.with_suffix(".lock"))
        except OSError as error:
            self.read_only = f"{journal.parent} cannot be written ({error.strerror or error})"
            return
        if not isinstance(lock, Lock):
            self.read_only = f"it is being edited by {lock or 'another program'}"
            return
        self._file_lock = lock

    def _open(self) -> None:
        path = journal_path(self.path)
        if self._file_lock is not None:
            try:
                self._journal = Journal.open(path)
            except WorkbenchError as error:
                self.read_only = error.message
                self._file_lock.release()
                self._file_lock = None
        self._journal = self._journal or Journal.peek(path)
        if self._journal is not None and self._file_lock is not None:
            self._journal.tidy()
        self._began = 0
        ops = self._ops(since_opened=False)
        rows = Rows(load(self.path))
        saved = self._saved_in(rows)
        self._keep(take_in(rows, [op for op in ops if op.n > saved], saved=saved, mine=None))
        self._began = max(saved, ops[-1].n if ops else 0)
        self._adopt(rows)

    def _ops(self, *, since_opened: bool) -> list[Op]:
        """The ops that the file lacks; with `since_opened` also those done here that it has.

        To be called before the file is read: should the one who edits save it in between, it has what is taken in
        again, which changes nothing.
        """
        if self._journal is None:
            return []
        saved = self._journal.saved
        return self._journal.ops(min(saved, self._began) if since_opened else saved)

    def _saved_in(self, rows: Rows) -> int:
        """The latest op that a file that was read has; who saved it may have been killed before noting so."""
        if self._journal is None:
            return 0
        saved = self._journal.saved_in(rows.base.stamp)
        if self._file_lock is not None and saved != self._journal.saved:
            self._journal.mark_saved(saved)
        return saved

    def _adopt(self, rows: Rows) -> None:
        self._rows = rows
        self._stamp = rows.base.stamp
        self._search, self._view = Search(rows), View(rows)

    def _keep(self, found: Sequence[Conflict]) -> None:
        if self._journal is None:
            return
        if found and self._file_lock is not None:
            self._journal.add_conflicts({each.id: each.to_json() for each in found})
        kept = self._journal.conflicts()
        self.conflicts = {identity: Conflict.from_json(identity, value) for identity, value in kept.items()}

    def close(self) -> None:
        """Saves what is not saved and lets others edit. Raises `WorkbenchError` where it cannot be saved: the edits are
        in the journal, and are there again when the data set is opened."""
        self._saver.close()
        try:
            if self.unsaved:
                if self.disk_changed():
                    self.check_disk()
                else:
                    self.save()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._file_lock is not None:
            self._file_lock.release()
            self._file_lock = None

    # Saving

    @property
    def unsaved(self) -> int:
        """How many steps the file lacks; they are in the journal."""
        with self._mutex:
            if self._journal is None or self._file_lock is None:
                return 0
            return self._journal.latest - self._journal.saved

    def save(self) -> None:
        """Writes the file now. Raises `WorkbenchError` where that fails, or another program has changed it."""
        with self._saving:
            with self._mutex:
                journal = self._editable()
                latest = journal.latest
                if latest == journal.saved and not self._lost:
                    return
                rows = self._rows.frozen()
            try:
                written = write_atomically(self.path, in_breaths(rows.chunks()), check=partial(self._check, latest))
            except OSError as error:
                self.trouble = WorkbenchError(
                    f"{self.path.name} could not be saved",
                    f"{self.path}: {error.strerror or error}. Every edit is kept in {journal_path(self.path)}.",
                    "Free space, or allow writing there; it is saved with the next edit, or when you leave.",
                )
                raise self.trouble from error
            except _ChangedError:
                raise WorkbenchError(
                    f"{self.path.name} was changed by another program",
                    "It was not saved over. Every edit is kept in the journal.",
                    "Take the other version in first.",
                ) from None
            with self._mutex:
                self._stamp, self._lost = Stamp.of(written), False
                self.trouble = None
                journal.mark_saved(latest)

    def _save_quietly(self) -> None:
        try:
            self.save()
        except WorkbenchError as error:
            self.trouble = error

    def _check(self, latest: int, new: os.stat_result) -> None:
        """Just before a file with the ops up to `latest` takes the place of the one before."""
        if not self._lost and self.disk_changed():
            raise _ChangedError
        with self._mutex:
            self._editable().saving(latest, Stamp.of(new))

    def _editable(self) -> Journal:
        if self._file_lock is None or self._journal is None:
            raise ReadOnlyError(
                f"{self.path.stem} is open for reading only",
                f"No edit was made: {self.read_only or 'it was closed'}.",
                "Close the other workbench, or allow writing there, and open the data set again.",
            )
        return self._journal

    # Another program

    def disk_changed(self) -> bool:
        """Whether the file is not as it was last read or written here; quick."""
        try:
            return Stamp.of(self.path.stat()) != self._stamp
        except OSError:
            return True

    def check_disk(self) -> DiskChange | None:
        """Takes in what another program made of the file; None where it is as it was. Not for the screen's thread.

        `generation` changes where something was taken in. Nothing is ever lost: see `DiskChange`.
        """
        if not self.disk_changed():
            return None
        with self._saving:
            ops = self._ops(since_opened=self._file_lock is not None)
            trouble, rows = self._read_theirs()
            if trouble is not None or rows is None:
                return DiskChange(trouble=trouble) if trouble else None
            with self._mutex:
                before = self._rows
                if self._file_lock is not None:
                    # Again: there may have been edits while the file was read. (Nobody else saves.)
                    ops = self._ops(since_opened=True)
                saved = self._saved_in(rows)
                found = take_in(rows, ops, saved=saved, mine=before if self._file_lock else None)
                self._keep(found)
                self._began = max(saved, ops[-1].n if ops else 0)
                self._adopt(rows)
                self.generation += 1
                self._lost = False
                self.trouble = None
        if self.unsaved:
            self._save_quietly()
        return DiskChange(_differing(before, rows), tuple(found))

    def restore(self) -> None:
        """Writes the file as it is here, after another program removed it or put something else in its place.

        What is there now is kept beside it, under another name. Raises `WorkbenchError` where that fails.
        """
        try:
            if self.path.exists():
                self.path.rename(self.path.with_name(f"{self.path.name}.replaced-{time.strftime('%Y%m%d-%H%M%S')}"))
        except OSError as error:
            raise not_saved(self.path, error) from error
        self._lost = True
        self.save()

    def reload(self) -> None:
        """Takes in the file as it is now; raises `WorkbenchError` where it cannot be read."""
        change = self.check_disk()
        if change is not None and change.trouble is not None:
            raise change.trouble

    def _read_theirs(self) -> tuple[WorkbenchError | None, Rows | None]:
        """The file as it is now, or why it cannot be taken in. Waits for a writer who is not done."""
        name, count = self.path.name, len(self._rows.order)
        kept = f"All {count:,} pairs are still here, and every edit is in the journal."
        hint = "Put the file back, or write it anew from here."
        try:
            stamp = Stamp.of(self.path.stat())
            time.sleep(_SETTLE)
            if stamp != Stamp.of(self.path.stat()):
                return None, None
            rows = Rows(load(self.path))
        except FileNotFoundError:
            return WorkbenchError(f"{name} was removed by another program", kept, hint), None
        except (OSError, WorkbenchError) as error:
            return WorkbenchError(f"{name} can no longer be read", f"{error}. {kept}", hint), None
        if count and not len(rows.order):
            return WorkbenchError(f"{name} was replaced by something without pairs", kept, hint), None
        return None, rows


def _differing(before: Rows, after: Rows) -> int:
    """How many pairs are not the same in both."""
    ids = set(before.ids(before.order))
    count = 0
    for row in after.order.tolist():
        identity = after.id(row)
        old = before.row(identity) if identity in ids else None
        ids.discard(identity)
        count += old is None or before.line(old) != after.line(row)
    return count + len(ids)
