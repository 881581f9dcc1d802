"""A few pairs, a change, and a store that is left as a killed process leaves it."""

from __future__ import annotations

from dataclasses import replace

from workbench.pairs.pair import Pair
from workbench.pairs.store import PairStore


def some(count: int) -> list[Pair]:
    return [Pair(f"id{number}", f"prompt {number}", "good", "bad") for number in range(count)]


def accept(pair: Pair) -> Pair:
    return replace(pair, status="accepted")


def left_to_itself(store: PairStore) -> None:
    """As if the process had been killed: the system takes back what it held, and nothing else happens."""
    store.file._let_go()
