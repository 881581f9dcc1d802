"""The dialog in which a pair gets its tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField
from workbench.tui.widgets.tag_field import TagField


class TagsDialog(Dialog[tuple[str, ...] | None]):
    """Tags to edit, those known offered; None where it is given up. All may be untrusted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Give up"),
    ]
    DEFAULT_CSS = "TagsDialog .dialog-hint { margin-bottom: 0; }"

    def __init__(self, tags: Sequence[str], known: Sequence[str]) -> None:
        super().__init__()
        self._tags, self._known = tags, known

    def compose(self) -> ComposeResult:
        """A line, offers, what the keys do."""
        with Vertical(classes="dialog"):
            yield Static("Tags, parted by commas", classes="dialog-title")
            yield TagField(self._tags, self._known)
            yield Static("↑↓ tab writes a known one out · enter saves · esc gives up", classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins in the line."""
        self.query_one(LineField).focus()

    def on_input_submitted(self) -> None:
        """Answers."""
        self.dismiss(self.query_one(TagField).tags)
