"""Pictures of the dialog that drafts answers: with drafts on their way, and ranked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from tests.tui.dialogs import DialogApp
from tests.tui.pairs_data import make_pair
from workbench.behaviours.reading import KnownBehaviours
from workbench.compare.client import ScorerClient
from workbench.compare.messages import Column, Generated, Generation, TextChunk
from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import Drafter
from workbench.tui.dialogs.draft import DraftDialog

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
TEXTS = (
    "Not our problem. Your card was declined because of a rule that you could have read about.",
    "I'm sorry about that. Your card was declined because of a check. It takes a minute to set right.",
    "Read the \x1b[31mterms[/]. 日本 " * 6,
)


class _Quiet(DraftDialog):
    """The dialog with nobody behind it."""

    def _draft(self) -> None:  # type: ignore[override]
        """Asks nothing."""


def _app() -> DialogApp:
    drafter = Drafter(Base(), Column(name="support-tone-dpo", adapter="x"), "dpo · finished at step 58")
    return DialogApp(_Quiet(make_pair(10), [drafter], lambda _: ScorerClient("tiny"), lambda _: KnownBehaviours({})))


def _dialog(app: App[Any]) -> DraftDialog:
    assert isinstance(app.screen, DraftDialog)
    return app.screen


@SIZES
def test_drafts_on_their_way(snap_compare: Any, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await pilot.pause()
        session = _dialog(pilot.app).session
        session.coming, session.waiting = [""] * 8, True
        for number in range(8):
            session._hear(TextChunk(id=1, column=0, sample=number, text=TEXTS[number % 3][: 20 + 9 * number]))
        session._gathered()
        await pilot.pause()

    assert snap_compare(_app(), terminal_size=size, run_before=run)


@SIZES
@pytest.mark.parametrize("making", ["one", "each"])
def test_drafts_ranked(snap_compare: Any, size: tuple[int, int], making: str) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await pilot.pause()
        session = _dialog(pilot.app).session
        drafts = [TEXTS[0], TEXTS[0], TEXTS[1], TEXTS[2]]
        whole = [
            Generation(name="support-tone-dpo", text=text, tokens=9, ended=number < 3)
            for number, text in enumerate(drafts)
        ]
        session.came = session._with_drafts(Generated(id=1, columns=whole), [("courteous",)] * 5)
        session.ranking = replace(session.ranking, making=making)  # type: ignore[arg-type]
        session._on_change()
        keys = ["enter"] if making == "one" else ["enter", "down", "down", "enter"]
        await pilot.press("down", "down", *keys)
        await pilot.pause()

    assert snap_compare(_app(), terminal_size=size, run_before=run)
