"""The dialog that asks for a line of text."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField


class AskDialog(Dialog[str | None]):
    """A question and a line to answer it in; None where it is given up. `content` may be untrusted."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Give up")]
    DEFAULT_CSS = """
    AskDialog LineField, AskDialog LineField:focus {
        background: $panel; border: none; height: 1; padding: 0 1; margin-bottom: 1;
    }
    AskDialog .dialog-hint { margin-bottom: 0; }
    """

    def __init__(self, question: str, content: str = "", *, hint: str = "") -> None:
        super().__init__()
        self._question, self._content, self._hint = question, content, hint

    def compose(self) -> ComposeResult:
        """Question, line, what the keys do."""
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False, classes="dialog-title")
            yield LineField(self._content)
            hint = f"{self._hint}\n" if self._hint else ""
            yield Static(f"{hint}enter saves · esc gives up", markup=False, classes="dialog-hint")

    def on_input_submitted(self) -> None:
        """Answers."""
        self.dismiss(self.query_one(LineField).content)
