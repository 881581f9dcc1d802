"""The line that filters the table of runs while one types."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from workbench.tui.widgets.search_line import SearchLine


class RunSearch(SearchLine):
    """Words that must be in a run's name, tags, note, data sets, model, method or status."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down", "leave", "Back to the runs", priority=True),
        Binding("escape", "clear", "Clear the filter", priority=True),
    ]

    def on_mount(self) -> None:
        """Says what can be typed."""
        self.query_one(Input).placeholder = "words of name, #tag, note, data set, model, status"
