"""The line in which the beginning of an answer is typed, and taken token by token."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from workbench.text import editable
from workbench.tui.widgets.fields import LineField


class BeginLine(Horizontal):
    """Hidden until it is opened. What is typed is looked at as it stands; ↑↓ and enter take a token of the bars."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "say('take')", "Take the token", priority=True),
        Binding("down", "say('down')", "Next token", priority=True, show=False),
        Binding("up", "say('up')", "Token before", priority=True, show=False),
        Binding("tab", "say('go on')", "Let the columns go on", priority=True),
        Binding("escape", "say('close')", "Back", priority=True),
    ]
    DEFAULT_CSS = """
    BeginLine {
        height: 1; display: none; padding: 0 1; background: $panel;
        &.-shown { display: block; }
        Static { width: auto; height: 1; }
        #begins { color: $accent; text-style: bold; padding: 0 1 0 0; }
        #how { color: $secondary; padding: 0 0 0 2; }
        LineField, LineField:focus {
            width: 1fr; height: 1; border: none; padding: 0; background: $panel; background-tint: $panel 0%;
        }
    }
    """

    class Typed(Message):
        """The answer is to begin with this text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Said(Message):
        """A key that is no text."""

        def __init__(self, what: Literal["take", "down", "up", "go on", "close"]) -> None:
            super().__init__()
            self.what = what

    def __init__(self) -> None:
        super().__init__()
        self._written = ""

    def compose(self) -> ComposeResult:
        """Label, text, keys."""
        yield Static("the answer begins", id="begins", markup=False)
        yield LineField(placeholder="type, or take tokens")
        yield Static("↑↓ enter takes · tab goes on · esc", id="how", markup=False)

    def open(self) -> None:
        """Shows the line, empty, and types into it."""
        self.add_class("-shown")
        self.write("")
        self.query_one(LineField).focus()

    def close(self) -> None:
        """Hides it."""
        self.remove_class("-shown")
        self.screen.set_focus(None)

    def write(self, text: str) -> None:
        """Shows `text`, without asking about it."""
        field = self.query_one(LineField)
        self._written = editable(text, one_line=True)
        field.value = self._written
        field.cursor_position = len(field.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Asks about what was typed."""
        event.stop()
        if event.value != self._written:
            self._written = event.value
            self.post_message(self.Typed(self.query_one(LineField).content))

    def action_say(self, what: Literal["take", "down", "up", "go on", "close"]) -> None:
        """Hands the key on."""
        self.post_message(self.Said(what))
