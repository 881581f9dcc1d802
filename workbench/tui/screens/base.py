"""What the three screens share: the bar above, the keys below, and the way to the app."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer

from workbench.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from workbench.tui.app import WorkbenchApp


class WorkbenchScreen(Screen[None]):
    """A screen with the top bar above `compose_body` and the footer below it."""

    MODE: ClassVar[str]
    AUTO_FOCUS: ClassVar[str | None] = None

    @property
    def workbench(self) -> WorkbenchApp:
        """The app, as what it is."""
        return cast("WorkbenchApp", self.app)

    def compose(self) -> ComposeResult:
        """The frame; screens fill in `compose_body`."""
        yield TopBar(self.MODE)
        yield from self.compose_body()
        yield Footer(compact=True, show_command_palette=False)

    def compose_body(self) -> ComposeResult:
        """The widgets between the bars."""
        yield from ()

    @property
    def top_bar(self) -> TopBar:
        """The bar above: `top_bar.context` and `top_bar.status` are texts to set."""
        return self.query_one(TopBar)
