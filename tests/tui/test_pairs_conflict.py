"""The dialog that decides between two versions of a pair."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from textual.widgets import Static

from tests.tui.dialogs import DialogApp
from tests.tui.pairs_data import make_pair
from workbench.pairs.merge import Conflict
from workbench.pairs.pair import Message
from workbench.tui.dialogs.conflict import ConflictDialog

BASE = make_pair(1)
MINE = replace(
    BASE,
    chosen=(
        Message("assistant", "I'm very sorry about that. Your order was declined because of a rule. I can fix it."),
    ),
    note="ask \x1b[31m Ann [/]",
)
CONFLICT = Conflict(BASE.id, ("chosen", "note", "split", "tags"), MINE, replace(BASE, split="train"), BASE)


def _text(app: DialogApp) -> str:
    box = app.screen.query_one("#box")
    texts = (str(each.render()) for each in app.screen.query(Static))
    return "\n".join([str(box.border_title), *texts, str(box.border_subtitle)])


@pytest.mark.parametrize(("key", "answer"), [("m", "mine"), ("t", "theirs"), ("escape", None)])
async def test_the_answers(key: str, answer: str | None) -> None:
    app = DialogApp(ConflictDialog(CONFLICT, 2))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", key)
    assert app.answer == answer


async def test_what_differs_is_marked() -> None:
    app = DialogApp(ConflictDialog(CONFLICT, 2))
    async with app.run_test(size=(80, 24)):
        text = _text(app)
        assert "2 more to decide" in text
        assert "I'm ◂very sorry" in text
        assert "◂rule" in text
        assert "▸check" in text
        assert "by prompt" in text
        assert "\x1b" not in text


@pytest.mark.parametrize("mine", [True, False])
async def test_a_pair_that_one_side_took_out(mine: bool) -> None:
    conflict = Conflict("a", (), BASE if mine else None, None if mine else BASE, None)
    app = DialogApp(ConflictDialog(conflict, 0))
    async with app.run_test(size=(80, 24)):
        text = _text(app)
        assert ("The other program took it out" in text) is mine
        assert ("m takes it out, as you did" in text) is not mine
        assert "(taken out)" in text
        assert "more to decide" not in text


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
def test_the_picture(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(DialogApp(ConflictDialog(CONFLICT, 2)), terminal_size=size)
