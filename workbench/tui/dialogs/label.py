"""The dialog in which a run gets a name, tags and a note."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from workbench.runs.labels import Labels
from workbench.text import one_line
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField


class LabelDialog(Dialog[Labels | None]):
    """Name, tags and note to edit; None where it is given up. They may be untrusted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+s", "apply", "Save"),
        Binding("escape", "dismiss(None)", "Give up", priority=True),
    ]
    DEFAULT_CSS = """
    LabelDialog .label { color: $secondary; }
    LabelDialog LineField, LabelDialog LineField:focus {
        background: $panel; border: none; height: 1; padding: 0 1; margin-bottom: 1;
    }
    LabelDialog .dialog-hint { margin-bottom: 0; }
    """

    def __init__(self, run: str, labels: Labels) -> None:
        super().__init__()
        self._run, self._labels = run, labels

    def compose(self) -> ComposeResult:
        """Three lines to fill in."""
        with Vertical(classes="dialog"):
            yield Static(one_line(self._run), markup=False, classes="dialog-title")
            yield Static("name", classes="label")
            yield LineField(self._labels.name, placeholder="shown instead of the id", id="name")
            yield Static("tags", classes="label")
            yield LineField(" ".join(self._labels.tags), placeholder="words, apart by spaces", id="tags")
            yield Static("note", classes="label")
            yield LineField(self._labels.note, id="note")
            yield Static("tab next · enter saves · esc gives up", classes="dialog-hint")

    def on_input_submitted(self) -> None:
        """Enter in a line, once the keys before it are in it."""
        self.action_apply()

    def action_apply(self) -> None:
        """Gives the labels back."""
        name, tags, note = (
            self.query_one(f"#{field}", LineField).content.strip() for field in ("name", "tags", "note")
        )
        words = dict.fromkeys(word.lstrip("#") for word in tags.replace(",", " ").split())
        self.dismiss(replace(self._labels, name=name, tags=tuple(word for word in words if word), note=note))
