"""The dialogs that show a text: an error, something to read, settings as TOML."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static, TextArea

from workbench.errors import WorkbenchError
from workbench.text import safe
from workbench.tui.dialogs.base import Dialog


class ErrorDialog(Dialog[None]):
    """What happened, why, and what to do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "Close")]

    def __init__(self, error: WorkbenchError) -> None:
        super().__init__()
        self.error = error

    def compose(self) -> ComposeResult:
        """Title, message, hint and a button."""
        with Vertical(classes="dialog -error"):
            yield Static(f"✘ {safe(self.error.title)}", markup=False, classes="dialog-title")
            if self.error.message:
                yield Static(safe(self.error.message), markup=False, classes="dialog-text")
            if self.error.hint:
                yield Static(safe(self.error.hint), markup=False, classes="dialog-hint")
            yield Button("Close", variant="primary", compact=True)

    def on_button_pressed(self) -> None:
        """Closes."""
        self.dismiss()


class ReadDialog(Dialog[None]):
    """A title and a text, both safe already; it is wrapped, and scrolled where it is long."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
    ]
    DEFAULT_CSS = """
    ReadDialog .dialog-scroll { scrollbar-size-vertical: 1; }
    """

    def __init__(self, title: str, text: Content) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """Title, text, what the keys do."""
        with Vertical(classes="dialog -wide"):
            yield Static(self._title, markup=False, classes="dialog-title")
            with VerticalScroll(classes="dialog-scroll"):
                yield Static(self._text, markup=False)
            yield Static("esc closes", classes="dialog-hint")


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
