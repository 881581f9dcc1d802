"""The list that dialogs choose from."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import OptionList


class Options(OptionList):
    """As wide as the dialog and as high as its lines; j and k move the cursor too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
    ]
    DEFAULT_CSS = """
    Options { height: auto; padding: 0; margin-bottom: 1; }
    Options, Options:focus { border: none; background: $surface; }
    Options > .option-list--option { text-wrap: nowrap; text-overflow: ellipsis; }
    """
