"""What the three screens share: the bar above, the keys below, and the way to the app."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from textual.app import App, ComposeResult
from textual.binding import ActiveBinding
from textual.dom import DOMNode
from textual.screen import Screen

from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from workbench.compare.scorers import Scorers
    from workbench.errors import WorkbenchError
    from workbench.pairs.pair import Pair
    from workbench.pairs.session import DataSetSession
    from workbench.workspace import Workspace


class Workbench(Protocol):
    """What the screens need of the app, which knows them and is not known to them."""

    workspace: Workspace
    slow: bool
    scorers: Scorers
    data_set: DataSetSession | None

    def show_error(self, error: WorkbenchError) -> None:
        """Shows what went wrong and what to do about it."""

    def tell_failure(self, error: Exception, doing: str) -> None:
        """Shows an error. `doing` says after "While " what was being done."""

    def tell(self, text: str) -> None:
        """A short notice; `text` may be untrusted."""

    async def compare(self, *, pair: Pair | None = None, run: str | None = None) -> None:
        """Opens the Compare screen on a pair, a run, or both."""

    async def watch_run(self, run: str) -> None:
        """Opens the Runs screen on the run with this id."""


def workbench_of(node: DOMNode) -> Workbench:
    """The app, as what it is."""
    return cast("Workbench", node.app)


class WorkbenchScreen(Screen[None]):
    """A screen with the top bar above `compose_body` and the bar of keys below it."""

    MODE: ClassVar[str]
    AUTO_FOCUS: ClassVar[str | None] = None

    @property
    def workbench(self) -> Workbench:
        """The app, as what it is."""
        return workbench_of(self)

    def compose(self) -> ComposeResult:
        """The frame; screens fill in `compose_body`."""
        yield TopBar(self.MODE)
        yield from self.compose_body()
        yield KeyBar()

    def compose_body(self) -> ComposeResult:
        """The widgets between the bars."""
        yield from ()

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """The keys of the moment, as the footer, the sheet and the palette show them.

        Those of a line that is typed in come first, then the screen's, its widgets' and the app's.
        """
        return dict(sorted(super().active_bindings.items(), key=lambda item: _place_in_footer(item[1])))

    @property
    def top_bar(self) -> TopBar:
        """The bar above: `top_bar.context` and `top_bar.status` are texts to set."""
        return self.query_one(TopBar)


def _place_in_footer(active: ActiveBinding) -> tuple[bool, bool, bool]:
    return isinstance(active.node, App), not active.binding.priority, not isinstance(active.node, Screen)
