"""Edits the turns of a pair, and what the chat template is given with them, as JSON with every field."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from workbench.errors import WorkbenchError
from workbench.pairs.pair import (
    TEMPLATE_COLUMNS,
    TEXTS,
    Pair,
    column_text,
    from_row,
    template_arguments,
    to_line,
    to_row,
    with_values,
)
from workbench.text import safe
from workbench.tui.background import background
from workbench.tui.dialogs.ask import ConfirmDialog
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import TextField


class EditJsonDialog(Dialog[Pair | None]):
    """Prompt, chosen and rejected as one JSON object, beside them the columns that the chat template is given (tools,
    chat_template_kwargs), as values also where the file has them as text; None where nothing is to be saved."""

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
        self._given = {name: _value(row[name]) for name in TEMPLATE_COLUMNS if row.get(name) is not None}
        shown = {name: row[name] for name in TEXTS} | self._given
        self._begun = json.dumps(shown, ensure_ascii=False, indent=2)

    def compose(self) -> ComposeResult:
        """The JSON, and what is wrong with it."""
        with Vertical(id="json", classes="frame") as frame:
            frame.border_title = "Edit turns and tools as JSON"
            frame.border_subtitle = "tools and chat_template_kwargs can be added · ^s save · esc cancel"
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
        # By their JSON: 1 and true are equal, and mean two things to a template.
        self.dismiss(pair if to_line(pair) != to_line(self._pair) else None)

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
        known = {*TEXTS, *TEMPLATE_COLUMNS}
        if not isinstance(value, dict) or not set(TEXTS) <= value.keys() <= known:
            beside = " and ".join(TEMPLATE_COLUMNS)
            raise WorkbenchError(
                "Not a pair", f"It needs {', '.join(TEXTS)}; beside them only {beside}.", "Correct it."
            )
        pair = from_row(to_row(self._pair) | {name: value[name] for name in TEXTS}, where="here")
        if pair.conversational != self._pair.conversational:
            raise WorkbenchError("Of another kind", "Plain text stays plain text, and turns stay turns.", "Correct it.")
        template_arguments(value)
        return with_values(pair, {name: self._column(name, value.get(name)) for name in TEMPLATE_COLUMNS})

    def _column(self, name: str, value: Any) -> str:
        """`column_text` of a column that is to have a value: as it was where that is the same, text where it was."""
        if value is None:
            return ""
        if column_text({name: value}, name) == column_text(self._given, name):
            return column_text(self._pair.extra, name)
        as_text = isinstance(self._pair.extra.get(name), str)
        return column_text({name: json.dumps(value, ensure_ascii=False) if as_text else value}, name)


def _value(column: Any) -> Any:
    """A column's value, also where it is JSON as text."""
    if not isinstance(column, str):
        return column
    try:
        return json.loads(column)
    except (ValueError, RecursionError):
        return column
