"""The dialog that asks for one of several things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from workbench.text import one_line
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.options import Options


class ChooseDialog(Dialog[str | None]):
    """A list of (name, remark) to pick a name from; None where it is given up. All texts may be untrusted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Give up"),
    ]
    DEFAULT_CSS = """
    ChooseDialog Options { max-height: 16; }
    ChooseDialog .dialog-hint { margin-bottom: 0; }
    """

    def __init__(self, question: str, choices: Sequence[tuple[str, str]], *, current: str | None = None) -> None:
        super().__init__()
        self._question, self._choices, self._current = question, choices, current

    def compose(self) -> ComposeResult:
        """Question and list."""
        width = max((len(one_line(name)) for name, _ in self._choices), default=0)
        lines = [
            Content.assemble(f"{one_line(name):<{width}}", "   ", (one_line(remark), "$secondary"))
            for name, remark in self._choices
        ]
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False, classes="dialog-title")
            yield Options(*lines, compact=True)
            yield Static("enter opens · esc gives up", classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins at what is open now."""
        names = [name for name, _ in self._choices]
        self.query_one(OptionList).highlighted = names.index(self._current) if self._current in names else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answers."""
        self.dismiss(self._choices[event.option_index][0])
