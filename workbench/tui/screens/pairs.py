"""The Pairs screen: browse, mend and triage preference pairs."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from workbench.tui.screens.pairs_files import PairsFiles
from workbench.tui.widgets.empty_pairs import EmptyPairs
from workbench.tui.widgets.pair_browser import PairBrowser
from workbench.tui.widgets.pair_table import PairTable
from workbench.tui.widgets.review_bar import ReviewBar

_ON_A_PAIR = frozenset(
    {
        "judge",
        "flag",
        "next_new",
        "swap",
        "edit",
        "edit_outside",
        "tags",
        "note",
        "duplicate",
        "delete",
        "bulk",
        "draft",
    }
    | {"search", "filter", "sort", "next_finding", "scroll_text", "checks", "export"}
)
_ON_A_DATA_SET = frozenset({"new", "undo", "redo"})


class PairsScreen(PairsFiles):
    """One data set at a time: a table, the pair under its cursor, and the keys that judge it."""

    MODE = "pairs"
    HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (140, "-beside")]  # noqa: RUF012 (Textual declares it so)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "judge('accepted')", "Accept"),
        Binding("x", "judge('dropped')", "Drop"),
        Binding("space", "next_new", "Next new"),
        Binding("e", "edit", "Edit"),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("c", "checks", "Checks"),
        Binding("u", "undo", "Undo"),
        Binding("m", "flag", "Flag", show=False),
        Binding("s", "swap", "Swap the responses", show=False),
        Binding("t", "tags", "Tags", show=False),
        Binding("o", "note", "Note", show=False),
        Binding("E", "edit_outside", "Edit in $EDITOR", show=False),
        Binding("n", "new", "New pair", show=False),
        Binding("N", "duplicate", "New pair like this one", show=False),
        Binding("r", "draft", "Draft answers, rank them", show=False),
        Binding("D", "delete", "Delete from the file", show=False),
        Binding("ctrl+r", "redo", "Redo", show=False),
        Binding("f", "filter", "Filter", show=False),
        Binding("S", "sort", "Sort", show=False),
        Binding("v", "bulk", "Change all that is shown", show=False),
        Binding("right_square_bracket", "next_finding(1)", "Next finding", show=False, key_display="]"),
        Binding("left_square_bracket", "next_finding(-1)", "Previous finding", show=False, key_display="["),
        Binding("d", "data_sets", "Data sets, copy, merge", show=False),
        Binding("i", "import", "Import", show=False),
        Binding("w", "export", "Export", show=False),
        Binding("C", "conflicts", "Decide conflicts", show=False),
        Binding("J,shift+down", "scroll_text(3)", "Scroll the pair down", show=False),
        Binding("K,shift+up", "scroll_text(-3)", "Scroll the pair up", show=False),
        Binding("escape", "show_all", "Clear the search", show=False),
    ]
    DEFAULT_CSS = """
    PairsScreen {
        #panes { height: 1fr; layout: vertical; }
        PairTable { height: 38%; min-height: 5; }
        PairView { height: 1fr; }
        &.-beside {
            #panes { layout: horizontal; }
            PairTable { width: 44%; height: 1fr; }
            PairView { width: 1fr; }
        }
        EmptyPairs { display: none; }
        &.-empty { PairBrowser, ReviewBar { display: none; } EmptyPairs { display: block; } }
    }
    """

    def compose_body(self) -> ComposeResult:
        """Progress, table and pair; or what to do where there is nothing yet."""
        yield ReviewBar()
        yield PairBrowser()
        yield EmptyPairs()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offers no key that has nothing to work on."""
        del parameters
        if action == "conflicts":
            return self.store is not None and bool(self.store.file.conflicts)
        if action in _ON_A_DATA_SET:
            return self.store is not None
        return action not in _ON_A_PAIR or not self.has_class("-empty")

    async def on_pair_table_opened(self, event: PairTable.Opened) -> None:
        """Opens the pair in Compare."""
        if self.store is not None:
            await self.workbench.compare(pair=self.store.pair(event.row))
