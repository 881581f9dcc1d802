"""Pictures of a comparison made by hand, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from tests.unit.compare.examples import pair_comparison, sampled_comparison, speaking_comparison
from workbench.compare.comparison import BASE, Comparison
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.theme import DARK
from workbench.tui.widgets.comparison_view import ComparisonView
from workbench.tui.widgets.look import Look

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])


class _Screen(WorkbenchScreen):
    """The view between the bars, with nobody behind it."""

    MODE = "compare"

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
        pilot.app.screen.query_one(ComparisonView).show(comparison, Look(**look))
        await pilot.pause()

    return run


@SIZES
def test_a_pair(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(_App(), terminal_size=size, run_before=_showing(pair_comparison(), title="g answers · greedy"))


@SIZES
def test_a_token_walked_to_while_columns_speak(snap_compare: Any, size: tuple[int, int]) -> None:
    before = _showing(speaking_comparison().with_place(3), title="answers · greedy", speaking=True)
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
