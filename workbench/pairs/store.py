"""A data set that is being edited: every edit is safe when the call returns, and can be undone for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from workbench.errors import WorkbenchError
from workbench.pairs.arrow import Ints
from workbench.pairs.columns import load
from workbench.pairs.history import SWAP, Change, Line, Step, Values
from workbench.pairs.journal import Journal, Op, journal_path
from workbench.pairs.lines import Problem, encoded, kinds_differ, not_saved, refuse_half_characters, write_atomically
from workbench.pairs.lock import Lock, Owner
from workbench.pairs.merge import take_in
from workbench.pairs.open_file import QUIET, OpenFile
from workbench.pairs.pair import LABELS, STATUSES, TEXTS, Pair, Split, Status, to_line
from workbench.pairs.query import Order, Query
from workbench.pairs.rows import Pairs, Rows
from workbench.pairs.search import Findings, Search


def load_rows(path: Path) -> Rows:
    """The rows of a file, with every acknowledged edit. Raises `WorkbenchError` where it cannot be read."""
    ops = list[Op]()
    journal = Journal.peek(journal_path(path))
    if journal is not None:
        # Before the file: should it be saved in between, it has what is taken in again, which changes nothing.
        ops = journal.ops(journal.saved)
    rows = Rows(load(path))
    if journal is not None:
        take_in(rows, ops, saved=journal.saved_in(rows.base.stamp), mine=None)
        journal.close()
    return rows


def load_pairs(path: Path) -> tuple[list[Pair], list[Problem]]:
    """The pairs in a file, with every acknowledged edit, and the lines that are none. Raises `WorkbenchError`."""
    rows = load_rows(path)
    return [rows.pair(row) for row in rows.order.tolist()], rows.base.problems


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Writes a data set anew, atomically; the folder is made where needed, the history of an old one forgotten.

    Raises `WorkbenchError` where it cannot be written, or is open in a workbench.
    """
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


