"""Every screen and dialog outlives every size and every storm of them, and keeps the focus."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from textual.events import Resize
from textual.geometry import Size
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widget import Widget

from tests.tui.every_dialog import SCREENS, dialogs, furnished, open_dialog
from workbench.tui.app import WorkbenchApp

SMALLEST, LARGEST = (60, 20), (300, 100)
_ODD = [LARGEST, SMALLEST, (300, 20), (60, 100)]


async def storm(pilot: Pilot[None], sizes: list[tuple[int, int]]) -> None:
    """Resizes without waiting in between, comes to rest at the smallest size, and asserts that all is in sight."""
    screen = pilot.app.screen
    focused = screen.focused
    for size in sizes:
        pilot.app.post_message(Resize(Size(*size), Size(*size)))
    await pilot.resize_terminal(*SMALLEST)
    await pilot.pause()
    assert pilot.app.screen is screen
    assert screen.focused is focused
    assert screen.size == SMALLEST
    for box in screen.query_children(Widget) if isinstance(screen, ModalScreen) else []:
        if box.display and box.styles.overlay != "screen":
            assert screen.region.contains_region(box.region), (screen, box, box.region)
    assert focused is None or screen.region.overlaps(focused.region), (screen, focused, focused.region)


async def _every(tmp_path: Path, storms: list[list[tuple[int, int]]]) -> None:
    app = WorkbenchApp(furnished(tmp_path))
    async with app.run_test(size=(120, 40)) as pilot:
        for come_to in SCREENS.values():
            await come_to(pilot)
            for sizes in storms:
                await storm(pilot, sizes)
            await pilot.resize_terminal(120, 40)
        while len(app.screen_stack) > 1:
            await app.pop_screen()
        await SCREENS["pairs"](pilot)
        for make in dialogs(app).values():
            await open_dialog(pilot, make)
            for sizes in storms:
                await storm(pilot, sizes)
            await app.pop_screen()


async def test_every_dialog_outlives_a_storm_of_sizes(tmp_path: Path) -> None:
    await _every(tmp_path, [_ODD])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_every_dialog_outlives_storms_at_random(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    await _every(tmp_path, [[(rng.randint(60, 300), rng.randint(20, 100)) for _ in range(12)] for _ in range(3)])
