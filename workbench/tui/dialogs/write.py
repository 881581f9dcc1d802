"""The dialog in which a prompt or a response is typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from workbench.text import safe
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import TextField


class WriteDialog(Dialog[tuple[str, ...] | None]):
    """Labelled texts to edit; the last one has the focus, all of it selected. None where it is given up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+enter,ctrl+s", "apply", "Apply", priority=True),
        Binding("ctrl+j,shift+enter", "new_line", "New line", priority=True),
        Binding("escape", "dismiss(None)", "Give up", priority=True),
    ]
    DEFAULT_CSS = """
    WriteDialog .dialog { width: 94; }
    WriteDialog .label { color: $secondary; }
    WriteDialog TextField, WriteDialog TextField:focus {
        height: auto; min-height: 1; max-height: 12; padding: 0 1; margin-bottom: 1;
        border: none; background: $panel 50%;
    }
    WriteDialog TextField:focus { background: $panel; }
    WriteDialog .dialog-hint { margin-bottom: 0; }
    """

    def __init__(self, title: str, fields: Sequence[tuple[str, str]], *, note: str = "") -> None:
        """`fields` are (label, content); contents may be untrusted."""
        super().__init__()
        self._title, self._fields, self._note = title, fields, note

    def compose(self) -> ComposeResult:
        """Title, fields, what the keys do."""
        with Vertical(classes="dialog"):
            yield Static(self._title, markup=False, classes="dialog-title")
            for label, content in self._fields:
                if label:
                    yield Static(label, markup=False, classes="label")
                yield TextField(content)
            if self._note:
                yield Static(safe(self._note), markup=False, classes="dialog-hint")
            hint = "enter applies · ctrl+j new line · esc gives up"
            if len(self._fields) > 1:
                hint = hint.replace(" · esc", " · tab other field · esc")
            yield Static(hint, markup=False, classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins in the last field."""
        field = list(self.query(TextField))[-1]
        field.focus()
        field.select_all()

    def action_apply(self) -> None:
        """Gives the texts back; an empty last one is no answer."""
        # After the keys that wait in the field: this one has overtaken them.
        (self.focused or self).call_later(self._apply)

    def _apply(self) -> None:
        texts = tuple(field.content for field in self.query(TextField))
        if texts[-1].strip():
            self.dismiss(texts)
        else:
            self.notify("Type something first.", severity="warning", markup=False)

    def action_new_line(self) -> None:
        """Breaks the line."""
        if isinstance(self.focused, TextField):
            self.focused.insert("\n")
