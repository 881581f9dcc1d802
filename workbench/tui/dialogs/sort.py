"""The dialog that asks for the order of the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from workbench.pairs.query import Order
from workbench.text import cut, one_line
from workbench.tui.dialogs.base import Dialog

_NAME = 26
_COLUMNS: tuple[tuple[str, Order, tuple[str, str]], ...] = (
    ("the file", Order(), ("as it is on disk", "from the end")),
    ("length ratio", Order("ratio", descending=True), ("chosen much shorter first", "chosen much longer first")),
    ("length of chosen", Order("chosen", descending=True), ("shortest first", "longest first")),
    ("length of rejected", Order("rejected", descending=True), ("shortest first", "longest first")),
    ("status", Order("status"), ("new first", "flagged first")),
    ("prompt", Order("prompt"), ("A to Z", "Z to A")),
    ("tags", Order("tags"), ("none, then A to Z", "Z to A, then none")),
    ("split", Order("split"), ("none, holdout, train", "train, holdout, none")),
    ("note", Order("note"), ("none, then A to Z", "Z to A, then none")),
    ("source", Order("source"), ("A to Z", "Z to A")),
)
_MARGIN = ("lowest margin first", "highest margin first")
_NO_RUN = "A run that trains on these pairs adds its margins here."


class SortDialog(Dialog[Order | None]):
    """Orders to choose from; choosing the `current` one turns it round. `runs`: id and name of those with margins.

    The names may be untrusted. None where it is given up.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Give up"),
        Binding("j", "move('down')", "Down", show=False),
        Binding("k", "move('up')", "Up", show=False),
    ]
    DEFAULT_CSS = """
    SortDialog OptionList, SortDialog OptionList:focus {
        height: auto; max-height: 16; border: none; padding: 0; margin-bottom: 1; background: $surface;
    }
    SortDialog OptionList > .option-list--option { text-wrap: nowrap; text-overflow: ellipsis; }
    SortDialog .dialog-hint { margin-bottom: 0; }
    """

    def __init__(self, current: Order, runs: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._current, self._runs = current, runs
        margins = ((f"margin: {one_line(name)}", Order("margin", run=run), _MARGIN) for run, name in runs)
        self._offers = (*_COLUMNS, *margins)

    def compose(self) -> ComposeResult:
        """The orders, the current one marked."""
        with Vertical(classes="dialog"):
            yield Static("Sort by", classes="dialog-title")
            yield OptionList(*map(self._line, range(len(self._offers))), compact=True, markup=False)
            hint = "enter sorts, and turns the marked order round · esc gives up"
            yield Static(hint if self._runs else f"{hint}\n{_NO_RUN}", markup=False, classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins at the current order."""
        self.query_one(OptionList).highlighted = next(
            (place for place in range(len(self._offers)) if self._is_current(place)), 0
        )

    def action_move(self, way: str) -> None:
        """Moves the cursor."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if way == "down" else options.action_cursor_up()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answers."""
        order = self._offers[event.option_index][1]
        turned = Order(order.by, not self._current.descending, order.run)
        self.dismiss(turned if self._is_current(event.option_index) else order)

    def _is_current(self, place: int) -> bool:
        order = self._offers[place][1]
        return (order.by, order.run) == (self._current.by, self._current.run)

    def _line(self, place: int) -> Content:
        name, order, ways = self._offers[place]
        here = self._is_current(place)
        descending = self._current.descending if here else order.descending
        return Content.assemble(
            (("▼ " if descending else "▲ ") if here else "  ", "$accent"),
            f"{cut(name, _NAME):<{_NAME}}  ",
            (ways[descending], "$secondary"),
        )
