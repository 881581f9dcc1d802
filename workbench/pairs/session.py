"""The data set that is open: its pairs, their checks and the pace of their review. Screens show it; it knows none."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.arrow import Ints
from workbench.pairs.checks.background import PairChecks
from workbench.pairs.exporters import Format
from workbench.pairs.outward import complete, write
from workbench.pairs.pair import STATUSES, Message, Pair, Status
from workbench.pairs.store import Copied, PairStore, load_pairs, write_pairs
from workbench.text import one_line

if TYPE_CHECKING:
    from workbench.pairs.checks.repairs import Repair
    from workbench.pairs.importers import Imported

_PAUSE = 120.0
_LEAST = 10.0

Which = Literal["shown", "undropped", "accepted", "all"]
"""Which pairs are exported."""


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit did, for a screen to show.

    `rows` are those it changed, `other_rows`: pairs came or went. `go_to` is the id of the pair that the cursor goes
    to, None for staying where it is; `notice` is to be told, empty for nothing. It may be untrusted.
    """

    rows: tuple[int, ...] = ()
    other_rows: bool = False
    go_to: str | None = None
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many pairs were reviewed since the data set was opened, and in how many seconds, long pauses left out."""

    reviewed: int = 0
    seconds: float = 0.0
    latest: float | None = None

    def after(self, now: float) -> Pace:
        """The pace with one more pair reviewed at `now` (seconds of a monotonic clock)."""
        gap = 0.0 if self.latest is None else min(now - self.latest, _PAUSE)
        return Pace(self.reviewed + 1, self.seconds + gap, now)

    @property
    def per_minute(self) -> float | None:
        """Pairs a minute; None until some were reviewed, over some seconds."""
        known = self.reviewed > 2 and self.seconds >= _LEAST
        return 60 * (self.reviewed - 1) / self.seconds if known else None


@dataclass(frozen=True, slots=True)
class BulkChange:
    """What to do to many pairs; `value` is a status, tag, side (None: by prompt) or note where there is one."""

    kind: Literal["status", "tag", "untag", "split", "swap", "note", "remove"]
    value: str | None = None

    @property
    def description(self) -> str:
        """A few words, for a notice."""
        value = one_line(self.value or "", 30)
        match self.kind:
            case "status":
                return value
            case "tag":
                return f"tag {value} added"
            case "untag":
                return f"tag {value} taken off"
            case "split":
                return f"split: {value or 'by prompt'}"
            case "swap":
                return "chosen and rejected swapped"
            case "note":
                return "note written" if value else "note taken off"
            case "remove":
                return "taken out of the file"


class DataSetSession:
    """One data set from the moment it is opened until it is closed.

    An edit is in the journal when its method returns, which takes less than a repaint, so that keys need not wait for
    threads; what says "in a thread" may take longer. Methods that edit raise `WorkbenchError`, with nothing changed.
    """

    def __init__(self, path: Path, *, checks_changed: Callable[[], None] = lambda: None) -> None:
        """Opens the data set, in a thread. `checks_changed` is called in another one: see `PairChecks`.

        Raises `WorkbenchError` where it cannot be read.
        """
        self.store = PairStore(path)
        self.checks = PairChecks(path, changed=checks_changed)
        self.pace = Pace()
        self.latest = Edited()
        """The latest edit, whoever made it."""
        self._count = len(self.store)
        self._reviewed: set[str] = set()
        """The ids of the pairs that were judged; each counts once, however often one changes one's mind."""
        self._shown_trouble: WorkbenchError | None = None
        """The trouble that was shown last."""
        self._shown_damage: WorkbenchError | None = None

    def close(self) -> WorkbenchError | None:
        """Saves, in a thread; returns why it could not be saved. The edits are then in the journal."""
        self.checks.close()
        try:
            self.store.close()
        except WorkbenchError as error:
            return error
        return None

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self.store.path.stem

    @property
    def notice(self) -> str:
        """What is the matter with the file; empty for nothing."""
        file = self.store.file
        if file.read_only:
            return f"▲ read only: {file.read_only}"
        if file.conflicts:
            return f"▲ {plural(len(file.conflicts), 'conflict')} · C decides"
        return "" if file.trouble is None else "▲ not saved; every edit is in the journal"

    @property
    def status(self) -> str:
        """What is to be known of all pairs: the lines that are none, else how many lack an answer, and how the checks
        stand."""
        problems, undrafted = len(self.store.rows.base.problems), len(self.store.rows.to_draft)
        if problems:
            return f"▲ {plural(problems, 'line is no pair', 'lines are no pairs')}"
        lacking = f"◌ {undrafted:,} to draft" if undrafted else ""
        return " · ".join(filter(None, (lacking, self.checks.summary)))

    # Editing

    def edited(
        self, rows: Iterable[int] = (), *, texts: bool = True, go_to: str | None = None, notice: str = ""
    ) -> Edited:
        """What an edit of the store's `rows` comes to; `texts`: of more than status, tags and such."""
        store, rows = self.store, tuple(rows)
        other_rows, self._count = len(store) != self._count, len(store)
        if rows:
            self.checks.touch((store.rows.id(row) for row in rows), texts=texts or other_rows)
        self.latest = Edited(rows, other_rows, go_to, notice)
        return self.latest

    def judge(self, row: int, status: Status) -> Edited:
        """Gives a pair a status; one without any answer is not accepted."""
        if status == "accepted" and not self.store.rows.answered[row]:
            return self.edited(notice="It has no answer yet: r drafts one, e writes it.")
        was_new, identity = self._status(row) == "new", self.store.rows.id(row)
        changed = self.store.set_status([row], status)
        if changed and was_new and identity not in self._reviewed:
            self._reviewed.add(identity)
            self.pace = self.pace.after(time.monotonic())
        return self.edited(changed, texts=False)

    def flag(self, row: int) -> Edited:
        """Flags a pair, or takes the flag away."""
        return self.judge(row, "new" if self._status(row) == "flagged" else "flagged")

    def _status(self, row: int) -> str:
        return str(self.store.rows.label(row, "status"))

    def swap(self, row: int) -> Edited:
        """Exchanges chosen and rejected."""
        return self.edited(self.store.swap([row]))

    def replace(self, before: Pair, after: Pair) -> Edited:
        """Puts another pair in the place of one, where that is still there."""
        there = self.store.rows.row(before.id) is not None
        return self.edited(self.store.update([before.id], lambda _: after, "edit") if there else ())

    def set_tags(self, identity: str, tags: tuple[str, ...]) -> Edited:
        """Gives a pair other tags."""
        return self.edited(self.store.update([identity], lambda pair: replace(pair, tags=tags), "tags"), texts=False)

    def set_note(self, identity: str, note: str) -> Edited:
        """Gives a pair another note."""
        return self.edited(self.store.update([identity], lambda pair: replace(pair, note=note), "note"), texts=False)

    def blank(self) -> Pair:
        """An empty pair of the kind of the others; it is not in the file."""
        identity = uuid.uuid4().hex[:12]
        if self.store.rows.conversational is False:
            return Pair(identity, "", "", "")
        answer = (Message("assistant", ""),)
        return Pair(identity, (Message("user", ""),), answer, answer)

    def add(self, pair: Pair, description: str) -> Edited:
        """Adds a pair at the end."""
        return self.edited(self.store.add([pair], description), go_to=pair.id)

    def duplicate(self, row: int) -> Edited:
        """Adds a copy of a pair below it."""
        rows = self.store.duplicate(row)
        return self.edited(rows, go_to=self.store.rows.id(rows[0]), notice="A copy, below its original. e edits it.")

    def remove(self, identity: str) -> Edited:
        """Takes a pair out of the file."""
        return self.edited(self.store.remove([identity]))

    def undo(self) -> Edited:
        """Takes the latest change back; the cursor goes to it."""
        return self._turn("undo", "undone")

    def redo(self) -> Edited:
        """Does again what was undone last; the cursor goes to it."""
        return self._turn("redo", "redone")

    def _turn(self, which: Literal["undo", "redo"], done: str) -> Edited:
        description, changed = self.store.file.turn(which)
        if not description:
            return self.edited(notice=f"Nothing to {which}.")
        rows = self.store.rows
        there = changed[:1] if changed and rows.alive[changed[0]] else []
        return self.edited(changed, go_to=rows.id(there[0]) if there else None, notice=f"{done}: {description}")

    def change_all(self, rows: Ints, change: BulkChange) -> Edited:
        """Makes a change to many pairs as one step, in a thread."""
        store, value = self.store, change.value or ""
        match change.kind:
            case "status":
                changed = store.set_status(rows, value)  # type: ignore[arg-type]
            case "split":
                changed = store.set_split(rows, value or None)  # type: ignore[arg-type]
            case "tag":
                changed = store.add_tag(rows, value)
            case "untag":
                changed = store.remove_tag(rows, value)
            case "note":
                changed = store.set_note(rows, value)
            case "swap":
                changed = store.swap(rows)
            case "remove":
                changed = store.remove(store.rows.ids(rows))
        return self.edited(changed, texts=change.kind == "swap", notice=_changed(change.description, len(changed)))

    def repair(self, repair: Repair) -> Edited:
        """Does a repair as one step, in a thread."""
        changed = self.store.update(repair.ids_in(self.store.rows), repair.change, repair.description)
        return self.edited(changed, notice=_changed(repair.description, len(changed)))

    # Other programs

    @property
    def trouble(self) -> WorkbenchError | None:
        """Why the file could not be saved, or what became of its journal, once for each time."""
        file = self.store.file
        if file.damage is not None and file.damage is not self._shown_damage:
            self._shown_damage = file.damage
            return file.damage
        if file.trouble is None or file.trouble is self._shown_trouble:
            return None
        self._shown_trouble = file.trouble
        return file.trouble

    def take_in(self) -> Edited | WorkbenchError | None:
        """Takes in what another program made of the file, in a thread; None for nothing new.

        An error says why nothing could be taken in, once; `restore` then writes the file anew.
        """
        change = self.store.file.check_disk()
        if change is None:
            return None
        if change.trouble is not None:
            if self._shown_trouble is not None and self._shown_trouble.title == change.trouble.title:
                return None
            self._shown_trouble = change.trouble
            return change.trouble
        self.checks.touch()
        self._shown_trouble, self._count = None, len(self.store)
        notice = ""
        if change.conflicts:
            count = len(change.conflicts)
            what = "a pair that you changed too" if count == 1 else f"{count:,} pairs that you changed too"
            notice = f"Another program changed {what}: C decides which version stays."
        elif change.changed:
            notice = f"Another program changed {plural(change.changed, 'pair')} of {self.name}: taken in."
        self.latest = Edited(other_rows=True, notice=notice)
        return self.latest

    def restore(self) -> Edited:
        """Writes the file as it is here, in a thread."""
        self.store.file.restore()
        self._shown_trouble = None
        return self.edited(notice=f"{self.store.path.name} is written anew.")

    def resolve(self, identity: str, which: Literal["mine", "theirs"]) -> Edited:
        """Decides a conflict, in a thread."""
        return self.edited(self.store.resolve(identity, which))

    # Other files

    def export_counts(self, rows: Ints, shape: str) -> dict[Which, int]:
        """How many pairs each choice comes to in rows of a shape, where `rows` are shown."""
        store, total = self.store.rows, len(self.store)
        whole = store.judged if shape == "kto" else store.trainable
        return {
            "shown": len(rows),
            "undropped": len(whole),
            "accepted": int((store.labels["status"][whole] == STATUSES.index("accepted")).sum()),
            "all": total,
        }

    def export(self, rows: Ints, path: Path, form: Format, which: Which, shape: str, *, raw: bool = False) -> str:
        """Writes pairs to a file for who reads a shape, in a thread, `rows` being shown; returns what to tell.

        `raw` leaves what a spreadsheet would take for formulas in CSV without a guard.
        """
        store = self.store.rows
        pairs = [store.pair(row) for row in (rows if which == "shown" else store.order).tolist()]
        if which == "accepted":
            pairs = [pair for pair in pairs if pair.status == "accepted" and complete(pair, shape)]
        elif which == "undropped":
            pairs = [pair for pair in pairs if pair.status != "dropped" and complete(pair, shape)]
        written = write(path, pairs, shape, form, name=self.name, raw=raw)
        return " ".join((f"{plural(written.pairs, 'pair')} written to {path}.", *written.told(self.name)))

    def copy_into(self, path: Path, rows: Ints, *, move_them: bool) -> Edited:
        """Copies or moves pairs into another data set, in a thread; begins it where there is none."""
        begin(path)
        with PairStore(path) as target:
            copied = target.copy_from(self.store, rows)
            # Taken out once they are there: should the program end in between, they are in both.
            removed = self.store.remove(self.store.rows.ids(rows), f"move to {path.stem}") if move_them else []
        notice = _copied(copied, f"{'moved' if move_them else 'copied'} to {path.stem}")
        return self.edited(removed, notice=notice)

    def merge_from(self, path: Path) -> Edited:
        """Copies all pairs of another data set into this one, in a thread."""
        with PairStore(path) as source:
            copied = self.store.copy_from(source, source.rows.order, f"merge {path.stem}")
        return self.edited(copied.rows, notice=_copied(copied, f"of {path.stem} merged into {self.name}"))


