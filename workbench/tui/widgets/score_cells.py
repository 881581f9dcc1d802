"""What a scored pair shows in a line of the table, and what columns make of a data set as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from workbench.compare import formatting
from workbench.compare.measures import ColumnSummary, margin_shift, pair_margin
from workbench.compare.messages import ScoredPair
from workbench.pairs.pair import Pair
from workbench.text import cut, one_line
from workbench.tui.widgets.lines import Lines
from workbench.tui.widgets.pair_cells import Cells, Column

_NUMBER = 10
_LOOKED_AT = 2000
_NAME = 30


def score_columns(width: int, *, pairs: int, both: bool) -> list[Column]:
    """The columns that fit into `width` cells for so many `pairs`; `both`: a column stands beside the base."""
    number = Column("#", max(3, len(str(pairs))), right=True)
    marks = [Column("margin", _NUMBER, right=True, loud=True)]
    if both:
        marks = [Column("base", _NUMBER, right=True), *marks, Column("shift", _NUMBER, right=True)]
    sums = [Column("chosen", _NUMBER, right=True), Column("rejected", _NUMBER, right=True)]
    for tail in ([*marks, *sums], marks, marks[-2:] if both else marks):
        taken = sum(column.width + 2 for column in (number, *tail))
        if width - taken >= 24:
            break
    return [number, Column("prompt", max(1, width - taken), loud=True), *tail]


def score_cells(number: int, pair: Pair, row: ScoredPair | None, place: int, *, awaited: bool = True) -> Cells:
    """The texts of a line, safe to show; `place` is the number of the column beside the base (0: the base alone).

    `awaited`: a pair that has no row yet will have one.
    """
    shown = {"#": str(number), "prompt": one_line(pair.last_user_turn[:_LOOKED_AT])}
    blank = dict.fromkeys(("base", "margin", "shift", "chosen", "rejected"), "…" if row is None and awaited else "–")
    if row is None or row.problem:
        return shown | blank
    return shown | {
        "base": formatting.nats(pair_margin(row, 0)),
        "margin": formatting.nats(pair_margin(row, place)),
        "shift": formatting.signed(margin_shift(row, place)),
        "chosen": formatting.nats(row.chosen[place].sum),
        "rejected": formatting.nats(row.rejected[place].sum),
    }


class SummaryView(Lines):
    """A line a column: how often it says chosen rather, and by how much."""

    DEFAULT_CSS = "SummaryView { padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._told: list[tuple[str, ColumnSummary]] = []
        self._current = 0

    def show(self, told: list[tuple[str, ColumnSummary]], current: int) -> None:
        """Shows the summaries of columns by their names; the one with number `current` is marked."""
        self._told, self._current = told, current
        self.redraw()

    def lines(self, width: int) -> list[Content]:
        """The lines."""
        return summary_lines(self._told, self._current, width)


def summary_lines(told: Sequence[tuple[str, ColumnSummary]], current: int, width: int) -> list[Content]:
    """A line a column, its numbers under those of the others."""
    names = [cut(one_line(name), min(_NAME, max(8, width // 4))) for name, _ in told]
    room = max(map(cell_len, names), default=0)
    lines = []
    for number, (name, (_, each)) in enumerate(zip(names, told, strict=True)):
        style = "bold $accent" if number == current and number else "bold $foreground" if number == 0 else "$secondary"
        parts = [("▸ " if number == current else "  ", "$accent"), (name + " " * (room - cell_len(name)), style)]
        for label, value in (
            ("says chosen", _percent(each.accuracy)),
            ("margin", "…" if each.margin is None else formatting.nats(each.margin)),
            ("shift", "" if each.shift is None else formatting.signed(each.shift)),
            ("improved", "" if each.improved is None else _percent(each.improved)),
        ):
            more = [(f"   {label} ", "$secondary"), (f"{value:>6}", "")]
            if value and Content.assemble(*parts, *more).cell_length <= width:
                parts += more
        lines.append(Content.assemble(*parts))
    return lines


def _percent(share: float | None) -> str:
    return "…" if share is None else f"{share:.1%}"
