"""Steps that can be undone and redone: which lines were changed, from what to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from workbench.pairs.pair import Pair


class Row(NamedTuple):
    """One line of a file as it is on disk, line ending included, and the pair in it (None: it holds none)."""

    raw: bytes
    pair: Pair | None


class Edit(NamedTuple):
    """A line replaced, added (`before` None) or removed (`after` None). `place` counts lines from 0: for removed
    lines as they were before the step, for added ones as they are after it."""

    place: int
    before: Row | None
    after: Row | None


@dataclass(frozen=True, slots=True)
class Step:
    """What one call changed: edits in ascending order of place, none both adding and removing lines."""

    edits: tuple[Edit, ...]
    description: str
    pairs: int

    def __str__(self) -> str:
        return self.description if self.pairs == 1 else f"{self.description} ({self.pairs} pairs)"

    @property
    def keeps_places(self) -> bool:
        """Whether every line stays where it is."""
        return all(edit.before is not None and edit.after is not None for edit in self.edits)

    def reversed(self) -> Step:
        """The step that takes this one back."""
        edits = tuple(Edit(place, after, before) for place, before, after in self.edits)
        return Step(edits, self.description, self.pairs)

    def applied_to(self, rows: Sequence[Row]) -> list[Row]:
        """A new list of rows, with this step's edits made."""
        changed = list(rows)
        removed: set[int] = set()
        added: list[tuple[int, Row]] = []
        for place, before, after in self.edits:
            if after is None:
                removed.add(place)
            elif before is None:
                added.append((place, after))
            else:
                changed[place] = after
        if removed:
            changed = [row for place, row in enumerate(changed) if place not in removed]
        if added:
            changed = _inserted(changed, added)
        return changed


def _inserted(rows: Sequence[Row], added: Sequence[tuple[int, Row]]) -> list[Row]:
    """`rows` with each added row at its place in the result; one pass, since whole files come back this way."""
    result: list[Row] = []
    taken = 0
    for place, row in added:
        upto = taken + place - len(result)
        result.extend(rows[taken:upto])
        taken = upto
        result.append(row)
    result.extend(rows[taken:])
    return result


@dataclass(slots=True)
class History:
    """The steps done, and those undone that can be done again."""

    _done: list[Step] = field(default_factory=list)
    _undone: list[Step] = field(default_factory=list)

    @property
    def latest(self) -> Step | None:
        """The step that would be undone."""
        return self._done[-1] if self._done else None

    @property
    def next(self) -> Step | None:
        """The step that would be done again."""
        return self._undone[-1] if self._undone else None

    @property
    def undoable(self) -> str:
        """The latest step's description, empty for none."""
        return str(self._done[-1]) if self._done else ""

    @property
    def redoable(self) -> str:
        """The next step's description, empty for none."""
        return str(self._undone[-1]) if self._undone else ""

    def done(self, step: Step) -> None:
        """A new step was done: what was undone before cannot be done again."""
        self._done.append(step)
        self._undone.clear()

    def undone(self) -> str:
        """The latest step was taken back; returns its description."""
        self._undone.append(self._done.pop())
        return str(self._undone[-1])

    def redone(self) -> str:
        """The next step was done again; returns its description."""
        self._done.append(self._undone.pop())
        return str(self._done[-1])
