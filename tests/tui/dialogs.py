"""A small app that shows one dialog and keeps its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import ModalScreen

import workbench.tui.app
from workbench.tui.steady import SteadyApp
from workbench.tui.theme import DARK

NOTHING = object()


class DialogApp(SteadyApp):
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


async def at_once(pilot: Pilot[None], *keys: str) -> None:
    """All keys in one go, as a paste, a slow link or a fast hand sends them."""
    driver = pilot.app._driver
    assert driver is not None
    for key in keys:
        named = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
        event = events.Key(named, key if len(key) == 1 else None)
        event.set_sender(pilot.app)
        driver.send_message(event)
    await pilot.pause(0.1)
    app = pilot.app
    assert isinstance(app, SteadyApp)
    while app._running and (app._held or not app._settled()):
        await pilot.pause(0.02)
