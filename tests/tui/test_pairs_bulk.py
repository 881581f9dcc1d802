"""The dialog that changes all that the filter shows."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tests.tui.dialogs import NOTHING, DialogApp
from workbench.pairs.session import BulkChange
from workbench.tui.dialogs.bulk import BulkDialog
from workbench.tui.widgets.fields import LineField

TAGS = ["card", "late", "[bold]\x1b[31m"]


def _dialog(shown: int = 1234) -> BulkDialog:
    return BulkDialog(shown, 160_800, "status:new len>2", TAGS)


def _outcome(app: DialogApp) -> str:
    return str(app.screen.query_one("#outcome", Static).render())


@pytest.mark.parametrize(
    ("keys", "change"),
    [
        (("j",), BulkChange("status", "accepted")),
        (("j",) * 3, BulkChange("status", "flagged")),
        (("j",) * 5 + ("enter", "l", "tab"), BulkChange("tag", "late")),
        (("j",) * 5 + ("enter", "n", "e", "w"), BulkChange("tag", "new")),
        (("j",) * 6 + ("enter", "tab"), BulkChange("untag", "card")),
        (("j",) * 7 + ("enter", "j", "k"), BulkChange("note", "jk")),
        (("j",) * 9, BulkChange("split", "holdout")),
        (("j",) * 10, BulkChange("split")),
        (("up", "up"), BulkChange("swap")),
        (("up",), BulkChange("remove")),
    ],
)
async def test_each_change(keys: tuple[str, ...], change: BulkChange) -> None:
    app = DialogApp(_dialog())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys)
        assert "1,234 pairs will" in _outcome(app)
        assert app.answer is NOTHING
        await pilot.press("enter")
    assert app.answer == change
    assert change.description


async def test_nothing_is_chosen_at_first() -> None:
    app = DialogApp(_dialog())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter", "enter")
        assert app.answer is NOTHING
        assert "Choose" in _outcome(app)


async def test_all_pairs_are_changed_only_after_a_question() -> None:
    app = DialogApp(BulkDialog(1234, 1234, "", TAGS))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "enter", "enter")
        assert app.answer is NOTHING
        await pilot.press("enter", "y")
    assert app.answer == BulkChange("status", "accepted")


async def test_a_click_chooses_and_does_nothing_yet() -> None:
    app = DialogApp(_dialog(1))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.click("#offers", offset=(3, 11))
        assert app.answer is NOTHING
        assert "1 pair will no longer be in the file" in _outcome(app)


async def test_escape_goes_back_and_then_gives_up() -> None:
    app = DialogApp(_dialog())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"jjjjj", "enter", "enter")
        assert app.answer is NOTHING
        await pilot.press("escape", "escape")
    assert app.answer is None


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
def test_the_picture(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(DialogApp(_dialog()), press=["j", "j"], terminal_size=size)


def test_the_picture_of_tags(snap_compare: Any) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await pilot.press(*"jjjjj", "enter")
        pilot.app.screen.query_one(LineField).cursor_blink = False
        await pilot.pause(0.1)

    assert snap_compare(DialogApp(_dialog()), run_before=run, terminal_size=(80, 24))
