"""A data set that is being edited: every edit is safe when the call returns, and can be undone for ever."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from workbench.errors import WorkbenchError
from workbench.pairs.arrow import Ints
from workbench.pairs.columns import load
from workbench.pairs.journal import DamagedJournalError, Journal, UnusableJournalError, journal_path, log
from workbench.pairs.lines import Problem, encoded, kinds_differ, not_saved, refuse_half_characters, write_atomically
from workbench.pairs.lock import Lock, Owner
from workbench.pairs.merge import take_in
from workbench.pairs.open_file import QUIET, OpenFile
from workbench.pairs.pair import (
    EDITABLE,
    STATUSES,
    TEMPLATE_COLUMNS,
    TEXTS,
    Pair,
    Split,
    Status,
    field_value,
    to_line,
    with_values,
)
from workbench.pairs.query import Order, Query
from workbench.pairs.rewrite import rewritten
from workbench.pairs.rows import Pairs, Rows
from workbench.pairs.search import Findings, Search
from workbench.pairs.steps import SWAP, EditStep, FieldChange, PairLine, Values


def load_rows(path: Path) -> Rows:
    """The rows of a file, with every acknowledged edit. Raises `WorkbenchError` where it cannot be read.

    Where its journal cannot be read, they are those of the file, and a warning says so.
    """
    try:
        with _peeked(path) as journal:
            # Before the file: should it be saved in between, it has what is taken in again, which changes nothing.
            ops = journal.ops(journal.saved) if journal is not None else []
            rows = Rows(load(path))
            if journal is not None:
                take_in(rows, ops, saved=journal.saved_in(rows.base.stamp), mine=None)
            return rows
    except (DamagedJournalError, UnusableJournalError) as error:
        log.warning("%s", error)
        return Rows(load(path))


@contextlib.contextmanager
def _peeked(path: Path) -> Iterator[Journal | None]:
    journal = Journal.peek(journal_path(path))
    try:
        yield journal
    finally:
        if journal is not None:
            journal.close()


def load_pairs(path: Path) -> tuple[list[Pair], list[Problem]]:
    """The pairs in a file, with every acknowledged edit, and the lines that are none. Raises `WorkbenchError`."""
    rows = load_rows(path)
    return [rows.pair(row) for row in rows.order.tolist()], rows.base.problems


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Writes a data set anew, atomically; the folder is made where needed, the history of an old one forgotten.

    Raises `WorkbenchError` where it cannot be written, or is open in a workbench.
    """
    if path.is_symlink() and not path.exists():
        raise WorkbenchError(
            f"{path.name} is a link to nowhere",
            f"{path} leads to {os.path.realpath(path)}, where no file is. Nothing was written there.",
            "Remove the link, or choose another name.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = journal_path(path)
        if not journal.exists():
            write_atomically(path, (to_line(pair).encode() for pair in pairs))
            return
        lock = Lock.take(journal.with_suffix(".lock"))
        if not isinstance(lock, Lock):
            raise _held(path, lock)
        try:
            write_atomically(path, (to_line(pair).encode() for pair in pairs))
            for suffix in ("", "-wal", "-shm"):
                journal.with_name(journal.name + suffix).unlink(missing_ok=True)
        finally:
            lock.release()
    except OSError as error:
        raise not_saved(path, error) from error


@dataclass(frozen=True, slots=True)
class Copied:
    """The rows that came, how many pairs were there already (same texts and id), and new ids by the old ones."""

    rows: list[int]
    present: int
    renamed: dict[str, str]


class PairStore:
    """Edits an open file of pairs and finds pairs in it. An edit is one step of undo, safe when the call returns.

    `file` keeps it: journal, undo, saving, what others write. `rows` has the pairs; each is told by its *row*, a number
    that stays until `rows` is another object (another's version was taken in). Lines that were not edited keep every
    byte. Methods that edit return the rows that changed. They raise `ReadOnlyError` where another workbench holds the
    data set or its folder cannot be written, `WorkbenchError` where the edit cannot be written down; nothing is then
    changed. All methods may be called from any thread.
    """

    def __init__(self, path: Path, *, quiet: float = QUIET) -> None:
        """Opens `path`, which is saved after `quiet` seconds without an edit. Raises `WorkbenchError`."""
        self.path = path
        self.file = OpenFile(path, quiet=quiet)
        self._search = Search(self.rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Saves and lets others edit: see `OpenFile.close`."""
        self.file.close()

    # Looking

    @property
    def rows(self) -> Rows:
        """The pairs as they are now; only edits change them."""
        return self.file.rows

    def __len__(self) -> int:
        return len(self.rows.order)

    @property
    def pairs(self) -> Sequence[Pair]:
        """The pairs in the file's order; each is made when it is asked for."""
        return Pairs(self.rows, self.rows.order)

    def snapshot(self) -> Rows:
        """The pairs as they are now, for a thread that looks at all of them while others edit."""
        with self.file.mutex:
            return self.rows.frozen()

    def next_with_status(self, rows: Ints, after: int, status: Status) -> int | None:
        """The index in `rows` of the next pair after the index `after` that has a status, from the start after the
        end (so `after` itself comes last); None where none of them has it."""
        indices = np.flatnonzero(self.rows.labels["status"][rows] == STATUSES.index(status))
        if not len(indices):
            return None
        return int(indices[np.searchsorted(indices, after, side="right") % len(indices)])

    def counts(self) -> dict[Status, int]:
        """How many pairs have each status, all four present."""
        codes = self.rows.labels["status"][self.rows.order]
        return dict(zip(STATUSES, np.bincount(codes, minlength=len(STATUSES)).tolist(), strict=False))

    def values(self, name: Literal["tags", "source"]) -> list[str]:
        """The tags or sources that occur, sorted."""
        codes = np.unique(self.rows.labels[name][self.rows.order]).tolist()
        values = [self.rows.vocabularies[name].values[code] for code in codes]
        flat = [tag for tags in values for tag in tags] if name == "tags" else values
        return sorted({value for value in flat if value})

    def find(self, query: Query, findings: Findings | None = None) -> Ints:
        """The rows that a query finds, in the file's order. `findings`: by id, what the checks found."""
        with self.file.mutex:
            return self._searching().find(query, findings)

    def sorted(self, rows: Ints, order: Order, margins: Mapping[str, float] | None = None) -> Ints:
        """Rows in another order; that of a run needs its `margins`, by id."""
        with self.file.mutex:
            return self._searching().sorted(rows, order, margins)

    def _searching(self) -> Search:
        if self._search.rows is not self.rows:
            self._search = Search(self.rows)
        return self._search

    # Editing

    def set_status(self, rows: Ints | Sequence[int], status: Status) -> list[int]:
        """Gives pairs a status. Those without any answer cannot be accepted, and stay as they are."""
        if status == "accepted":
            asked = np.asarray(rows, np.int64)
            rows = asked[self.rows.answered[asked]]
        return self._label("status", rows, status, status)

    def set_split(self, rows: Ints | Sequence[int], split: Split | None) -> list[int]:
        """Puts pairs on a side; None: whichever their prompts fall on."""
        return self._label("split", rows, split or "", f"split {split or 'none'}")

    def set_note(self, rows: Ints | Sequence[int], note: str) -> list[int]:
        """Gives pairs a note."""
        return self._label("note", rows, note, "note")

    def add_tag(self, rows: Ints | Sequence[int], tag: str) -> list[int]:
        """Gives pairs a tag beside those they have."""
        return self._retag(rows, lambda tags: tags if tag in tags else (*tags, tag), f"tag {tag}")

    def remove_tag(self, rows: Ints | Sequence[int], tag: str) -> list[int]:
        """Takes a tag from pairs."""
        return self._retag(rows, lambda tags: tuple(other for other in tags if other != tag), f"untag {tag}")

    def swap(self, rows: Ints | Sequence[int]) -> list[int]:
        """Exchanges chosen and rejected."""
        with self.file.mutex:
            unique = np.unique(np.asarray(rows, np.int64))
            before, after = self.rows.checksums(unique, "chosen"), self.rows.checksums(unique, "rejected")
            change = FieldChange(SWAP, self.rows.ids(unique), Values.of(before), Values.of(after))
            return self._do(EditStep("swap", len(unique), (change,) if len(unique) else ()))

    def update(self, ids: Iterable[str], change: Callable[[Pair], Pair], description: str = "change") -> list[int]:
        """Puts `change(pair)` in the place of each pair with one of `ids`. Conversations and plain text may become each
        other where all pairs do."""
        with self.file.mutex:
            fields: dict[str, list[tuple[str, Any, Any]]] = {}
            count = 0
            others: list[Pair] = []
            for identity in dict.fromkeys(ids):
                before = self.rows.pair(self._known(identity))
                after = change(before)
                self._refuse(before, after)
                if after.conversational != before.conversational:
                    others.append(after)
                values = ((name, field_value(before, name), field_value(after, name)) for name in EDITABLE)
                changed = [(name, old, new) for name, old, new in values if old != new]
                count += bool(changed)
                for name, old, new in changed:
                    fields.setdefault(name, []).append((identity, old, new))
            if others and len(others) < len(self):
                raise kinds_differ(self.path, others[0])
            changes = tuple(FieldChange.of(name, values) for name, values in fields.items())
            return self._do(EditStep(description, count, changes))

    def add(self, pairs: Iterable[Pair], description: str = "add", *, after: int | None = None) -> list[int]:
        """Adds pairs at the end, or after a row. Raises `WorkbenchError` where an id is taken or a kind is wrong."""
        return self.add_lines([(pair, encoded(pair)) for pair in pairs], description, after=after)

    def add_lines(
        self, lines: Sequence[tuple[Pair, bytes]], description: str, *, after: int | None = None
    ) -> list[int]:
        """Adds pairs as the lines that they are in another file; else like `add`."""
        with self.file.mutex:
            order = self.rows.order
            anchor = after if after is not None else int(order[-1]) if len(order) else None
            previous = "" if anchor is None else self.rows.id(anchor)
            taken: set[str] = set()
            added = []
            for pair, raw in lines:
                if self.rows.row(pair.id) is not None or pair.id in taken:
                    raise WorkbenchError(
                        "An id is taken", f"{self.path.name} has a pair with the id {pair.id!r} already."
                    )
                conversational = self.rows.conversational if len(order) else lines[0][0].conversational
                if conversational is not None and pair.conversational != conversational:
                    raise kinds_differ(self.path, pair)
                taken.add(pair.id)
                added.append(PairLine(pair.id, previous, raw))
                previous = pair.id
            return self._do(EditStep(description, len(added), added=tuple(added)))

    def copy_from(self, source: PairStore, rows: Ints, description: str = "") -> Copied:
        """Adds pairs of another data set at the end; their lines keep every byte but an id that is taken."""
        new: list[tuple[Pair, bytes]] = []
        taken: set[str] = set()
        renamed: dict[str, str] = {}
        present = 0
        for row in rows.tolist():
            pair, line = source.rows.pair(row), source.rows.line(row)
            there = self.rows.row(pair.id)
            if there is not None and all(self.rows.text(there, name) == getattr(pair, name) for name in TEXTS):
                present += 1
                continue
            identity = pair.id
            if there is not None or pair.id in taken:
                renamed[pair.id] = identity = self._free_id(pair.id, taken)
            taken.add(identity)
            new.append(_renamed(pair, line, identity))
        return Copied(self.add_lines(new, description or f"from {source.path.stem}"), present, renamed)

    def duplicate(self, row: int) -> list[int]:
        """Adds a copy of a pair below it."""
        pair = self.rows.pair(row)
        copy = _renamed(pair, self.rows.line(row), self._free_id(pair.id, set()))
        return self.add_lines([copy], "duplicate", after=row)

    def _free_id(self, identity: str, taken: set[str]) -> str:
        number = 2
        while self.rows.row(f"{identity}-{number}") is not None or f"{identity}-{number}" in taken:
            number += 1
        return f"{identity}-{number}"

    def remove(self, ids: Iterable[str], description: str = "remove") -> list[int]:
        """Takes pairs out of the file. (A pair that should merely not train is *dropped*, by its status.)"""
        with self.file.mutex:
            rows = np.sort(np.array([self._known(identity) for identity in dict.fromkeys(ids)], np.int64))
            order = self.rows.order
            removed = []
            for row in rows.tolist():
                index = self.rows.number(row) - 1
                before = self.rows.id(int(order[index - 1])) if index else ""
                removed.append(PairLine(self.rows.id(row), before, self.rows.line(row)))
            return self._do(EditStep(description, len(removed), removed=tuple(removed)))

    def resolve(self, identity: str, which: Literal["mine", "theirs"]) -> list[int]:
        """Decides a conflict. "mine" puts the fields that differ back as they were here, as a step like any other."""
        with self.file.mutex:
            conflict, rows = self.file.conflicts[identity], list[int]()
            there, mine = self.rows.row(identity) is not None, conflict.mine
            if which == "mine" and mine is None and there:
                rows = self.remove([identity], "keep mine")
            elif which == "mine" and mine is not None and not there:
                rows = self.add([mine], "keep mine")
            elif which == "mine" and mine is not None:
                kept = {name: field_value(mine, name) for name in conflict.fields or EDITABLE}
                rows = self.update([identity], lambda pair: with_values(pair, kept), "keep mine")
            self.file.settle(identity)
            return rows

    def _label(self, field: str, rows: Ints | Sequence[int], value: Any, description: str) -> list[int]:
        refuse_half_characters(value)
        with self.file.mutex:
            return self._relabel(field, np.asarray(rows, np.int64), [value], np.zeros(1, int), description)

    def _retag(
        self, rows: Ints | Sequence[int], change: Callable[[tuple[str, ...]], Any], description: str
    ) -> list[int]:
        refuse_half_characters(description)
        with self.file.mutex:
            asked = np.asarray(rows, np.int64)
            codes, back = np.unique(self.rows.labels["tags"][asked], return_inverse=True)
            values = [change(self.rows.vocabularies["tags"].values[code]) for code in codes.tolist()]
            return self._relabel("tags", asked, values, back, description)

    def _relabel(self, field: str, rows: Ints, values: Sequence[Any], codes: Ints, description: str) -> list[int]:
        change = self.rows.change(field, rows, values, codes)
        return [] if change is None else self._do(EditStep(description, len(change.ids), (change,)))

    def _do(self, step: EditStep) -> list[int]:
        return self.file.do(step) if step.changes or step.added or step.removed else []

    def _known(self, identity: str) -> int:
        row = self.rows.row(identity)
        if row is None:
            raise WorkbenchError(
                "No such pair", f"{self.path.name} has no pair with the id {identity!r}.", "It may have been removed."
            )
        return row

    def _refuse(self, before: Pair, after: Pair) -> None:
        if after.id != before.id:
            raise WorkbenchError("A pair keeps its id", f"{before.id!r} was to become {after.id!r}.")
        if with_values(after, {name: field_value(before, name) for name in TEMPLATE_COLUMNS}).extra != before.extra:
            raise WorkbenchError("Columns that are not known stay", f"Those of pair {before.id!r} were to change.")
        encoded(after)


def _renamed(pair: Pair, line: bytes, identity: str) -> tuple[Pair, bytes]:
    """A pair and its line under an id, which may be its own."""
    line = line.rstrip(b"\r\n") + b"\n"
    return (pair, line) if identity == pair.id else (replace(pair, id=identity), rewritten(line, {"id": identity}))


def _held(path: Path, owner: Owner | None) -> WorkbenchError:
    return WorkbenchError(
        f"{path.stem} is being edited",
        f"It is open in a workbench: {owner or 'another program'}.",
        "Close it there first.",
    )
