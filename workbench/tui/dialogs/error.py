"""The dialog that tells of an error."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Button, Static

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
