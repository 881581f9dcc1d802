"""Pairs from one data set into another: copied, moved, merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from workbench.pairs.arrow import Ints
from workbench.pairs.pair import Pair
from workbench.pairs.rewrite import rewritten
from workbench.pairs.store import PairStore


@dataclass(frozen=True, slots=True)
class Transferred:
    """How many pairs came, and how many were there already (same texts under the same id). `renamed`: old id to new."""

    added: int
    present: int
    renamed: dict[str, str]


def copy(source: PairStore, rows: Ints | Sequence[int], target: PairStore, description: str = "") -> Transferred:
    """Adds pairs to the end of another data set, one step of undo there; their lines keep every byte but a taken id.

    Raises `WorkbenchError` as `PairStore.add` does.
    """
    new: list[tuple[Pair, bytes]] = []
    taken: set[str] = set()
    renamed: dict[str, str] = {}
    present = 0
    for row in map(int, rows):
        pair, raw = source.pair(row), source.line(row).rstrip(b"\r\n") + b"\n"
        there = target.row(pair.id)
        if there is not None and _says_the_same(target.pair(there), pair):
            present += 1
            continue
        if there is not None or pair.id in taken:
            renamed[pair.id] = identity = _free(pair.id, target, taken)
            pair, raw = replace(pair, id=identity), rewritten(raw, {"id": identity})
        taken.add(pair.id)
        new.append((pair, raw))
    if new:
        target.add_lines(new, description or f"from {source.path.stem}")
    return Transferred(len(new), present, renamed)


def move(source: PairStore, rows: Ints | Sequence[int], target: PairStore) -> Transferred:
    """Copies pairs, then takes them out of where they were: one step of undo in each data set.

    Should the program end in between, they are in both.
    """
    ids = [source.id(int(row)) for row in rows]
    done = copy(source, rows, target)
    source.remove(ids, f"move to {target.path.stem}")
    return done


def merge(sources: Iterable[PairStore], target: PairStore) -> Transferred:
    """Copies all pairs of other data sets into one; those of each are one step of undo there."""
    added, present = 0, 0
    renamed: dict[str, str] = {}
    for source in sources:
        done = copy(source, source.rows, target, f"merge {source.path.stem}")
        added, present = added + done.added, present + done.present
        renamed |= done.renamed
    return Transferred(added, present, renamed)


def duplicate(store: PairStore, row: int) -> str:
    """Adds a copy of a pair below it; returns its id."""
    pair = store.pair(row)
    identity = _free(pair.id, store, set())
    raw = rewritten(store.line(row).rstrip(b"\r\n") + b"\n", {"id": identity})
    store.add_lines([(replace(pair, id=identity), raw)], "duplicate", after=row)
    return identity


def _says_the_same(one: Pair, other: Pair) -> bool:
    return (one.prompt, one.chosen, one.rejected) == (other.prompt, other.chosen, other.rejected)


def _free(identity: str, store: PairStore, taken: set[str]) -> str:
    number = 2
    while store.row(f"{identity}-{number}") is not None or f"{identity}-{number}" in taken:
        number += 1
    return f"{identity}-{number}"