class PairStore:
    """Looks into an open file of pairs and edits it. An edit is one step of undo, safe when the call returns.

    `file` keeps it: journal, saving, what others write. Lines that were not edited keep every byte. Pairs are told by
    their *row*: a number that stays until `file.rows` is another object (another's version was taken in). Methods that
    edit raise `ReadOnlyError` where another workbench holds the data set or its folder cannot be written,
    `WorkbenchError` where the edit cannot be written down; nothing is then changed. All methods may be called from any
    thread.
    """

    def __init__(self, path: Path, *, quiet: float = QUIET) -> None:
        """Opens `path`, which is saved after `quiet` seconds without an edit. Raises `WorkbenchError`."""
        self.path = path
        self.file = OpenFile(path, quiet=quiet)
        self.touched: list[int] = []
        """The rows of the latest step, done, undone or redone."""
        self._search = Search(self._rows)

    @classmethod
    def create(cls, path: Path) -> PairStore:
        """The store of a new, empty file; raises `WorkbenchError` where there is one already."""
        if path.exists():
            raise WorkbenchError(f"{path.stem!r} exists already", f"There is a file {path}.", "Choose another name.")
        write_pairs(path, ())
        return cls(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Saves and lets others edit: see `OpenFile.close`."""
        self.file.close()

    @property
    def _rows(self) -> Rows:
        return self.file.rows

    # Looking

    def __len__(self) -> int:
        return len(self._rows.order)

    @property
    def rows(self) -> Ints:
        """The rows of all pairs, in the order of the file."""
        return self._rows.order

    @property
    def pairs(self) -> Sequence[Pair]:
        """The pairs in the file's order; each is made when it is asked for."""
        return Pairs(self._rows, self._rows.order)

    @property
    def problems(self) -> Sequence[Problem]:
        """The lines that are no pairs, and why."""
        return self._rows.base.problems

    @property
    def conversational(self) -> bool | None:
        """Whether the pairs are of turns; None where there is none."""
        return self._rows.conversational

    def snapshot(self) -> Rows:
        """The pairs as they are now, for a thread that looks at all of them while others edit."""
        with self.file.mutex:
            return self._rows.frozen()

    def pair(self, row: int) -> Pair:
        """The pair of a row."""
        return self._rows.pair(row)

    def status(self, row: int) -> Status:
        """The status of a row's pair, without reading the rest of it."""
        return self._rows.label(row, "status")  # type: ignore[no-any-return]

    def id(self, row: int) -> str:
        """The id of a row's pair."""
        return self._rows.id(row)

    def row(self, identity: str) -> int | None:
        """The row of the pair with this id, None where there is none."""
        return self._rows.row(identity)

    def index(self, identity: str) -> int:
        """The place in `pairs` of the pair with this id; raises `WorkbenchError` where there is none."""
        return self.number(self._known(identity)) - 1

    def number(self, row: int) -> int:
        """The place of a row's pair in the file, from 1; 0 where the pair was removed."""
        return int(self._rows.numbers[row])

    def next_with_status(self, rows: Ints, after: int, status: Status) -> int | None:
        """The place in `rows` of the next pair after the place `after` that has a status, from the start after the
        end (so `after` itself comes last); None where none of them has it."""
        places = np.flatnonzero(self._rows.labels["status"][rows] == STATUSES.index(status))
        if not len(places):
            return None
        return int(places[np.searchsorted(places, after, side="right") % len(places)])

    def line(self, row: int) -> bytes:
        """The pair's line as the file has, or will have, it."""
        return self._rows.line(row)

    def counts(self, rows: Ints | None = None) -> dict[Status, int]:
        """How many pairs (of `rows`, else of all) have each status, all four present."""
        codes = self._rows.labels["status"][self._rows.order if rows is None else rows]
        found = np.bincount(codes, minlength=len(STATUSES)).tolist()
        return dict(zip(STATUSES, found, strict=False))

    def values(self, name: Literal["tags", "source"]) -> list[str]:
        """The tags or sources that occur, sorted."""
        codes = np.unique(self._rows.labels[name][self._rows.order]).tolist()
        found = [self._rows.vocabularies[name].values[code] for code in codes]
        flat = [tag for tags in found for tag in tags] if name == "tags" else found
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
        if self._search.rows is not self._rows:
            self._search = Search(self._rows)
        return self._search

    # Editing

    @property
    def undoable(self) -> str:
        """What `undo` would undo; empty for nothing."""
        return self.file.described("undo")

    @property
    def redoable(self) -> str:
        """What `redo` would do again; empty for nothing."""
        return self.file.described("redo")

    def set_status(self, rows: Ints | Sequence[int], status: Status) -> int:
        """Gives pairs a status; like all such methods one step, and returns how many it changed."""
        return self._label("status", rows, status, status)

    def set_split(self, rows: Ints | Sequence[int], split: Split | None) -> int:
        """Puts pairs on a side; None: whichever their prompts fall on."""
        return self._label("split", rows, split or "", f"split {split or 'none'}")

    def set_note(self, rows: Ints | Sequence[int], note: str) -> int:
        """Gives pairs a note."""
        return self._label("note", rows, note, "note")

    def add_tag(self, rows: Ints | Sequence[int], tag: str) -> int:
        """Gives pairs a tag beside those they have."""
        return self._retag(rows, lambda tags: tags if tag in tags else (*tags, tag), f"tag {tag}")

    def remove_tag(self, rows: Ints | Sequence[int], tag: str) -> int:
        """Takes a tag from pairs."""
        return self._retag(rows, lambda tags: tuple(each for each in tags if each != tag), f"untag {tag}")

    def swap(self, rows: Ints | Sequence[int]) -> int:
        """Exchanges chosen and rejected."""
        with self.file.mutex:
            places = np.unique(np.asarray(rows, np.int64))
            before, after = self._rows.marks(places, "chosen"), self._rows.marks(places, "rejected")
            change = Change(SWAP, self._rows.ids(places), Values.of(before), Values.of(after))
            self._do(Step("swap", len(places), (change,) if len(places) else ()))
            return len(places)

    def update(self, ids: Iterable[str], change: Callable[[Pair], Pair], description: str = "") -> int:
        """Puts `change(pair)` in the place of each pair with one of `ids`; returns how many differ from before."""
        with self.file.mutex:
            fields: dict[str, list[tuple[str, Any, Any]]] = {}
            touched = 0
            for identity in dict.fromkeys(ids):
                before = self._rows.pair(self._known(identity))
                after = change(before)
                touched += after != before
                self._refuse(before, after)
                for name in (*LABELS, *TEXTS):
                    old, new = _value(before, name), _value(after, name)
                    if old != new:
                        fields.setdefault(name, []).append((identity, old, new))
            changes = tuple(
                Change(name, [each[0] for each in found], *(Values.of(each[at] for each in found) for at in (1, 2)))
                for name, found in fields.items()
            )
            self._do(Step(description or "change", touched, changes))
            return touched

    def replace(self, which: int | str, pair: Pair, description: str = "") -> None:
        """Puts `pair` in the place of the pair at an index or with an id; the id itself stays."""
        identity = which if isinstance(which, str) else self.pairs[which].id
        self.update([identity], lambda _: pair, description or "edit")

    def add(self, pairs: Iterable[Pair], description: str = "", *, after: int | None = None) -> None:
        """Adds pairs at the end, or after a row. Raises `WorkbenchError` where an id is taken or a kind is wrong."""
        self.add_lines([(pair, encoded(pair)) for pair in pairs], description, after=after)

    def add_lines(
        self, lines: Sequence[tuple[Pair, bytes]], description: str = "", *, after: int | None = None
    ) -> None:
        """Adds pairs as the lines that they are in another file; else like `add`."""
        with self.file.mutex:
            order = self._rows.order
            anchor = after if after is not None else int(order[-1]) if len(order) else None
            previous = "" if anchor is None else self._rows.id(anchor)
            taken: set[str] = set()
            added = []
            for pair, raw in lines:
                if self._rows.row(pair.id) is not None or pair.id in taken:
                    raise WorkbenchError(
                        "An id is taken", f"{self.path.name} has a pair with the id {pair.id!r} already."
                    )
                self._refuse_kind(pair, lines[0][0].conversational if not len(order) else None)
                taken.add(pair.id)
                added.append(Line(pair.id, previous, raw))
                previous = pair.id
            self._do(Step(description or "add", len(added), added=tuple(added)))

    def remove(self, ids: Iterable[str], description: str = "") -> None:
        """Takes pairs out of the file. (A pair that should merely not train is *dropped*, by its status.)"""
        with self.file.mutex:
            rows = np.sort(np.array([self._known(identity) for identity in dict.fromkeys(ids)], np.int64))
            order, numbers = self._rows.order, self._rows.numbers
            removed = []
            for row in rows.tolist():
                place = int(numbers[row]) - 1
                before = self._rows.id(int(order[place - 1])) if place else ""
                removed.append(Line(self._rows.id(row), before, self._rows.line(row)))
            self._do(Step(description or "remove", len(removed), removed=tuple(removed)))

    def undo(self) -> str:
        """Takes back the latest step, also one of an earlier session; returns what it was, empty for nothing."""
        return self._turn("undo")

    def redo(self) -> str:
        """Does again what was last undone; returns what it was, empty for nothing."""
        return self._turn("redo")

    def _turn(self, which: Literal["undo", "redo"]) -> str:
        with self.file.mutex:
            description, touched = self.file.turn(which)
            if description:
                self.touched = touched
            return description

    def _label(self, field: str, rows: Ints | Sequence[int], value: Any, description: str) -> int:
        refuse_half_characters(value)
        with self.file.mutex:
            return self._change(self._rows.change(field, _places(rows), [value], np.zeros(1, int)), description)

    def _retag(self, rows: Ints | Sequence[int], change: Callable[[tuple[str, ...]], Any], description: str) -> int:
        refuse_half_characters(description)
        with self.file.mutex:
            places = _places(rows)
            codes, back = np.unique(self._rows.labels["tags"][places], return_inverse=True)
            values = [change(self._rows.vocabularies["tags"].values[code]) for code in codes.tolist()]
            return self._change(self._rows.change("tags", places, values, back), description)

    def _change(self, change: Change | None, description: str) -> int:
        if change is None:
            return 0
        self._do(Step(description, len(change.ids), (change,)))
        return len(change.ids)

    def _do(self, step: Step) -> None:
        if step.changes or step.added or step.removed:
            self.touched = self.file.do(step)

    def _known(self, identity: str) -> int:
        row = self._rows.row(identity)
        if row is None:
            raise WorkbenchError(
                "No such pair", f"{self.path.name} has no pair with the id {identity!r}.", "It may have been removed."
            )
        return row

    def _refuse(self, before: Pair, after: Pair) -> None:
        if after.id != before.id:
            raise WorkbenchError("A pair keeps its id", f"{before.id!r} was to become {after.id!r}.")
        if after.extra != before.extra:
            raise WorkbenchError("Columns that are not known stay", f"Those of pair {before.id!r} were to change.")
        if after.conversational != before.conversational:
            raise kinds_differ(self.path, after)
        encoded(after)

    def _refuse_kind(self, pair: Pair, kind: bool | None) -> None:
        kind = self._rows.conversational if kind is None else kind
        if kind is not None and pair.conversational != kind:
            raise kinds_differ(self.path, pair)

    def resolve(self, identity: str, which: Literal["mine", "theirs"]) -> None:
        """Decides a conflict. "mine" puts the fields that differ back as they were here, as a step like any other."""
        with self.file.mutex:
            conflict = self.file.conflicts[identity]
            row = self._rows.row(identity)
            if which == "mine":
                if conflict.mine is None:
                    if row is not None:
                        self.remove([identity], "keep mine")
                elif row is None:
                    self.add([conflict.mine], "keep mine")
                else:
                    kept = {name: getattr(conflict.mine, name) for name in conflict.fields or (*LABELS, *TEXTS)}
                    self.update([identity], lambda pair: replace(pair, **kept), "keep mine")
            self.file.settle(identity)


def _value(pair: Pair, name: str) -> Any:
    return (pair.split or "") if name == "split" else getattr(pair, name)


def _places(rows: Ints | Sequence[int]) -> Ints:
    return np.asarray(rows, np.int64)


def _held(path: Path, owner: Owner | None) -> WorkbenchError:
    return WorkbenchError(
        f"{path.stem} is being edited",
        f"It is open in a workbench: {owner or 'another program'}.",
        "Close it there first.",
    )
