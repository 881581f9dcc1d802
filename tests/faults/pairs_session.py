"""A scripted editing session: `python -m tests.faults.pairs_session FILE FROM ACKNOWLEDGED`.

Does the edits FROM, FROM + 1, … of the script until it is killed, and adds a byte to the file ACKNOWLEDGED after each.
The same script drives a `Model`, which says what the pairs must be after any number of edits.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Protocol

from workbench.pairs.pair import STATUSES, Message, Pair, Status, turn_from, with_values


def starting_pairs(count: int = 40) -> list[Pair]:
    """Pairs of plain turns, and every third with reasoning, a call and tools."""
    return [
        Pair(
            f"pair-{number}",
            (Message("user", f"Question {number}"),),
            (whole_turn(number) if number % 3 == 1 else Message("assistant", f"Good answer {number}"),),
            (Message("assistant", f"Bad answer {number}"),),
            extra={"rating": number / 4} | ({"tools": [{"name": f"tool {number}"}]} if number % 3 == 1 else {}),
        )
        for number in range(count)
    ]


def whole_turn(number: int) -> Message:
    """A turn with reasoning and a call."""
    call = {"id": f"c{number}", "function": {"name": "look_up", "arguments": {"é": number}}}
    return turn_from({"role": "assistant", "reasoning_content": f"so {number}", "content": None, "tool_calls": [call]})


class Edited(Protocol):
    """What the script edits."""

    def ids(self) -> list[str]: ...
    def set_status(self, ids: Sequence[str], status: Status) -> None: ...
    def set_note(self, ids: Sequence[str], note: str) -> None: ...
    def add_tag(self, ids: Sequence[str], tag: str) -> None: ...
    def swap(self, ids: Sequence[str]) -> None: ...
    def rewrite(self, identity: str, turn: Message) -> None: ...
    def give(self, identity: str, tools: str) -> None: ...
    def add(self, pair: Pair) -> None: ...
    def remove(self, ids: Sequence[str]) -> None: ...
    def undo(self) -> None: ...
    def redo(self) -> None: ...


def edit(pairs: Edited, number: int) -> None:
    """The edit with a number: it depends on that and on what is there."""
    rng = Random(number)
    ids = pairs.ids()
    some = rng.sample(ids, min(len(ids), rng.choice([1, 1, 1, 5, 30])))
    match rng.randrange(14):
        case 0 | 1 | 2:
            pairs.set_status(some, rng.choice(STATUSES))
        case 3:
            pairs.set_note(some, f"note {number}")
        case 4:
            pairs.add_tag(some, f"tag{number % 5}")
        case 5:
            pairs.swap(some)
        case 6 if some:
            pairs.rewrite(some[0], Message("assistant", f"Rewritten {number}: é ✔ " * 20))
        case 7:
            pairs.add(replace(starting_pairs(1)[0], id=f"new-{number}"))
        case 8 if len(ids) > 20:
            pairs.remove(some[:2])
        case 9 | 10:
            pairs.undo()
        case 11 if some:
            pairs.rewrite(some[0], whole_turn(number))
        case 12 if some:
            pairs.give(some[0], rng.choice(["", f'[{{"name": "é {number}"}}]']))
        case _:
            pairs.redo()


class Model:
    """The pairs as a list, and all the states that they were in."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.states, self.at = [pairs], 0

    @property
    def pairs(self) -> list[Pair]:
        return self.states[self.at]

    def copy(self) -> Model:
        copy = Model([])
        copy.states, copy.at = list(self.states), self.at
        return copy

    def ids(self) -> list[str]:
        return [pair.id for pair in self.pairs]

    def set_status(self, ids: Sequence[str], status: Status) -> None:
        self._change(ids, status=status)

    def set_note(self, ids: Sequence[str], note: str) -> None:
        self._change(ids, note=note)

    def add_tag(self, ids: Sequence[str], tag: str) -> None:
        tagged = [
            replace(pair, tags=(*pair.tags, tag)) if pair.id in ids and tag not in pair.tags else pair
            for pair in self.pairs
        ]
        self._becomes(tagged)

    def swap(self, ids: Sequence[str]) -> None:
        self._becomes([pair.swapped() if pair.id in ids else pair for pair in self.pairs])

    def rewrite(self, identity: str, turn: Message) -> None:
        self._change([identity], chosen=(turn,))

    def give(self, identity: str, tools: str) -> None:
        self._becomes([with_values(pair, {"tools": tools}) if pair.id == identity else pair for pair in self.pairs])

    def add(self, pair: Pair) -> None:
        self._becomes([*self.pairs, pair])

    def remove(self, ids: Sequence[str]) -> None:
        self._becomes([pair for pair in self.pairs if pair.id not in ids])

    def undo(self) -> None:
        self.at = max(0, self.at - 1)

    def redo(self) -> None:
        self.at = min(len(self.states) - 1, self.at + 1)

    def _change(self, ids: Sequence[str], **fields: object) -> None:
        self._becomes([replace(pair, **fields) if pair.id in ids else pair for pair in self.pairs])

    def _becomes(self, pairs: list[Pair]) -> None:
        if pairs != self.pairs:
            self.states[self.at + 1 :] = [pairs]
            self.at += 1


def main(path: Path, number: int, acknowledged: Path) -> None:
    from workbench.pairs.store import PairStore

    store = PairStore(path, quiet=0.01)
    assert not store.file.read_only, store.file.read_only

    class Session:
        def ids(self) -> list[str]:
            return [store.rows.id(int(row)) for row in store.rows.order]

        def set_status(self, ids: Sequence[str], status: Status) -> None:
            store.set_status(self._rows(ids), status)

        def set_note(self, ids: Sequence[str], note: str) -> None:
            store.set_note(self._rows(ids), note)

        def add_tag(self, ids: Sequence[str], tag: str) -> None:
            store.add_tag(self._rows(ids), tag)

        def swap(self, ids: Sequence[str]) -> None:
            store.swap(self._rows(ids))

        def rewrite(self, identity: str, turn: Message) -> None:
            store.update([identity], lambda pair: replace(pair, chosen=(turn,)))

        def give(self, identity: str, tools: str) -> None:
            store.update([identity], lambda pair: with_values(pair, {"tools": tools}))

        def add(self, pair: Pair) -> None:
            store.add([pair])

        def remove(self, ids: Sequence[str]) -> None:
            store.remove(ids)

        def undo(self) -> None:
            store.file.turn("undo")

        def redo(self) -> None:
            store.file.turn("redo")

        def _rows(self, ids: Sequence[str]) -> list[int]:
            return [row for identity in ids if (row := store.rows.row(identity)) is not None]

    session = Session()
    with acknowledged.open("ab", buffering=0) as told:
        while True:
            edit(session, number)
            told.write(b".")
            number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
