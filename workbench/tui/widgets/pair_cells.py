"""What a pair shows in a line of the table: pure functions of the pair and of the room there is."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from workbench.pairs.pair import Pair, Status, plain
from workbench.text import cut, one_line

SIGNS: dict[Status, str] = {"new": "·", "accepted": "✔", "dropped": "✘", "flagged": "⚑"}
"""A sign for each status, one terminal cell wide."""

# A line shows a few hundred characters at most; the rest of a prompt of megabytes need not be looked at.
_LOOKED_AT = 2000
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `name` is its heading and its key in `Cells`; `width` counts terminal cells."""

    name: str
    width: int
    right: bool = False

    def fit(self, text: str) -> str:
        """`text` (made safe already) in exactly `width` cells."""
        text = cut(text, self.width)
        room = " " * (self.width - cell_len(text))
        return room + text if self.right else text + room


Cells = dict[str, str]


def words(text: str) -> int:
    """How many words a text has."""
    return len(text.split())


def columns(width: int, pairs: int) -> list[Column]:
    """The columns that fit into `width` cells, for a data set of so many `pairs`; the prompt takes what is left."""
    left = [Column("#", max(3, len(str(pairs))), right=True), Column("status", 10)]
    right = [Column("chosen", 6, right=True), Column("rejected", 8, right=True), Column("ratio", 5, right=True)]
    tags = Column("tags", 14)
    choices: tuple[tuple[list[Column], int], ...] = (([*right, tags], 34), (right, 28), (right[2:], 20), ([], 0))
    for tail, least in choices:
        taken = sum(column.width + len(_GAP) for column in (*left, *tail))
        if width - taken >= least:
            break
    return [*left, Column("prompt", max(1, width - taken)), *tail]


def cells(pair: Pair, number: int) -> Cells:
    """The texts of a line, safe to show; `number` is the pair's place in the file, from 1."""
    chosen, rejected = words(plain(pair.chosen)), words(plain(pair.rejected))
    return {
        "#": str(number),
        "status": f"{SIGNS[pair.status]} {pair.status}",
        "prompt": one_line(pair.last_user_turn[:_LOOKED_AT]),
        "chosen": str(chosen),
        "rejected": str(rejected),
        "ratio": f"{chosen / rejected:.2f}" if rejected else "–",
        "tags": one_line(" ".join(pair.tags)[:_LOOKED_AT]),
    }


def heading(shown: list[Column]) -> str:
    """The line above the table."""
    return _GAP.join(column.fit(column.name) for column in shown)


def parts(shown: list[Column], texts: Cells) -> list[tuple[str, str]]:
    """A line of the table as (column name, text) with the gaps between."""
    line: list[tuple[str, str]] = []
    for column in shown:
        if line:
            line.append(("", _GAP))
        line.append((column.name, column.fit(texts[column.name])))
    return line
