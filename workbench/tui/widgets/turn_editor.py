"""One turn of a pair, to edit: its role above, its text below."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from workbench.pairs.pair import ROLES, Message
from workbench.tui.widgets.fields import TextField

_AFTER = {"user": "assistant", "tool": "assistant"}


class TurnEditor(Vertical):
    """A turn of `part` (prompt, chosen or rejected); `role` is None for plain text, which has no turns."""

    DEFAULT_CSS = """
    TurnEditor {
        height: auto;
        Static { height: 1; color: $accent; }
        TextField, TextField:focus {
            height: auto; min-height: 1; max-height: 14; padding: 0 1; margin-bottom: 1;
            border: none; background: $panel 50%;
        }
        TextField:focus { background: $panel; }
        &.-unlabelled Static { display: none; }
    }
    """

    def __init__(self, part: str, role: str | None, content: str = "") -> None:
        super().__init__()
        self.part, self.role, self._content = part, role, content

    def compose(self) -> ComposeResult:
        """Role and text."""
        yield Static(self._label, markup=False)
        yield TextField(self._content)

    @property
    def field(self) -> TextField:
        """Where the text is edited."""
        return self.query_one(TextField)

    @property
    def content(self) -> str:
        """The text as it is to be saved."""
        return self.field.content

    @property
    def message(self) -> Message:
        """The turn as it is to be saved."""
        return Message(self.role or "", self.content)

    @property
    def following_role(self) -> str:
        """Who speaks after this turn, usually."""
        return _AFTER.get(self.role or "", "user")

    def next_role(self) -> None:
        """Gives the turn to the next of the roles."""
        if self.role is not None:
            self.role = ROLES[(ROLES.index(self.role) + 1) % len(ROLES)]
            self.query_one(Static).update(self._label)

    @property
    def _label(self) -> str:
        return self.role or self.part
