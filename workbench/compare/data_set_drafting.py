"""Drafts for a whole data set: which pairs lack them, which draft each of them gets, and why some get none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from workbench.compare.ranking import DRAFTED_BY, PairSide, Ranking, save_all
from workbench.pairs.arrow import Ints
from workbench.pairs.pair import STATUSES, Pair
from workbench.pairs.rows import Rows
from workbench.pairs.store import PairStore


@dataclass(frozen=True, slots=True)
class ToDraft:
    """The rows of the pairs that are to get a draft, and how many of those asked for have one of the same model."""

    rows: list[int]
    drafted_before: int = 0


def to_draft(rows: Rows, found: Ints, side: PairSide, by: str, *, replacing: bool, again: bool) -> ToDraft:
    """Of the rows `found`, those that lack an answer on a side; `replacing`: and those that have one.

    Dropped pairs get none, nor those that have drafts of `by` already, unless `again`: so a batch that was stopped
    goes on where it was.
    """
    kept = found[rows.labels["status"][found] != STATUSES.index("dropped")]
    lacking = rows.words[side][kept] == 0
    if not replacing:
        return ToDraft(kept[lacking].tolist())
    sources = rows.vocabularies["source"].values
    known = np.array([f"{DRAFTED_BY} {by}" in source.split("; ") for source in sources], bool)
    done = known[rows.labels["source"][kept]] & ~lacking & (not again)
    return ToDraft(kept[~done].tolist(), int(done.sum()))


@dataclass(slots=True)
class DataSetDrafting:
    """What came of a batch so far. `take` and then `save`, as often as there is something to save."""

    store: PairStore
    side: PairSide
    drafted: Counter[str] = field(default_factory=Counter)
    """Pairs that got a draft, by why it was that one: the commonest or the likeliest."""
    cut: int = 0
    """How many of these drafts end before the model had ended."""
    left: dict[str, str] = field(default_factory=dict)
    """By id: why a pair got none."""
    _unsaved: dict[str, Pair] = field(default_factory=dict)

    def take(self, ranking: Ranking) -> None:
        """The best of a pair's drafts, whose behaviours are told, becomes its answer, once it is saved."""
        pair = ranking.pair
        best = ranking.best_draft(self.side)
        made = ranking.as_side(best.number, self.side) if best is not None else None
        if best is None or made is None or made.edited is None:
            self.left[pair.id] = why_none(ranking, self.side) if best is None else "it says that already"
            return
        self.drafted[best.by] += 1
        self.cut += ranking.candidates[best.number].cut
        self._unsaved[pair.id] = made.edited

    def save(self) -> None:
        """Writes down what was taken, as one step of undo. Raises `WorkbenchError`."""
        if self._unsaved:
            save_all(self.store, self._unsaved)
            self._unsaved = {}


def why_none(ranking: Ranking, side: PairSide) -> str:
    """Why none of the drafts will do."""
    drafts = [number for number, candidate in enumerate(ranking.candidates) if candidate.side is None]
    if not drafts:
        return "there is none yet, or all are empty"
    flaws = Counter(ranking.flaw(number, side) or "says what the other answer says" for number in drafts)
    return "; ".join(f"{flaw} ({count} of {len(drafts)})" for flaw, count in flaws.most_common())
