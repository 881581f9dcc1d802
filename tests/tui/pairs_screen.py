"""The Pairs screen as a user sees it, for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot
from textual.widgets import Static

from workbench.compare.scorers import Scorers
from workbench.pairs.pair import Pair, to_line
from workbench.pairs.store import PairStore, load_pairs
from workbench.tui.app import WorkbenchApp
from workbench.tui.dialogs.base import Dialog
from workbench.tui.screens.pairs import PairsScreen
from workbench.tui.widgets.pair_table import PairTable
from workbench.tui.widgets.pair_view import PairText
from workbench.workspace import Workspace


class Screen:
    """The Pairs screen as a user sees it."""

    def __init__(self, pilot: Pilot[None], workspace: Workspace) -> None:
        self.pilot, self.workspace = pilot, workspace
        self.pairs_screen = next(each for each in pilot.app.screen_stack if isinstance(each, PairsScreen))

    @property
    def table(self) -> PairTable:
        return self.pairs_screen.query_one(PairTable)

    @property
    def store(self) -> PairStore:
        data_set = self.pairs_screen.data_set
        assert data_set is not None
        return data_set.store

    def row(self, line: int) -> str:
        self.table.render_lines(self.table.size.region)
        return self.table.render_line(line + 1 - round(self.table.scroll_y)).text

    def numbers(self) -> list[int]:
        """The places in the file of the pairs that are shown, from 1."""
        rows = self.pairs_screen.browser.rows
        return [] if rows is None else [int(row) + 1 for row in rows]

    def detail(self) -> str:
        text = self.pairs_screen.query_one(PairText)
        return "\n".join(strip.text.rstrip() for strip in text.render_lines(text.size.region))

    def preference(self) -> str:
        return str(self.pairs_screen.query_one("_Preference").render())

    def said(self, selector: str) -> str:
        return str(self.pairs_screen.query_one(selector, Static).render())

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def type(self, text: str) -> None:
        await self.press(*("space" if letter == " " else letter for letter in text))

    def told(self) -> str:
        """The notices of this session."""
        return "\n".join(str(each.message) for each in self.pilot.app._notifications)

    async def settle(self) -> None:
        """Waits until all is saved and all workers are done, but for the one that waits for an open dialog."""
        quiet = 0
        for _ in range(400):
            await self.pilot.pause()
            dialog = self.pilot.app.screen
            open_still = isinstance(dialog, Dialog) and not dialog.answered
            waits = {"dialog", "default"} if open_still else {"default"}
            if any(not each.is_finished and each.group not in waits for each in self.pilot.app.workers):
                quiet = 0
                await asyncio.sleep(0.01)
            elif quiet:
                return
            else:
                # A dialog that was just answered is gone only after another round of messages.
                quiet = 1
        raise TimeoutError("the screen did not come to rest")

    def on_disk(self, name: str = "support") -> list[Pair]:
        return load_pairs(self.workspace.pairs_file(name))[0]


@asynccontextmanager
async def opened(
    workspace: Workspace, size: tuple[int, int] = (120, 40), scorers: Scorers | None = None
) -> AsyncIterator[Screen]:
    app = WorkbenchApp(workspace)
    if scorers is not None:
        app.scorers = scorers
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        screen = Screen(pilot, workspace)
        await screen.settle()
        yield screen


def write_from_outside(workspace: Workspace, pairs: list[Pair]) -> None:
    """As another program does, which knows nothing of journals."""
    workspace.pairs_file("support").write_text("".join(map(to_line, pairs)))
