"""A data set that is being edited: pairs in memory, each change saved at once, undone and redone at will."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.pairs.files import Stamp, kind_of, read_file
from workbench.pairs.history import Edit, History, Row, Step
from workbench.pairs.lines import Problem, write_atomically
from workbench.pairs.pair import STATUSES, Pair, Status, to_line


class ChangedOnDiskError(WorkbenchError):
    """Someone else wrote the file since it was read; `PairStore.reload` takes their version."""


def load_pairs(path: Path) -> tuple[list[Pair], list[Problem]]:
    """The pairs in a file, and the lines that are none. Raises `WorkbenchError` where it cannot be read at all."""
    read = read_file(path)
    return [row.pair for row in read.rows if row.pair is not None], read.problems


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Writes a data set anew, atomically; the folder is made where needed. Raises `WorkbenchError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (to_line(pair).encode() for pair in pairs))
    except OSError as error:
        raise _not_saved(path, error) from error


class PairStore:
    """The pairs of one file, in its order. Every change is one step of undo and is on disk when the call returns.

    A change rewrites the lines of the pairs it touches and no others; lines that are no pairs (`problems`) stay as
    they are. All changing methods raise `ChangedOnDiskError` where the file is not as it was last read or
    written, and `WorkbenchError` where it cannot be written; the pairs are then as before the call.
    """

    def __init__(self, path: Path) -> None:
        """Reads `path`; raises `WorkbenchError` where it cannot be read. See also `create`."""
        self.path = path
        self.reload()

    @classmethod
    def create(cls, path: Path) -> PairStore:
        """The store of a new, empty file; raises `WorkbenchError` where there is one already."""
        if path.exists():
            raise WorkbenchError(f"{path.stem!r} exists already", f"There is a file {path}.", "Choose another name.")
        write_pairs(path, ())
        return cls(path)

    def reload(self) -> None:
        """Reads the file anew. What could be undone or redone no longer can."""
        read = read_file(self.path)
        self._bom, self._rows, self._stamp = read.bom, read.rows, read.stamp
        self.problems: Sequence[Problem] = read.problems
        self._history = History()
        self._index()

    @property
    def pairs(self) -> Sequence[Pair]:
        """The pairs in the file's order. Not to be changed by hand; the same list until the next change."""
        return self._pairs

    @property
    def undoable(self) -> str:
        """What `undo` would undo; empty for nothing."""
        return self._history.undoable

    @property
    def redoable(self) -> str:
        """What `redo` would do again; empty for nothing."""
        return self._history.redoable

    def counts(self) -> dict[Status, int]:
        """How many pairs have each status, all four present."""
        found = Counter(pair.status for pair in self._pairs)
        return {status: found[status] for status in STATUSES}

    def index(self, identity: str) -> int:
        """The place in `pairs` of the pair with this id; raises `WorkbenchError` where there is none."""
        try:
            return self._by_id[identity]
        except KeyError:
            raise WorkbenchError(
                "No such pair", f"{self.path.name} has no pair with the id {identity!r}.", "It may have been removed."
            ) from None

    def changed_on_disk(self) -> bool:
        """Whether the file is not as it was last read or written here."""
        try:
            return Stamp.of(self.path.stat()) != self._stamp
        except OSError:
            return True

    def replace(self, which: int | str, pair: Pair, description: str = "") -> None:
        """Puts `pair` in the place of the pair at an index or with an id; the id itself stays."""
        place = self.index(which) if isinstance(which, str) else which
        self.update([self._pairs[place].id], lambda _: pair, description or "edit")

    def update(self, ids: Iterable[str], change: Callable[[Pair], Pair], description: str = "") -> int:
        """Puts `change(pair)` in the place of each pair with one of `ids`; returns how many differ from before."""
        edits = []
        for place in sorted({self._places[self.index(identity)] for identity in ids}):
            before = self._rows[place]
            assert before.pair is not None
            after = change(before.pair)
            if after == before.pair:
                continue
            if after.id != before.pair.id:
                raise WorkbenchError("A pair keeps its id", f"{before.pair.id!r} was to become {after.id!r}.")
            self._refusekind_of(after, alone=len(self._pairs) == 1)
            edits.append(Edit(place, before, Row(_encode(after, _ending(before.raw)), after)))
        self._do(Step(tuple(edits), description or "change", len(edits)))
        return len(edits)

    def add(self, pairs: Iterable[Pair], description: str = "") -> None:
        """Adds pairs at the end. Raises `WorkbenchError` where an id is taken or a pair is of the other kind."""
        new: list[Row] = []
        taken: set[str] = set()
        for pair in pairs:
            if pair.id in self._by_id or pair.id in taken:
                raise WorkbenchError("An id is taken", f"{self.path.name} has a pair with the id {pair.id!r} already.")
            self._refusekind_of(pair, alone=False)
            if new and new[0].pair and new[0].pair.conversational != pair.conversational:
                raise _kinds_differ(self.path, pair)
            taken.add(pair.id)
            new.append(Row(_encode(pair), pair))
        end = len(self._rows)
        edits = [Edit(end + offset, None, row) for offset, row in enumerate(new)]
        if new and self._rows and not self._rows[-1].raw.endswith(b"\n"):
            last = self._rows[-1]
            edits.insert(0, Edit(end - 1, last, Row(last.raw + b"\n", last.pair)))
        self._do(Step(tuple(edits), description or "add", len(new)))

    def remove(self, ids: Iterable[str], description: str = "") -> None:
        """Takes pairs out of the file. (A pair that should merely not train is *dropped*, by its status.)"""
        places = sorted({self._places[self.index(identity)] for identity in ids})
        edits = tuple(Edit(place, self._rows[place], None) for place in places)
        self._do(Step(edits, description or "remove", len(edits)))

    def undo(self) -> str:
        """Takes back the latest step; returns its description, empty where there is nothing to undo."""
        step = self._history.latest
        if step is None:
            return ""
        self._apply(step.reversed())
        return self._history.undone()

    def redo(self) -> str:
        """Does again what was last undone; returns its description, empty where there is nothing to redo."""
        step = self._history.next
        if step is None:
            return ""
        self._apply(step)
        return self._history.redone()

    def _do(self, step: Step) -> None:
        if step.edits:
            self._apply(step)
            self._history.done(step)

    def _apply(self, step: Step) -> None:
        """Applies and saves a step, wholly or not at all."""
        if self.changed_on_disk():
            raise self._changed()
        rows = step.applied_to(self._rows)
        try:
            written = write_atomically(self.path, self._content(rows), check=self._check)
        except OSError as error:
            raise _not_saved(self.path, error) from error
        self._stamp = Stamp.of(written)
        self._rows = rows
        if step.keeps_places:
            for edit in step.edits:
                assert edit.after is not None
                if edit.after.pair is not None:
                    self._pairs[self._by_id[edit.after.pair.id]] = edit.after.pair
        else:
            self._index()

    def _content(self, rows: Iterable[Row]) -> Iterable[bytes]:
        yield self._bom
        yield from (row.raw for row in rows)

    def _check(self) -> None:
        if self.changed_on_disk():
            raise self._changed()

    def _changed(self) -> ChangedOnDiskError:
        what = "was changed" if self.path.exists() else "was removed"
        return ChangedOnDiskError(
            f"{self.path.name} {what} by someone else",
            f"{self.path} is not as it was when it was last read here. Nothing was saved.",
            "Reload it, then make the change again.",
        )

    def _index(self) -> None:
        self._places = [place for place, row in enumerate(self._rows) if row.pair is not None]
        self._pairs = [row.pair for row in self._rows if row.pair is not None]
        self._by_id = {pair.id: index for index, pair in enumerate(self._pairs)}

    def _refusekind_of(self, pair: Pair, *, alone: bool) -> None:
        if self._pairs and not alone and pair.conversational != self._pairs[0].conversational:
            raise _kinds_differ(self.path, pair)


def _encode(pair: Pair, ending: bytes = b"\n") -> bytes:
    try:
        return to_line(pair).removesuffix("\n").encode() + ending
    except UnicodeEncodeError:
        raise WorkbenchError(
            "Not text", f"Pair {pair.id!r} would hold half a surrogate pair, which is not a character.", "Take it out."
        ) from None


def _ending(raw: bytes) -> bytes:
    return raw[len(raw.rstrip(b"\r\n")) :]


def _kinds_differ(path: Path, pair: Pair) -> WorkbenchError:
    return WorkbenchError(
        "A file is of one kind",
        f"Pair {pair.id!r} is {kind_of(pair)}; the other pairs of {path.name} are not.",
        "Put it into a data set of its own kind.",
    )


def _not_saved(path: Path, error: OSError) -> WorkbenchError:
    return WorkbenchError(
        f"Cannot write {path.name}",
        f"{path}: {error.strerror or error}. Nothing was changed.",
        "Free space, or allow writing there.",
    )