# Data sets that may be open or not


def begin(path: Path) -> None:
    """Writes an empty data set where there is none."""
    if not path.exists():
        write_pairs(path, ())


def pairs_in(data_set: DataSetSession | None, path: Path) -> Sequence[Pair]:
    """The pairs of the data set in `path`, which may be open as `data_set`, or not be there yet."""
    if data_set is not None and data_set.store.path == path:
        return data_set.store.pairs
    return load_pairs(path)[0] if path.exists() else ()


def add_pairs(
    data_set: DataSetSession | None, path: Path, pairs: Sequence[Pair], description: str, *, go_to: str | None = None
) -> None:
    """Adds pairs to the data set in `path`, in a thread; it may be open as `data_set`, or is begun where there is none.

    Who shows the open one learns of it by `DataSetSession.latest`. Raises `WorkbenchError`.
    """
    if data_set is not None and data_set.store.path == path:
        data_set.edited(data_set.store.add(pairs, description), go_to=go_to)
    elif not path.exists():
        write_pairs(path, pairs)
    elif pairs:
        with PairStore(path) as store:
            store.add(pairs, description)


_SHOWN_COLUMNS = 3


def imported(result: Imported, name: str) -> str:
    """What to tell of an import into the data set `name`."""
    words = [f"{plural(len(result.pairs), 'pair')} imported into {name}"]
    if result.converted:
        words.append(f"{result.converted:,} of plain text became conversations")
    if result.judged:
        words.append(f"{plural(result.judged, 'answer is', 'answers are')} judged alone, for kto")
    if lacking := result.undrafted - result.judged:
        words.append(f"{lacking:,} lack an answer and are to be drafted (r)")
    if result.duplicates:
        words.append(f"{result.duplicates:,} were there already")
    if result.ties:
        words.append(f"{plural(result.ties, 'row prefers', 'rows prefer')} neither answer")
    if result.unused:
        words.append(f"nothing was made of {', '.join(one_line(name, 30) for name in result.unused[:_SHOWN_COLUMNS])}")
    if result.problems:
        line = result.problems[0].line
        words.append(f"{plural(len(result.problems), 'row')} could not be used (the first: line {line})")
    return "; ".join(words) + "."


def _changed(description: str, count: int) -> str:
    return f"{description}: {plural(count, 'pair')} changed. u takes all of it back."


def _copied(copied: Copied, what: str) -> str:
    words = [f"{plural(len(copied.rows), 'pair')} {what}"]
    if copied.present:
        words.append(f"{copied.present:,} were there already")
    if copied.renamed:
        words.append(f"{len(copied.renamed):,} got another id")
    return "; ".join(words) + "."
