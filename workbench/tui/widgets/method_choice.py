"""The list of methods, which says of each when to choose it."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Select
from textual.widgets._select import SelectCurrent

from workbench.methods import METHODS

_NAME = 8


class MethodChoice(Select[str]):
    """The methods by their names; open, with a line each. The list is wider than the field."""

    DEFAULT_CSS = """
    MethodChoice > SelectOverlay { width: 70; constrain: inside inside; }
    """

    def __init__(self, method: str, *, id: str) -> None:  # noqa: A002
        lines = [
            (Content.assemble(f"{name:<{_NAME}}", (each.when, "$secondary")), name) for name, each in METHODS.items()
        ]
        super().__init__(lines, value=method, allow_blank=False, compact=True, id=id)

    def on_select_changed(self) -> None:
        """Of the chosen one the name is enough: its line stands below."""
        self.query_one(SelectCurrent).update(Content(str(self.value)))
