"""Every pair of a data set under the columns of a comparison, worst first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from workbench import figures
from workbench.compare.client import ScorerClient
from workbench.compare.measures import ColumnSummary, margin_shift, pair_margin
from workbench.compare.messages import Column, ScoredPair
from workbench.compare.pair_scoring import PairScoring, ScoringProgress
from workbench.pairs.pair import Pair
from workbench.pairs.query import QueryError, parse
from workbench.text import cut, one_line
from workbench.tui.background import background
from workbench.tui.dialogs.ask import ChooseDialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.lines import MadeLines
from workbench.tui.widgets.pair_table import Cells, PairColumn, PairTable, Shown
from workbench.tui.widgets.search_line import SearchLine

_GATHER, _GATHER_SLOW = 0.25, 1.0
"""Seconds for which scores are gathered before they are shown."""
_NUMBER = 10
_LOOKED_AT = 2000
_NAME = 30


class ScoredPairsScreen(WorkbenchScreen):
    """Shows a data set that is being scored. Enter opens the pair under the cursor on the Compare screen."""

    MODE = "compare"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("S", "sort", "Sort"),
        Binding("tab", "next_column", "Next column"),
        Binding("d", "data_set", "Data set"),
        Binding("escape", "back", "Cancel, back"),
    ]
    DEFAULT_CSS = """
    ScoredPairsScreen {
        #progress { height: 1; padding: 0 1; color: $secondary; }
        #summary { padding: 0 1; margin-bottom: 1; }
        PairTable { height: 1fr; }
    }
    """

    def __init__(
        self,
        scorer: Callable[[], Awaitable[ScorerClient]],
        columns: Sequence[Column],
        current: int,
        name: str,
        *,
        open_pair: Callable[[Pair], None],
    ) -> None:
        """`scorer` gives the scorer of the columns' base; `name` is the data set to begin with.

        `open_pair` shows a pair in the place of this screen.
        """
        super().__init__()
        self._data_set, self._open_pair = name, open_pair
        self.scoring = PairScoring(
            scorer,
            columns,
            current,
            cache=self.workbench.workspace.scores,
            on_change=self._show,
            gather_seconds=_GATHER_SLOW if self.workbench.slow else _GATHER,
        )

    def compose_body(self) -> ComposeResult:
        """What the columns make of it all; then pair by pair."""
        yield SearchLine()
        yield Static(id="progress", markup=False)
        yield MadeLines(id="summary")
        yield PairTable()

    def on_mount(self) -> None:
        """Begins to score."""
        self.query_one(PairTable).focus()
        self._open(self._data_set)

    @background("open", doing="scoring the pairs", exclusive=True)
    async def _open(self, name: str) -> None:
        self._data_set = name
        await self.scoring.read(self.workbench.workspace.existing_pairs_file(name))
        self._tell_found()
        await self.scoring.score()

    @background("search", doing="searching the pairs", exclusive=True)
    async def _find(self, text: str) -> None:
        try:
            query = parse(text)
        except QueryError as error:
            self.query_one(SearchLine).show_error(error)
            return
        await self.scoring.find(query)
        self._tell_found()

    def _tell_found(self) -> None:
        rows, found, query = self.scoring.rows, self.scoring.matching, self.scoring.query
        if rows is not None and found is not None:
            count = f"{len(found):,} of {len(rows.order):,}" if query.terms else ""
            self.query_one(SearchLine).tell(count)

    @background("sum", doing="summing the scores up", exclusive=True)
    async def _sum(self) -> None:
        await self.scoring.summarize()

    def _show(self) -> None:
        """Shows what came: the pairs in their order, the cursor where its pair went."""
        if not (self.is_mounted and self.is_attached):
            return
        scoring, rows, order = self.scoring, self.scoring.rows, self.scoring.ordered()
        self.query_one("#progress", Static).update(progress_line(scoring.progress, self._data_set))
        summaries = zip((column.name for column in scoring.columns), scoring.summaries, strict=False)
        self.query_one("#summary", MadeLines).show(partial(summary_lines, list(summaries), scoring.current))
        if rows is None:
            return
        self.top_bar.context = f"{self._data_set} · {figures.plural(len(rows.order), 'pair')}"
        if order is None:
            return
        if scoring.summary_due:
            self._sum()
        table = self.query_one(PairTable)
        # At the top the cursor stays there: what is worst may still come.
        lines = np.flatnonzero(order == table.row) if table.cursor else order[:0]
        current, awaited = scoring.current, scoring.running
        shown = Shown(
            order,
            rows.pair,
            lambda row, pair: score_cells(
                int(rows.numbers[row]), pair, scoring.scores.get(pair.id), current, awaited=awaited
            ),
            partial(score_columns, pairs=len(rows.order), both=current > 0),
            scoring.order_by,
        )
        table.show(shown, line=int(lines[0]) if len(lines) else 0)

    # Keys and clicks

    def action_search(self) -> None:
        """Lets the user type what to look for, as on the Pairs screen."""
        self.query_one(SearchLine).open()

    @on(SearchLine.Changed)
    def _sought(self, event: SearchLine.Changed) -> None:
        self._find(event.query)

    @on(SearchLine.Left)
    def _left(self) -> None:
        self.query_one(PairTable).focus()

    def action_sort(self) -> None:
        """By margin, by shift, or as in the file."""
        self.scoring.next_order()

    @on(PairTable.Sorted)
    def _heading_clicked(self, event: PairTable.Sorted) -> None:
        self.scoring.set_order(event.column)

    def action_next_column(self) -> None:
        """Looks at the pairs under the next of the columns."""
        self.scoring.next_column()

    @background("dialog", doing="choosing a data set", exclusive=True, opens=True)
    async def action_data_set(self) -> None:
        """Asks for another data set."""
        names = self.workbench.workspace.datasets()
        current = names.index(self._data_set) if self._data_set in names else None
        number = await self.app.push_screen_wait(ChooseDialog("Score", [(name, "") for name in names], current=current))
        if number is not None and number != current:
            self._open(names[number])

    @on(PairTable.Opened)
    def _opened(self, event: PairTable.Opened) -> None:
        if self.scoring.rows is not None:
            self._open_pair(self.scoring.rows.pair(event.row))

    def action_back(self) -> None:
        """Cancels what is being scored, or clears the search; else goes back."""
        if self.scoring.running:
            self.workers.cancel_group(self, "open")
        elif self.query_one(SearchLine).value:
            self.query_one(SearchLine).clear()
        else:
            self.dismiss()


def progress_line(progress: ScoringProgress, name: str) -> str:
    """How far the scoring of the data set `name` is, or what came of it."""
    match progress:
        case ScoringProgress("reading"):
            return f"Reading {name} …"
        case ScoringProgress("waiting"):
            return "◌ waiting for the model …"
        case ScoringProgress("scoring", done, total):
            return f"◌ scored {done:,} of {total:,} · esc cancels"
        case ScoringProgress("cancelled", done):
            return f"cancelled · {figures.plural(done, 'pair')} scored"
        case ScoringProgress("done", end=end, seconds=seconds) if end is not None:
            problems = f" · {end.problems:,} without numbers" if end.problems else ""
            return (
                f"{figures.plural(end.total, 'pair')} in {seconds:.1f} s · {end.cached:,} scores were known{problems}"
            )
    return "not scored"


def score_columns(width: int, *, pairs: int, both: bool) -> list[PairColumn]:
    """The columns that fit into `width` cells for so many `pairs`; `both`: a column stands beside the base."""
    number = PairColumn("#", max(3, len(str(pairs))), right=True)
    marks = [PairColumn("margin", _NUMBER, right=True, loud=True)]
    if both:
        marks = [
            PairColumn("base", _NUMBER, right=True),
            *marks,
            PairColumn("shift", _NUMBER, right=True),
        ]
    sums = [PairColumn("chosen", _NUMBER, right=True), PairColumn("rejected", _NUMBER, right=True)]
    for tail in ([*marks, *sums], marks, marks[-2:] if both else marks):
        taken = sum(column.width + 2 for column in (number, *tail))
        if width - taken >= 24:
            break
    return [number, PairColumn("prompt", max(1, width - taken), loud=True), *tail]


def score_cells(number: int, pair: Pair, row: ScoredPair | None, current: int, *, awaited: bool = True) -> Cells:
    """The texts of a line, safe to show; `current` is the number of the column beside the base (0: the base alone).

    `awaited`: a pair that has no row yet will have one.
    """
    shown = {"#": str(number), "prompt": one_line(pair.last_user_turn[:_LOOKED_AT])}
    blank = dict.fromkeys(("base", "margin", "shift", "chosen", "rejected"), "…" if row is None and awaited else "–")
    if row is None or row.problem:
        return shown | blank
    return shown | {
        "base": figures.nats(pair_margin(row, 0)),
        "margin": figures.nats(pair_margin(row, current)),
        "shift": figures.nats_change(margin_shift(row, current)),
        "chosen": figures.nats(row.chosen[current].sum),
        "rejected": figures.nats(row.rejected[current].sum),
    }


def summary_lines(told: Sequence[tuple[str, ColumnSummary]], current: int, width: int) -> list[Content]:
    """A line a column, its numbers under those of the others."""
    names = [cut(one_line(name), min(_NAME, max(8, width // 4))) for name, _ in told]
    room = max(map(cell_len, names), default=0)
    lines = []
    for number, (name, (_, each)) in enumerate(zip(names, told, strict=True)):
        style = "bold $accent" if number == current and number else "bold $foreground" if number == 0 else "$secondary"
        parts = [("▸ " if number == current else "  ", "$accent"), (name + " " * (room - cell_len(name)), style)]
        for label, value in (
            ("ranking", _percent(each.ranking)),
            ("margin", "…" if each.margin is None else figures.nats(each.margin)),
            ("shift", "" if each.shift is None else figures.nats_change(each.shift)),
            ("accuracy", "" if each.accuracy is None else _percent(each.accuracy)),
        ):
            more = [(f"   {label} ", "$secondary"), (f"{value:>6}", "")]
            if value and Content.assemble(*parts, *more).cell_length <= width:
                parts += more
        lines.append(Content.assemble(*parts))
    return lines


def _percent(share: float | None) -> str:
    return "…" if share is None else f"{share:.1%}"
