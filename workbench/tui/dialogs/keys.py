"""The sheet that says what every key of a screen does."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from workbench.tui.own_keys import own_keys


class KeysDialog(ModalScreen[None]):
    """What every active key of the screen below does."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,question_mark", "dismiss", "Close")]

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
        width = max((cell_len(key) for key, _ in self._keys), default=0)
        lines = [
            Content.assemble((" " * (width - cell_len(key)) + key, "$accent"), "  ", description)
            for key, description in self._keys
        ]
        with Vertical(classes="dialog"):
            yield Static("Keys", classes="dialog-title")
            with VerticalScroll(classes="dialog-scroll"):
                yield Static(Content("\n").join(lines))
            yield Static("esc closes · ctrl+p every command", classes="dialog-hint")
