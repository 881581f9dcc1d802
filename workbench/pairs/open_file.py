"""A file of pairs that is open: locked, journalled, saved in the background, merged with what others write into it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from workbench.errors import WorkbenchError
from workbench.pairs.columns import load
from workbench.pairs.journal import (
    DamagedJournalError,
    Journal,
    Op,
    gone_with,
    journal_path,
    log,
    set_aside,
    telling_damage,
)
from workbench.pairs.lines import Stamp, not_saved, write_atomically
from workbench.pairs.lock import Lock
from workbench.pairs.merge import Conflict, take_in
from workbench.pairs.rows import Rows
from workbench.pairs.steps import EditStep

T = TypeVar("T")

QUIET = 2.0
"""Seconds without an edit after which the file is saved."""
_LONGEST = 10.0
_SETTLE = 0.1
_CHUNKS_AT_A_TIME = 64


class ReadOnlyError(WorkbenchError):
    """The data set can be read but not edited here."""


class _ChangedError(Exception):
    """The file is not the one that is to be replaced."""


@dataclass(frozen=True, slots=True)
class DiskChange:
    """What another program did to the file: `changed` pairs taken in, and what is left to decide.

    `trouble` is set where nothing could be taken in (the file is gone, or holds no pairs any more): all is then as it
    was, nothing is saved, and `OpenFile.restore` puts the file back.
    """

    changed: int = 0
    conflicts: tuple[Conflict, ...] = ()
    trouble: WorkbenchError | None = None


class OpenFile:
    """The one owner of a file's rows: what changes them is in the journal first, and in the file some seconds later.

    `rows` is another object once another program's version was taken in. All methods may be called from any thread;
    `mutex` is held while rows change.
    """

    def __init__(self, path: Path, *, quiet: float = QUIET) -> None:
        """Opens `path`, replaying what was edited and not saved; raises `WorkbenchError` where it cannot be read."""
        self.path = path
        self.mutex = threading.RLock()
        self.read_only = ""
        """Why nothing can be edited; empty where it can."""
        self.trouble: WorkbenchError | None = None
        """Why the file could not be saved the last time; the edits are in the journal."""
        self.conflicts: dict[str, Conflict] = {}
        """By id: the pairs that another program changed too, to be settled."""
        self._saving = threading.Lock()
        self._lock: Lock | None = None
        self._journal: Journal | None = None
        self._lost = False
        """Whether the file is to be written whatever is there now."""
        self._merged_up_to = 0
        """The latest op that the rows had when the file was last read."""
        self.damage: WorkbenchError | None = None
        """What became of a journal that was damaged, and of the edits in it."""
        self._unjournalled = False
        """Whether there are edits here that neither file nor journal has: the journal was damaged meanwhile."""
        if not path.is_file():
            load(path)
        try:
            self._take_lock()
            self._open_journal()
            try:
                ops: list[Op] = self._journal.ops(self._journal.saved) if self._journal else []
                self._take_in(Rows(load(path)), ops, mine=None)
            except DamagedJournalError as error:
                self._give_up_journal(error, gone_with)
                self._take_in(Rows(load(path)), [], mine=None)
        except BaseException:
            self._let_go()
            raise
        self._saver = _Saver(self._save_quietly, quiet=quiet, longest=max(quiet, _LONGEST))
        if self.unsaved:
            self._saver.touch()

    def close(self) -> None:
        """Saves what is not saved and lets others edit. Raises `WorkbenchError` where it cannot be saved: the edits are
        in the journal, and are there again when the data set is opened."""
        self._saver.close()
        try:
            if self.unsaved:
                if self._unjournalled and self.disk_changed():
                    self.restore()
                elif self.disk_changed():
                    self.check_disk()
                else:
                    self.save()
        finally:
            self._let_go()

    def _take_lock(self) -> None:
        journal = journal_path(self.path)
        try:
            lock = Lock.take(journal.with_suffix(".lock"))
        except OSError as error:
            self.read_only = f"{journal.parent} cannot be written ({error.strerror or error})"
            return
        if isinstance(lock, Lock):
            self._lock = lock
        else:
            self.read_only = f"it is being edited by {lock or 'another program'}"

    def _open_journal(self) -> None:
        path = journal_path(self.path)
        try:
            if self._lock is not None:
                self._journal = Journal.open(path)
                self._journal.tidy()
            else:
                self._journal = Journal.peek(path)
        except DamagedJournalError as error:
            self._give_up_journal(error, gone_with)
        except WorkbenchError as error:
            self._read_only_for(error)

    def _read_only_for(self, error: WorkbenchError) -> None:
        """Without a journal nothing is edited."""
        self.read_only = self.read_only or error.message
        self.damage = self.damage or error
        self._close_journal()

    def _give_up_journal(self, error: DamagedJournalError, gone: Callable[[Path], str]) -> None:
        """Goes on without a journal that is damaged: it is set aside, and another begun, where edits are made here.

        `gone` says of the file that it then is which edits are gone with it.
        """
        path = journal_path(self.path)
        if self._lock is None:
            self._read_only_for(error)
            return
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        try:
            aside = set_aside(path)
            self._journal = Journal.open(path)
        except WorkbenchError as trouble:
            self._read_only_for(trouble)
            return
        self.damage = WorkbenchError(
            f"The journal of {self.path.stem} was damaged",
            f"{error.reason[:1].upper()}{error.reason[1:]}. It is kept whole as {aside}, and a new one is begun."
            f" {gone(aside)}",
            "All pairs are here; undo begins anew. Edits that are missing have to be made again.",
        )
        log.warning("%s", self.damage)

    def _ask(self, question: Callable[[Journal], T], otherwise: T) -> T:
        """What the journal answers, `otherwise` where there is none; in place of one that was damaged meanwhile the new
        one is asked. The rows hold every edit, and are saved soon."""
        with self.mutex:
            if self._journal is None:
                return otherwise
            try:
                return question(self._journal)
            except DamagedJournalError as error:
                self._begin_anew(error)
                return question(self._journal) if self._journal is not None else otherwise

    def _begin_anew(self, error: DamagedJournalError) -> None:
        """Gives up a journal that was damaged while the data set was open: the rows have every edit."""
        self._give_up_journal(error, lambda _: "Every edit is here, and goes into the file now.")
        self._unjournalled = self._lock is not None
        self._saver.touch()

    def _note(self, note: Callable[[Journal], None]) -> None:
        """Has the journal write something down, as `_ask` asks it. Raises `WorkbenchError` where nothing is edited."""
        self._editable()
        self._ask(note, None)

    def _let_go(self) -> None:
        # SQLite crashes the process where a connection is closed under a thread that uses it.
        with self._saving, self.mutex:
            self._close_journal()

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # Editing

    def do(self, step: EditStep) -> list[int]:
        """Writes a step down, then does it; returns the rows that it changed. Raises `WorkbenchError`, nothing done."""
        self._note(lambda journal: journal.done(step))
        touched = self.rows.apply(step, check=False)
        self._saver.touch()
        return touched

    def turn(self, which: Literal["undo", "redo"]) -> tuple[str, list[int]]:
        """Takes the latest step back (also one of an earlier session) or does it again.

        Returns what it was, empty for nothing, and the rows changed.
        """
        with self.mutex:
            numbered = self._ask(lambda journal: journal.next(which), None)
            if numbered is None:
                return "", []
            seq, step = numbered
            self._note(lambda journal: journal.turned(seq, forward=which == "redo"))
            touched = self.rows.apply(step if which == "redo" else step.reversed())
            self.rows.settle_kind()
            self._saver.touch()
            return str(step), touched

    def described(self, which: Literal["undo", "redo"]) -> str:
        """What would be undone, or done again, in words; empty for nothing."""
        return self._ask(lambda journal: journal.described(which), "")

    def settle(self, identity: str) -> None:
        """A conflict was decided."""
        self._note(lambda journal: journal.settle(identity))
        del self.conflicts[identity]

    def _editable(self) -> Journal:
        if self._lock is None or self._journal is None:
            raise ReadOnlyError(
                f"{self.path.stem} is open for reading only",
                f"No edit was made: {self.read_only or 'it was closed'}.",
                "Close the other workbench, or allow writing there, and open the data set again.",
            )
        return self._journal

    # Saving

    @property
    def unsaved(self) -> int:
        """How many steps the file lacks; they are in the journal."""
        with self.mutex:
            if self._lock is None:
                return 0
            return self._ask(lambda journal: journal.latest - journal.saved, 0) + self._unjournalled

    def save(self) -> None:
        """Writes the file now. Raises `WorkbenchError` where that fails, or another program has changed it."""
        with self._saving:
            with self.mutex:
                self._editable()
                if not self.unsaved and not self._lost:
                    return
                latest = self._ask(lambda journal: journal.latest, 0)
                journal, rows = self._journal, self.rows.frozen()
            try:
                check = partial(self._replacing, journal, latest)
                written = write_atomically(self.path, _yielding(rows.chunks()), check=check)
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
            with self.mutex:
                self._stamp, self._lost = Stamp.of(written), False
                self.trouble = None
                if journal is self._journal:
                    # Another one was begun meanwhile: its edits, and those that no journal has, are not in the file.
                    self._unjournalled = False
                    self._note(lambda asked: asked.mark_saved(latest) if asked is journal else None)

    def _save_quietly(self) -> None:
        try:
            self.save()
        except WorkbenchError as error:
            self.trouble = error

    def _replacing(self, journal: Journal | None, latest: int, new: os.stat_result) -> None:
        """Just before a file with the ops up to `latest` takes the place of the one before."""
        if not self._lost and self.disk_changed():
            raise _ChangedError
        with self.mutex:
            self._note(lambda asked: asked.saving(latest, Stamp.of(new)) if asked is journal else None)

    # Another program

    def disk_changed(self) -> bool:
        """Whether the file is not as it was last read or written here; quick."""
        try:
            return Stamp.of(self.path.stat()) != self._stamp
        except OSError:
            return True

    def check_disk(self) -> DiskChange | None:
        """Takes in what another program made of the file; None where it is as it was. Not for the screen's thread.

        Nothing is ever lost: see `DiskChange`.
        """
        if not self.disk_changed():
            return None
        with self._saving:
            if self._unjournalled:
                return DiskChange(trouble=self._not_told_apart())
            ops = self._ops_to_merge()
            trouble, rows = self._read_theirs()
            if trouble is not None or rows is None:
                return DiskChange(trouble=trouble) if trouble else None
            with self.mutex:
                before = self.rows
                if self._lock is not None:
                    # Again: there may have been edits while the file was read. (Nobody else saves.)
                    ops = self._ops_to_merge()
                try:
                    conflicts = self._take_in(rows, ops, mine=before if self._lock else None)
                except DamagedJournalError as error:
                    self._begin_anew(error)
                    return DiskChange(trouble=self._not_told_apart()) if self._lock else None
                self._lost = False
                self.trouble = None
        if self.unsaved:
            self._save_quietly()
        return DiskChange(_differing(before, rows), tuple(conflicts))

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

    def _ops_to_merge(self) -> list[Op]:
        """The ops that the file lacks; where edits are made here, also those done here that it has.

        To be called before the file is read: should the one who edits save it in between, it has what is taken in
        again, which changes nothing.
        """
        merged_up_to = self._merged_up_to

        def asked(journal: Journal) -> list[Op]:
            saved = journal.saved
            return journal.ops(min(saved, merged_up_to) if self._lock is not None else saved)

        return self._ask(asked, [])

    def _not_told_apart(self) -> WorkbenchError:
        return WorkbenchError(
            f"{self.path.name} was changed by another program",
            "The journal that tells its edits from yours was damaged meanwhile. All pairs are still here, with every"
            " edit.",
            "Write it anew from here: the other version is kept beside it.",
        )

    def _take_in(self, rows: Rows, ops: list[Op], *, mine: Rows | None) -> Sequence[Conflict]:
        """Makes rows that were read ours, with the ops that they lack; returns the new conflicts."""
        journal, saved = self._journal, 0
        if journal is not None:
            # Who saved the file may have been killed before noting so.
            saved = journal.saved_in(rows.base.stamp)
            if self._lock is not None and saved != journal.saved:
                journal.mark_saved(saved)
        if mine is None:
            ops = [op for op in ops if op.n > saved]
        conflicts = take_in(rows, ops, saved=saved, mine=mine)
        if journal is not None:
            if conflicts and self._lock is not None:
                journal.add_conflicts({conflict.id: conflict.to_json() for conflict in conflicts})
            with telling_damage(journal_path(self.path)):
                kept = journal.conflicts()
                self.conflicts = {identity: Conflict.from_json(identity, value) for identity, value in kept.items()}
        self._merged_up_to = max(saved, ops[-1].n if ops else 0)
        self.rows, self._stamp = rows, rows.base.stamp
        return conflicts

    def _read_theirs(self) -> tuple[WorkbenchError | None, Rows | None]:
        """The file as it is now, or why it cannot be taken in; neither while its writer is not done."""
        name, count = self.path.name, len(self.rows.order)
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


class _Saver:
    """Calls `save`, in a thread, once nothing was edited for `quiet` seconds, or `longest` after the first edit that
    waits."""

    def __init__(self, save: Callable[[], None], *, quiet: float, longest: float) -> None:
        self._save = save
        self._quiet, self._longest = quiet, longest
        self._condition = threading.Condition()
        self._first = self._latest = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False

    def touch(self) -> None:
        """Something was edited."""
        with self._condition:
            now = time.monotonic()
            self._first, self._latest = self._first or now, now
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="save pairs", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stops, and waits for what is being saved; what still waits is not saved any more."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._closed and (left := self._due() - time.monotonic()) > 0:
                    self._condition.wait(left)
                if self._closed or not self._first:
                    self._thread = None
                    return
                self._first = 0.0
            self._save()

    def _due(self) -> float:
        return min(self._latest + self._quiet, self._first + self._longest) if self._first else 0.0


def _yielding(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """`chunks`, letting other threads run now and then: making many of them must not hold up the keys."""
    for number, chunk in enumerate(chunks):
        if number % _CHUNKS_AT_A_TIME == 0:
            time.sleep(0)
        yield chunk


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
