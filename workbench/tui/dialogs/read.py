"""The dialog that shows a text to read."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.tui.dialogs.base import Dialog


class ReadDialog(Dialog[None]):
    """A title and a text, both safe already; it is wrapped, and scrolled where it is long."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
    ]
    DEFAULT_CSS = """
    ReadDialog .dialog { width: 94; }
    ReadDialog .dialog-scroll { scrollbar-size-vertical: 1; }
    ReadDialog .dialog-hint { margin-bottom: 0; }
    """

    def __init__(self, title: str, text: Content) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """Title, text, what the keys do."""
        with Vertical(classes="dialog"):
            yield Static(self._title, markup=False, classes="dialog-title")
            with VerticalScroll(classes="dialog-scroll"):
                yield Static(self._text, markup=False)
            yield Static("esc closes", classes="dialog-hint")

    def action_scroll(self, lines: int) -> None:
        """Scrolls."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
