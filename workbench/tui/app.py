"""The application: three screens over one workspace, and what they share."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen
from textual.theme import Theme

from workbench.compare.scorers import Scorers
from workbench.console import note, show_traceback
from workbench.pairs.pair import Pair
from workbench.text import one_line
from workbench.tui.dialogs.keys import KeysDialog, own_keys
from workbench.tui.steady import SteadyApp
from workbench.tui.theme import DARK, LIGHT, legible, told_without_colors
from workbench.tui.unforeseen import write_traceback
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.pairs.session import DataSetSession

_PICTURE = "Screenshot"
_M_ARENA_MAX = -8
"""The number that malloc.h gives this setting."""


def _pairs_screen() -> Screen[Any]:
    from workbench.tui.screens.pairs import PairsScreen

    return PairsScreen()


def _runs_screen() -> Screen[Any]:
    from workbench.tui.screens.runs import RunsScreen

    return RunsScreen()


def _compare_screen() -> Screen[Any]:
    from workbench.tui.screens.compare import CompareScreen

    return CompareScreen()


class WorkbenchApp(SteadyApp):
    """The workbench over one workspace. Screens are imported when first shown, so that the first one comes fast."""

    TITLE = "Alignment Workbench"
    CSS_PATH = "app.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "pairs": _pairs_screen,
        "runs": _runs_screen,
        "compare": _compare_screen,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "mode('pairs')", "Pairs", show=False),
        Binding("2", "mode('runs')", "Runs", show=False),
        Binding("3", "mode('compare')", "Compare", show=False),
        Binding("question_mark", "keys", "Keys", key_display="?"),
        Binding("q", "quit", "Quit", show=False),
    ]

    def __init__(self, workspace: Workspace, *, slow: bool = False, watch: str | None = None) -> None:
        """`slow` redraws less, for slow links; `watch` is the id of a run to open at once."""
        self._legible: dict[str, Theme] = {}
        self._few_colors = False
        super().__init__(workspace.errors)
        self._few_colors = self.no_color or self.console.color_system not in ("256", "truecolor")
        self.workspace = workspace
        self.slow = slow
        self.scorers = Scorers()
        self.data_set: DataSetSession | None = None
        """The data set that the Pairs screen has open: nobody else may write to its file."""
        self._watch = watch
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        # Set before anything is styled: a theme that changes has all styles parsed again.
        self.set_reactive(WorkbenchApp.theme, DARK.name)

    async def on_mount(self) -> None:
        """Shows the first screen."""
        if self._watch is not None:
            await self.watch_run(self._watch)
        else:
            await self.switch_mode("pairs")

    async def on_unmount(self) -> None:
        """Ends the scorer and has the open data set saved."""
        await self.scorers.close()
        if self.data_set is not None:
            # What cannot be saved now is in the journal, and is told when the data set is next opened.
            self.data_set.close()

    def on_ready(self) -> None:
        """Lets garbage be collected, which the command line put off until the first screen is there.

        What is there by now stays, so it is not looked at again: Python puts a full look off until there is a quarter
        as much that is new, which of the half a million objects of a start would be tens of megabytes.
        """
        if not gc.isenabled():
            gc.freeze()
            gc.enable()

    def get_theme(self, theme_name: str) -> Theme | None:
        """The theme with this name, its colours such that our widgets can be read."""
        theme = super().get_theme(theme_name)
        if theme is None or theme.ansi:
            return theme  # What a terminal's own colours look like is the terminal's business.
        if theme.name not in self._legible:
            theme = theme if theme in (DARK, LIGHT) else legible(theme)
            self._legible[theme.name] = told_without_colors(theme) if self._few_colors else theme
        return self._legible[theme.name]

    def get_driver_class(self) -> type[Driver]:
        """Textual's choice, but for a terminal, which may vanish."""
        chosen = super().get_driver_class()
        if chosen.__name__ != "LinuxDriver":
            return chosen
        from workbench.tui.terminal import TerminalDriver

        return TerminalDriver

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything a key does, for the command palette, before Textual's own commands."""
        for active in own_keys(screen):
            if active.enabled:
                binding, node = active.binding, active.node
                yield SystemCommand(
                    binding.description,
                    active.tooltip or f"Key: {self.get_key_display(binding)}",
                    lambda action=binding.action, node=node: self.call_later(self.run_action, action, node),
                )
        # Textual's own saves to the user's downloads, which the far end of an SSH connection does not have.
        yield from (each for each in super().get_system_commands(screen) if each.title != _PICTURE)
        about = f"Save a picture of this screen under {self.workspace.views.name}/"
        # Once the palette is gone.
        yield SystemCommand(_PICTURE, about, lambda: self.set_timer(0.1, self.save_picture))

    def save_picture(self) -> None:
        """Saves a picture of the screen in the workspace."""
        path = self.workspace.save_view(self.current_mode, {".svg": self.export_screenshot()})
        self.tell(f"Saved {path.parent.name}/{path.name}.svg")

    async def action_mode(self, mode: str) -> None:
        """Switches to the screen `mode`: pairs, runs or compare."""
        if mode != self.current_mode:
            await self.switch_mode(mode)

    async def action_keys(self) -> None:
        """Shows what every key of this screen does."""
        await self.push_screen(KeysDialog(self.screen))

    async def compare(self, *, pair: Pair | None = None, run: str | None = None) -> None:
        """Opens the Compare screen on a pair, a run, or both."""
        from workbench.tui.screens.compare import CompareScreen

        await self.switch_mode("compare")
        screen = self.get_screen_stack("compare")[0]
        if isinstance(screen, CompareScreen):
            screen.open(pair, run)

    async def watch_run(self, run: str) -> None:
        """Opens the Runs screen on the run with this id."""
        from workbench.tui.screens.runs import RunsScreen

        await self.switch_mode("runs")
        (screen, *_) = self.get_screen_stack("runs")
        if isinstance(screen, RunsScreen):
            screen.show_run(run)

    def tell(self, text: str) -> None:
        """A short notice that goes away by itself, and makes the one before go away; `text` may be untrusted."""
        self.clear_notifications()
        self.notify(one_line(text), markup=False, timeout=4)


def _share_one_heap() -> None:
    """Has all threads take memory from one heap.

    The GNU C library gives each thread a heap of its own. What a screen takes in one and lets go in another leaves
    gaps in each, which come to megabytes an hour. One thread of Python runs at a time, so none waits for the heap.
    """
    with contextlib.suppress(OSError, AttributeError):  # Another C library has no such setting.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def run(workspace: Workspace, *, slow: bool = False, watch: str | None = None, debug: bool = False) -> int:
    """Runs the screens until the user quits. Returns the exit status: not 0 where an error ended them.

    Where the traceback is then is said on standard error; with `debug` it is printed there as well.
    """
    _share_one_heap()
    app = WorkbenchApp(workspace, slow=slow, watch=watch)
    app.run()
    if app.fatal is None:
        return app.return_code or 0
    path = write_traceback(workspace.errors, app.fatal, "running the screens")
    if debug:
        show_traceback(app.fatal)
    note(f"✘ The screens ended through {type(app.fatal).__name__}: {one_line(str(app.fatal))}")
    note(f"  Its traceback: {path or 'no disk took it'}")
    return 1
