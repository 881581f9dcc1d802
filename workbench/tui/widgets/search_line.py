"""The line that searches while one types."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from workbench.text import one_line


class SearchLine(Horizontal):
    """A query, and at its right what came of it. Hidden while there is no query and nobody types one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down", "leave", "Back to the pairs", priority=True),
        Binding("escape", "clear", "Clear the search", priority=True),
    ]
    DEFAULT_CSS = """
    SearchLine {
        height: 1; padding: 0 1; background: $surface; display: none;
        &.-shown { display: block; }
        Static { width: auto; height: 1; }
        #slash { color: $accent; text-style: bold; padding: 0 1 0 0; }
        Input, Input:focus {
            width: 1fr; height: 1; border: none; padding: 0; background: $surface; background-tint: $surface 0%;
        }
        #found { color: $secondary; padding: 0 0 0 2; }
        #found.-error { color: $error; }
    }
    """

    class Changed(Message):
        """The query is now another; empty shows all pairs."""

        def __init__(self, query: str) -> None:
            super().__init__()
            self.query = query

    class Left(Message):
        """The typing is over; the query stays."""

    def compose(self) -> ComposeResult:
        """Sign, query, result."""
        yield Static("/", id="slash")
        yield Input(placeholder="words   status:new   tag:tone   split:holdout   source:…", compact=True)
        yield Static("", markup=False, id="found")

    @property
    def value(self) -> str:
        """The query as it stands."""
        return self.query_one(Input).value.strip()

    def open(self) -> None:
        """Shows the line and takes the keys."""
        self.add_class("-shown")
        self.query_one(Input).focus()

    def clear(self) -> None:
        """Empties and hides the line."""
        self.remove_class("-shown")
        self.query_one(Input).value = ""
        self.tell("")

    def tell(self, text: str, *, error: bool = False) -> None:
        """Says what came of the query."""
        found = self.query_one("#found", Static)
        found.set_class(error, "-error")
        found.update(one_line(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Passes the query on."""
        event.stop()
        self.post_message(self.Changed(event.value.strip()))

    def action_leave(self) -> None:
        """Gives the keys back."""
        if not self.value:
            self.clear()
        self.post_message(self.Left())

    def action_clear(self) -> None:
        """Gives the keys back and shows all pairs."""
        self.clear()
        self.post_message(self.Left())
