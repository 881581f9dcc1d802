"""Edits the turns of a pair as the JSON that they are in the file, with every field that they have."""

from __future__ import annotations

import json
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from workbench.errors import WorkbenchError
from workbench.pairs.pair import TEXTS, Pair, from_row, to_row
from workbench.text import safe
from workbench.tui.background import background
from workbench.tui.dialogs.ask import ConfirmDialog
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import TextField


class EditJsonDialog(Dialog[Pair | None]):
    """Prompt, chosen and rejected as one JSON object; None where nothing is to be saved."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True),
        Binding("escape", "cancel", "Cancel", priority=True),
    ]
    DEFAULT_CSS = """
    EditJsonDialog {
        #json { width: 96%; max-width: 150; height: 94%; padding: 0 1; }
        TextField, TextField:focus { height: 1fr; border: none; }
        .wrong { color: $error; height: auto; max-height: 4; display: none; }
    }
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self._pair = pair
        row = to_row(pair)
        self._begun = json.dumps({name: row[name] for name in TEXTS}, ensure_ascii=False, indent=2)

    def compose(self) -> ComposeResult:
        """The JSON, and what is wrong with it."""
        with Vertical(id="json", classes="frame") as frame:
            frame.border_title = "Edit the turns as JSON"
            frame.border_subtitle = "^s save · esc cancel"
            yield TextField(self._begun)
            yield Static(markup=False, classes="wrong")

    def on_mount(self) -> None:
        """Begins at the top."""
        self.query_one(TextField).focus()

    def action_save(self) -> None:
        """Gives the edited pair back; where it is none, says why and stays."""
        try:
            pair = self._edited()
        except WorkbenchError as error:
            wrong = self.query_one(".wrong", Static)
            wrong.update(safe(f"✘ {error.message}"))
            wrong.display = True
            return
        self.dismiss(pair if pair != self._pair else None)

    @background("dialog", doing="giving the edit up", opens=True)
    async def action_cancel(self) -> None:
        """Closes, after a question where something was changed."""
        if self.query_one(TextField).content != self._begun:
            question = ConfirmDialog("Discard changes?", yes="Discard", no="Keep editing")
            if not await self.app.push_screen_wait(question):
                return
        self.dismiss(None)

    def _edited(self) -> Pair:
        """The pair with the turns that the JSON says; raises `WorkbenchError` where it is none."""
        try:
            value = json.loads(self.query_one(TextField).content)
        except (ValueError, RecursionError) as error:
            raise WorkbenchError("Not JSON", f"This is no JSON: {error}.", "Correct it.") from None
        if not isinstance(value, dict) or value.keys() != set(TEXTS):
            raise WorkbenchError("Not a pair", f"It needs {', '.join(TEXTS)}, and nothing else.", "Correct it.")
        pair = from_row(to_row(self._pair) | value, where="here")
        if pair.conversational != self._pair.conversational:
            raise WorkbenchError("Of another kind", "Plain text stays plain text, and turns stay turns.", "Correct it.")
        return pair
