"""What `make faults` prints at its end: of each kind of fault how often it was tried, survived, and what was lost.

A test takes the fixture `faults` and does each try within `attempt`:

    def test_a_worker_killed(faults: FaultTable) -> None:
        for _ in range(times(50)):
            with faults.attempt("worker killed") as attempt:
                ...                                     # bring it about; assert what must hold afterwards
                attempt.kept(acknowledged, found)       # where something had been acknowledged: edits, steps, files

A try is survived where the block is left without an exception. `faults.measured("soak", "30 min, +1.2 MB")` puts a
figure below the table. `FAULTS=0.1 make faults` tries a tenth as often: ask `times` for every count, `seeded` for
whatever is random (`FAULTS_SEED=7` for other cases).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from random import Random

Told = tuple[dict[str, dict[str, int]], dict[str, str]]
HEADINGS = ("fault", "tried", "survived", "acknowledged", "lost")


def times(count: int) -> int:
    """How often to try what is tried `count` times by default; at least once."""
    return max(1, round(count * float(os.environ.get("FAULTS", "1"))))


def seeded(seed: int) -> Random:
    """Random numbers that are the same in every run of the test."""
    return Random(f"{seed} {os.environ.get('FAULTS_SEED', '')}")


@dataclass
class Counts:
    """`acknowledged` counts what had been promised when the fault came, `lost` what of that was gone."""

    tried: int = 0
    survived: int = 0
    acknowledged: int = 0
    lost: int = 0


class Attempt:
    """One try of one kind of fault."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def kept(self, acknowledged: Collection[object], found: Collection[object]) -> None:
        """Asserts that everything that had been acknowledged is there afterwards."""
        lost = [each for each in acknowledged if each not in found]
        self._counts.acknowledged += len(acknowledged)
        self._counts.lost += len(lost)
        assert not lost, f"lost {len(lost)} of {len(acknowledged)}, among them {lost[:5]}"


class FaultTable:
    """The counts of all tests of one session, in however many processes."""

    def __init__(self) -> None:
        self.kinds: dict[str, Counts] = {}
        self.figures: dict[str, str] = {}

    def take_in(self, told: Told) -> None:
        """Adds what another process counted: its `told()`."""
        kinds, figures = told
        for kind, counted in kinds.items():
            self._add(kind, **counted)
        self.figures |= figures

    def told(self) -> Told:
        """All that was counted, as what may be sent to another process."""
        return {kind: asdict(counts) for kind, counts in self.kinds.items()}, self.figures

    def counted(self, kind: str, tried: int, survived: int) -> None:
        """Tries that were counted elsewhere."""
        self._add(kind, tried=tried, survived=survived)

    def _add(self, kind: str, **counted: int) -> None:
        counts = self.kinds.setdefault(kind, Counts())
        for name, count in counted.items():
            setattr(counts, name, getattr(counts, name) + count)

    @contextmanager
    def attempt(self, kind: str) -> Iterator[Attempt]:
        """One try; `kind` is the row of the table: a few words that need no context, as "scorer killed"."""
        counts = self.kinds.setdefault(kind, Counts())
        counts.tried += 1
        yield Attempt(counts)
        counts.survived += 1

    def measured(self, what: str, figure: str) -> None:
        """A figure that is no count, printed below the table."""
        self.figures[what] = figure

    def lines(self) -> list[str]:
        """The table, all kinds in one row at its end, and the figures."""
        if not self.kinds:
            return []
        counted = [(each.tried, each.survived, each.acknowledged, each.lost) for each in self.kinds.values()]
        total = tuple(map(sum, zip(*counted, strict=True)))
        wide = max(map(len, [*self.kinds, *self.figures]))
        table = [f"{HEADINGS[0]:{wide}}" + "".join(f"{heading:>14}" for heading in HEADINGS[1:])]
        for name, counts in zip([*self.kinds, "all"], [*counted, total], strict=True):
            table.append(f"{name:{wide}}" + "".join(f"{count:>14,}" for count in counts))
        return [*table, *(f"{what:{wide}}    {figure}" for what, figure in self.figures.items())]
