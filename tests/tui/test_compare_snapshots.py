"""Pictures of a comparison made by hand, at the smallest and at a comfortable size."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from tests.tui.pairs_data import make_workspace
from tests.unit.compare.examples import RUN, pair_comparison, sampled_comparison, speaking_comparison
from workbench.compare.comparison import BASE, Answer, Comparison
from workbench.compare.messages import OpeningColumn, OpeningsScored, PairBatch, ResponseScore, ScoredPair
from workbench.tui.app import WorkbenchApp
from workbench.tui.dialogs.save_pair import SavePairDialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.screens.scored_pairs import ScoredPairsScreen
from workbench.tui.theme import DARK
from workbench.tui.widgets.comparison_view import ComparisonView, ViewOptions

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])


class _Screen(WorkbenchScreen):
    """The view between the bars, with nobody behind it."""

    MODE = "compare"
    AUTO_FOCUS = ""

    def compose_body(self) -> Any:
        yield ComparisonView()


class _App(App[None]):
    CSS_PATH = "../../workbench/tui/app.tcss"

    def on_mount(self) -> None:
        self.register_theme(DARK)
        self.theme = DARK.name
        self.push_screen(_Screen())


def _showing(comparison: Comparison, **look: Any) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def run(pilot: Pilot[None]) -> None:
        await pilot.pause()
        pilot.app.screen.query_one(ComparisonView).show(comparison, ViewOptions(**look))
        await pilot.pause()

    return run


@SIZES
def test_openings(snap_compare: Any, size: tuple[int, int]) -> None:
    """What a real model's refusals begin with, before and after."""
    asked = pair_comparison().with_openings(["I can't", "I'm sorry, but", "I won't help"])
    columns = [
        OpeningColumn(name=column.name, mass=math.log(chance), probability=chance, sums=[-9.0] * 3)
        for column, chance in zip(asked.columns, (0.13, 0.91), strict=True)
    ]
    openings = asked.answers[-1].openings
    shown = asked.with_opening_scores(openings, OpeningsScored(id=1, columns=columns))
    assert snap_compare(_App(), terminal_size=size, run_before=_showing(shown, title="g answers · greedy"))


@SIZES
def test_a_pair(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(_App(), terminal_size=size, run_before=_showing(pair_comparison(), title="g answers · greedy"))


@SIZES
def test_a_token_walked_to_while_columns_speak(snap_compare: Any, size: tuple[int, int]) -> None:
    before = _showing(speaking_comparison().with_position(3), title="answers · greedy", speaking=True)
    assert snap_compare(_App(), terminal_size=size, run_before=before)


@SIZES
def test_base_alone(snap_compare: Any, size: tuple[int, int]) -> None:
    alone = replace(pair_comparison(), columns=(BASE,), current=0)
    assert snap_compare(_App(), terminal_size=size, run_before=_showing(alone, hint="No finished run yet."))


@SIZES
def test_shares_of_samples(snap_compare: Any, size: tuple[int, int]) -> None:
    before = _showing(sampled_comparison(), title="8 samples of each column", speaking=True, by_shift=True)
    assert snap_compare(_App(), terminal_size=size, run_before=before)


@SIZES
def test_presenting(snap_compare: Any, size: tuple[int, int]) -> None:
    before = _showing(speaking_comparison(), hint="probe attack-01: 1 of 192, in no pair · space next", presenting=True)
    assert snap_compare(_App(), terminal_size=size, run_before=before)


@SIZES
def test_scored_pairs(snap_compare: Any, size: tuple[int, int], tmp_path: Path) -> None:
    """The scores come as the scorer sends them, a part of them; the rest is awaited."""
    app = WorkbenchApp(make_workspace(tmp_path))

    async def never() -> Any:
        await asyncio.Event().wait()

    async def run(pilot: Pilot[None]) -> None:
        screen = ScoredPairsScreen(never, [BASE, RUN], 1, "support", open_pair=lambda _: None)
        app.push_screen(screen)
        while screen.scoring.rows is None or not screen.scoring.running:
            await pilot.pause(0.02)
        ids = [screen.scoring.rows.id(each) for each in screen.scoring.rows.order.tolist()[:9]]
        screen.scoring.take_in(PairBatch(id=1, rows=[_scored(identity) for identity in ids], done=9, total=30))
        while not screen.scoring.summaries:
            await pilot.pause(0.02)
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=run)


def _scored(identity: str) -> ScoredPair:
    """RankedPairs up of the id, so that it is the same every time."""
    number = sum(identity.encode()) % 7
    return ScoredPair(
        pair=identity,
        chosen=[ResponseScore(sum=-20.0 - number, tokens=9), ResponseScore(sum=-12.0 - number, tokens=9)],
        rejected=[ResponseScore(sum=-18.0 - number / 2, tokens=9), ResponseScore(sum=-16.0 - number, tokens=9)],
    )


@SIZES
def test_two_answers_to_become_a_pair(snap_compare: Any, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[None]) -> None:
        answers = list(pair_comparison().answers)
        answers.append(Answer("typed", "response \x1b[31m", "[/] 日本 " * 30))
        await pilot.app.push_screen(SavePairDialog(answers, (1, 0), ["refusal-bypass", "support-tone"], "support-tone"))
        await pilot.pause()

    assert snap_compare(_App(), terminal_size=size, run_before=run)
