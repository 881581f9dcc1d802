"""A small app that shows one dialog and keeps its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.app import App
from textual.screen import ModalScreen

import workbench.tui.app
from workbench.tui.theme import DARK

NOTHING = object()


class DialogApp(App[None]):
    """Shows `dialog`; `answer` is what it was dismissed with."""

    CSS_PATH = Path(workbench.tui.app.__file__).with_name("app.tcss")

    def __init__(self, dialog: ModalScreen[Any]) -> None:
        super().__init__()
        self.dialog = dialog
        self.answer: Any = NOTHING

    def on_mount(self) -> None:
        self.register_theme(DARK)
        self.theme = DARK.name
        self.push_screen(self.dialog, self._keep)

    def _keep(self, answer: Any) -> None:
        self.answer = answer
