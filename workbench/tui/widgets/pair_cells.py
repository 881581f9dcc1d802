"""What a pair shows in a line of the table: pure functions of the pair and of the room there is."""

from __future__ import annotations

from collections.abc import Sequence
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
class Known:
    """What is known of a pair beside its text: its place in the file, from 1; what the checks found, gravest first,
    a word or two; the tokens of chosen and rejected; and its margin under the run that the table is sorted by."""

    number: int
    finding: str = ""
    tokens: tuple[int, int] | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `name` is its heading and its key in `Cells`; `width` counts terminal cells.

    `loud`: in the colour of text, not dim.
    """

    name: str
    width: int
    right: bool = False
    loud: bool = False

    def fit(self, text: str) -> str:
        """`text` (made safe already) in exactly `width` cells."""
        text = cut(text, self.width)
        room = " " * (self.width - cell_len(text))
        return room + text if self.right else text + room


Cells = dict[str, str]


def words(text: str) -> int:
    """How many words a text has."""
    return len(text.split())


def lengths(pair: Pair, tokens: tuple[int, int] | None) -> tuple[int, int]:
    """The lengths of chosen and rejected: in tokens where these are known, else in words."""
    return tokens or (words(plain(pair.chosen)), words(plain(pair.rejected)))


def columns(width: int, pairs: int, *, findings: bool = False, margin: bool = False) -> list[Column]:
    """The columns that fit into `width` cells, for a data set of so many `pairs`; the prompt takes what is left.

    There is one for `findings` once the checks found some, and one for the `margin` where that is the order.
    """
    left = [Column("#", max(3, len(str(pairs))), right=True), Column("status", 10)]
    chosen, rejected = Column("chosen", 8, right=True), Column("rejected", 10, right=True)
    ratio, tags = Column("ratio", 7, right=True), Column("tags", 14)
    last = [Column("margin", 9, right=True)] if margin else []
    last += [Column("findings", 18)] if findings else []
    choices: tuple[tuple[list[Column], int], ...] = (
        ([chosen, rejected, ratio, tags, *last], 34),
        ([chosen, rejected, ratio, *last], 28),
        ([ratio, *last], 20),
        (last, 12),
        ([], 0),
    )
    for tail, least in choices:
        taken = sum(column.width + len(_GAP) for column in (*left, *tail))
        if width - taken >= least:
            break
    return [*left, Column("prompt", max(1, width - taken)), *tail]


def cells(pair: Pair, known: Known) -> Cells:
    """The texts of a line, safe to show."""
    chosen, rejected = lengths(pair, known.tokens)
    return {
        "#": str(known.number),
        "status": f"{SIGNS[pair.status]} {pair.status}",
        "prompt": one_line(pair.last_user_turn[:_LOOKED_AT]),
        "chosen": str(chosen),
        "rejected": str(rejected),
        "ratio": f"{chosen / rejected:.2f}" if rejected else "–",
        "tags": one_line(" ".join(pair.tags)[:_LOOKED_AT]),
        "margin": "–" if known.margin is None else f"{known.margin:+.2f}".replace("-", "−"),
        "findings": one_line(known.finding),
    }


def headings(shown: Sequence[Column], order: str, *, descending: bool) -> list[tuple[str, str]]:
    """The line above the table as (column name, text); the column that is the `order` says so and which way round."""
    line: list[tuple[str, str]] = []
    for column in shown:
        if line:
            line.append(("", _GAP))
        sign = "▼" if descending else "▲"
        line.append((column.name, column.fit(f"{column.name} {sign}" if column.name == order else column.name)))
    return line


def parts(shown: Sequence[Column], texts: Cells) -> list[tuple[str, str]]:
    """A line of the table as (column name, text) with the gaps between."""
    line: list[tuple[str, str]] = []
    for column in shown:
        if line:
            line.append(("", _GAP))
        line.append((column.name, column.fit(texts[column.name])))
    return line
