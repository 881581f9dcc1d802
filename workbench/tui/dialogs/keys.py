"""The keys that this program gives meaning to, and the sheet that tells them."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, ClassVar

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Static

from workbench.tui.dialogs.base import Dialog

_GAP = 4


def own_keys(screen: Screen[Any]) -> list[ActiveBinding]:
    """The active bindings that have a description and are ours, not those of Textual's own widgets."""
    return [
        active
        for active in screen.active_bindings.values()
        if active.binding.description and _declared_here(active.node, active.binding)
    ]


def _declared_here(node: DOMNode, binding: Binding) -> bool:
    """Whether a class of this package declares the binding, and not one that it inherits from."""
    return any(
        isinstance(declared, Binding)
        and (declared.action, declared.description) == (binding.action, binding.description)
        for kind in type(node).__mro__
        if kind.__module__.startswith("workbench.")
        for declared in vars(kind).get("BINDINGS", ())
    )


class KeysDialog(Dialog[None]):
    """What every active key of the screen below does, all of them at one look where there is room."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,question_mark", "dismiss", "Close")]
    DEFAULT_CSS = """
    KeysDialog #sheet { width: auto; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; }
    KeysDialog VerticalScroll { width: auto; height: auto; scrollbar-size-vertical: 1; }
    KeysDialog #keys { width: auto; }
    """

    def __init__(self, screen: Screen[Any]) -> None:
        super().__init__()
        keys: dict[str, list[str]] = {}
        for active in own_keys(screen):
            names = keys.setdefault(active.binding.description, [])
            key = screen.app.get_key_display(active.binding)
            if key not in names:
                names.append(key)
        self._keys = [(" ".join(names), description) for description, names in keys.items()]

    def compose(self) -> ComposeResult:
        """Key and meaning, a line each."""
        with Vertical(id="sheet", classes="frame") as sheet:
            sheet.border_title, sheet.border_subtitle = "Keys", "esc closes · ctrl+p every command"
            with VerticalScroll():
                yield Static(id="keys")

    def on_resize(self, event: events.Resize) -> None:
        """Fits the sheet to the terminal."""
        room = event.size.width - 6
        self.query_one(VerticalScroll).styles.max_height = event.size.height - 2
        # As few columns as show every key at once; else as many as there is room for.
        sheets = [self._sheet(count) for count in range(1, 5)]
        fitting = [sheet for sheet in sheets if max(line.cell_length for line in sheet) <= room] or sheets[:1]
        whole = [sheet for sheet in fitting if len(sheet) <= event.size.height - 2]
        self.query_one("#keys", Static).update(Content("\n").join(whole[0] if whole else fitting[-1]))

    def _sheet(self, count: int) -> list[Content]:
        """The keys in so many columns."""
        height = max(1, -(-len(self._keys) // count))
        columns = [_column(self._keys[begin : begin + height]) for begin in range(0, len(self._keys), height)]
        widths = [max(line.cell_length for line in column) for column in columns]
        lines = []
        for row in zip_longest(*columns, fillvalue=Content("")):
            cells = [cell + " " * (width - cell.cell_length + _GAP) for cell, width in zip(row, widths, strict=True)]
            lines.append(Content("").join(cells).rstrip())
        return lines


def _column(keys: list[tuple[str, str]]) -> list[Content]:
    width = max(cell_len(key) for key, _ in keys)
    return [Content.assemble(" " * (width - cell_len(key)), (key, "$accent"), "  ", text) for key, text in keys]
