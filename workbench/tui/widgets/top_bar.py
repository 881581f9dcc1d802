"""The bar above every screen: the three screens, what this one shows, and the state of the machine."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.reactive import reactive
from textual.widgets import Static

from workbench.text import one_line

_SCREENS = {"pairs": "1 Pairs", "runs": "2 Runs", "compare": "3 Compare"}


class _Tab(Static):
    """The name of a screen, to click on."""

    def __init__(self, mode: str, label: str, *, current: bool) -> None:
        super().__init__(label, markup=False, classes="-current" if current else "")
        self._mode = mode

    async def on_click(self) -> None:
        await self.run_action(f"app.mode('{self._mode}')")


class TopBar(Horizontal):
    """One line: tabs at the left, `context` after them, `status` at the right. Texts may be untrusted."""

    context: reactive[str] = reactive("")
    status: reactive[str] = reactive("")

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode

    def compose(self) -> ComposeResult:
        """Tabs, context, status."""
        for mode, label in _SCREENS.items():
            yield _Tab(mode, label, current=mode == self._mode)
        yield Static("", markup=False, id="context")
        yield Static("", markup=False, id="status")

    def watch_context(self, text: str) -> None:
        """Shows the new context."""
        if self.is_mounted:
            self.query_one("#context", Static).update(one_line(text))

    def watch_status(self, text: str) -> None:
        """Shows the new status."""
        if self.is_mounted:
            self.query_one("#status", Static).update(one_line(text))

    def on_mount(self) -> None:
        """Shows what was set before."""
        self.watch_context(self.context)
        self.watch_status(self.status)
