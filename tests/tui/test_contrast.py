"""Whatever theme is chosen, everything on every screen and in every dialog can be read (WCAG 2.2, level AA)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.color import Color
from textual.geometry import Region
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.theme import BUILTIN_THEMES, Theme
from textual.widget import Widget

from tests.tui.every_dialog import SCREENS, dialogs, furnished, open_dialog
from tests.tui.runs_screen import until
from workbench.tui.app import WorkbenchApp
from workbench.tui.theme import DARK, DRAWING, GROUNDS, LIGHT, TEXT, TEXT_COLORS, contrast, grounds_of, legible
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.line_chart import COLORS, palette_of

_RULES = " ─│┄"
"""Lines between parts, and what a bar is not filled with: the same is told by room and by a number."""
OWN = [DARK, LIGHT]
THEIRS = [theme for theme in BUILTIN_THEMES.values() if not theme.ansi]


def _variables(theme: Theme) -> dict[str, str]:
    return {**theme.to_color_system().generate(), **theme.variables}


def test_contrast_is_that_of_the_definition() -> None:
    white, black, gray = Color(255, 255, 255), Color(0, 0, 0), Color(118, 118, 118)
    assert contrast(white, black) == contrast(black, white) == pytest.approx(21)
    assert contrast(white, white) == 1
    # The lightest gray that may be text on white, by WCAG's own examples.
    assert contrast(gray, white) == pytest.approx(4.54, abs=0.005)
    assert contrast(Color(119, 119, 119), white) < TEXT


@pytest.mark.parametrize("theme", [*OWN, *map(legible, THEIRS)], ids=lambda theme: theme.name)
def test_every_colour_can_be_read_on_every_ground(theme: Theme) -> None:
    variables = _variables(theme)
    grounds = [*GROUNDS, "panel with the focus"]
    for ground, under in zip(grounds, grounds_of(variables), strict=True):
        names = [*TEXT_COLORS, *(["block-cursor-foreground"] if ground.startswith("block") else [])]
        for name in names:
            assert contrast(Color.parse(variables[name]), under) >= TEXT - 0.05, (name, ground)
    bar = Color.parse(variables["footer-background"])
    for name in ("footer-key-foreground", "footer-description-foreground"):
        assert contrast(Color.parse(variables[name]), bar) >= TEXT - 0.05, name
    palette = palette_of(variables)
    background = Color.parse(variables["background"])
    assert contrast(Color.parse(variables["primary"]), background) >= TEXT - 0.05  # a button's ground, and its text
    assert contrast(Color(*palette["axis"]), background) >= TEXT - 0.05
    for name in COLORS:
        assert contrast(Color(*palette[f"dim {name}"]), background) >= DRAWING - 0.05


def test_a_cursor_is_told_from_the_rest_in_every_theme() -> None:
    for theme in (*OWN, *map(legible, THEIRS)):
        variables = _variables(theme)
        ground, cursor = (Color.parse(variables[name]) for name in ("background", "block-cursor-background"))
        assert 1.1 < contrast(ground, cursor) < 1.6, theme.name


async def _look(pilot: Pilot[None]) -> None:
    """Asserts that all that is on the screen can be read, once it is drawn in the colours of the theme."""
    found: list[str] = []

    def holds() -> bool:
        found[:] = _unreadable(pilot)
        return not found

    try:
        await until(pilot, holds)
    except AssertionError:
        pytest.fail("\n".join((f"{pilot.app.screen} in {pilot.app.theme}", *found)))


def _unreadable(pilot: Pilot[None]) -> list[str]:
    screen = pilot.app.screen
    strips = screen._compositor.render_strips()
    # Behind a dialog the screen is dimmed and takes no keys; neither does what is switched off.
    parts = screen.query_children(Widget) if isinstance(screen, ModalScreen) else [screen]
    region = Region.from_union([part.region for part in parts if part.display])
    idle = [each.region for each in screen.query(Widget) if each.is_on_screen and _idle(each)]
    found = []
    for x, y, part in _parts(strips, region):
        style, text = part.style, part.text
        if style is None or not text.strip(_RULES) or any(key.startswith("@mouse") for key in style.meta):
            continue
        if any(each.contains(x, y) for each in idle):
            continue
        assert style.color is not None
        assert style.bgcolor is not None
        colors = [Color.from_rich_color(each, pilot.app.ansi_theme) for each in (style.color, style.bgcolor)]
        least = TEXT if any(letter.isalnum() for letter in text) else DRAWING
        if (measured := contrast(*colors)) < least - 0.05:
            found.append(f"{measured:.2f} {colors[0].hex} on {colors[1].hex}: {text.strip()}")
    return found


def _idle(widget: Widget) -> bool:
    return widget.is_disabled or isinstance(widget, KeyBar)  # Its colours are tried above; keys may be off.


def _parts(strips: list[Strip], region: Region) -> Iterator[tuple[int, int, Any]]:
    for y in range(max(region.y, 0), min(region.bottom, len(strips))):
        x = region.x
        for part in strips[y].crop(region.x, region.right):
            yield x, y, part
            x += part.cell_length


SLOW = [pytest.param(theme.name, marks=pytest.mark.slow) for theme in (DARK, *THEIRS)]


@pytest.mark.parametrize("theme", [LIGHT.name, *SLOW])
async def test_all_that_is_shown_can_be_read(tmp_path: Path, theme: str) -> None:
    app = WorkbenchApp(furnished(tmp_path))
    app.theme = theme
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        for come_to in SCREENS.values():
            await come_to(pilot)
            await _look(pilot)
        while len(app.screen_stack) > 1:
            await app.pop_screen()
        await SCREENS["pairs"](pilot)
        app.tell("A notice")
        await _look(pilot)
        for make in dialogs(app).values():
            await open_dialog(pilot, make)
            await _look(pilot)
            await app.pop_screen()
