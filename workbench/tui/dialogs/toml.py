"""The dialog that shows settings as TOML, to select from or to copy whole."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static, TextArea

from workbench.text import safe
from workbench.tui.dialogs.base import Dialog


class TomlDialog(Dialog[None]):
    """A TOML text. `text` may be untrusted: it is shown safely and copied as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c,y", "copy", "Copy all"),
        Binding("escape,q", "close", "Close"),
    ]
    DEFAULT_CSS = """
    TomlDialog TextArea {
        height: auto; max-height: 50vh; margin-bottom: 1; border: none; padding: 0; background: $panel;
    }
    """

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """The text and two buttons."""
        with Vertical(classes="dialog"):
            yield Static(safe(self._title), markup=False, classes="dialog-title")
            yield TextArea(safe(self._text).rstrip(), read_only=True, show_cursor=False, compact=True, id="toml")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Close", id="close", compact=True)
                yield Button("Copy all", id="copy", variant="primary", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Copies, or closes."""
        self.action_copy() if event.button.id == "copy" else self.action_close()

    def action_copy(self) -> None:
        """Copies the text by the terminal (OSC 52)."""
        self.app.copy_to_clipboard(self._text)
        self.notify("Copied.", timeout=2)

    def action_close(self) -> None:
        """Goes back."""
        self.dismiss(None)
