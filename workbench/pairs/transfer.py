"""Pairs copied from one data set into another, or below themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.pairs.arrow import Ints
from workbench.pairs.pair import Pair
from workbench.pairs.rewrite import rewritten
from workbench.pairs.store import PairStore


@dataclass(frozen=True, slots=True)
class Transferred:
    """The rows that came, and how many pairs were there already (same texts under the same id). `renamed`: old id to
    new."""

    rows: list[int]
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
        pair, raw = source.rows.pair(row), source.rows.line(row).rstrip(b"\r\n") + b"\n"
        there = target.rows.row(pair.id)
        if there is not None and _says_the_same(target.rows.pair(there), pair):
            present += 1
            continue
        if there is not None or pair.id in taken:
            renamed[pair.id] = identity = _free(pair.id, target, taken)
            pair, raw = replace(pair, id=identity), rewritten(raw, {"id": identity})
        taken.add(pair.id)
        new.append((pair, raw))
    return Transferred(target.add_lines(new, description or f"from {source.path.stem}"), present, renamed)


def duplicate(store: PairStore, row: int) -> list[int]:
    """Adds a copy of a pair below it; returns its row."""
    pair = store.rows.pair(row)
    identity = _free(pair.id, store, set())
    raw = rewritten(store.rows.line(row).rstrip(b"\r\n") + b"\n", {"id": identity})
    return store.add_lines([(replace(pair, id=identity), raw)], "duplicate", after=row)


def _says_the_same(one: Pair, other: Pair) -> bool:
    return (one.prompt, one.chosen, one.rejected) == (other.prompt, other.chosen, other.rejected)


def _free(identity: str, store: PairStore, taken: set[str]) -> str:
    number = 2
    while store.rows.row(f"{identity}-{number}") is not None or f"{identity}-{number}" in taken:
        number += 1
    return f"{identity}-{number}"
