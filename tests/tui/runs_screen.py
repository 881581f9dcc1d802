"""The Runs screen for tests: on a workspace of real folders, with workers that are really there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input, Select

from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.runs import RunsScreen
from workbench.tui.widgets.line_chart import Chart
from workbench.workspace import Workspace


@asynccontextmanager
async def runs_screen(
    root: Path, size: tuple[int, int] = (120, 40), watch: str | None = None, *, slow: bool = False
) -> AsyncIterator[Pilot[None]]:
    app = WorkbenchApp(Workspace.find(root), watch=watch or "none", slow=slow)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        yield pilot


async def until(pilot: Pilot[None], holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, shown(pilot)
        await pilot.pause(0.1)


def shown(pilot: Pilot[None]) -> str:
    """What is on the screen, line by line."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


async def shows(pilot: Pilot[None], *texts: str) -> str:
    seen = ""

    def holds() -> bool:
        nonlocal seen
        seen = shown(pilot)  # It draws the whole screen: once a look.
        return all(text in seen for text in texts)

    await until(pilot, holds)
    return seen


def put(pilot: Pilot[None], **values: str) -> None:
    """Types or chooses values in the form."""
    for name, value in values.items():
        field = pilot.app.screen.query_one(f"#{name}")
        assert isinstance(field, Input | Select)
        field.value = value


def told(pilot: Pilot[None]) -> list[str]:
    """The notices so far that are still there."""
    return [each.message for each in pilot.app._notifications]


def fits(chart: Chart) -> bool:
    """Whether what is drawn is drawn for the chart's size."""
    width, height = chart.canvas_size
    return len(chart.canvas) == height and max(line.cell_length for line in chart.canvas) <= width


async def drawn(pilot: Pilot[None]) -> list[Chart]:
    """The charts in sight, once they are drawn for their sizes."""
    screen = pilot.app.screen
    assert isinstance(screen, RunsScreen)
    await until(pilot, lambda: bool(screen.view.charts.shown) and all(map(fits, screen.view.charts.shown)))
    return screen.view.charts.shown
