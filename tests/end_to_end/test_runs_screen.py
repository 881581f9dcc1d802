"""Real runs that are started from the form, outlive the screens and are seen to their ends by others."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.runs_data import make_pairs
from tests.tui.runs_screen import drawn, put, runs_screen, shown, shows, until
from workbench.methods import METHODS
from workbench.runs.catalog import Catalog, Run
from workbench.tui.screens.runs import RunsScreen

TINY = {"max_steps": "2", "batch_size": "4", "max_length": "64", "eval_steps": "2", "sample_tokens": "0"}
PAIRWISE = {"loss", "logps", "margin", "accuracy", "kl", "grad", "rate"}
ONLINE = {"reward", "spread", "alike", "kl", "length", "grad", "rate"}
CHARTS = {
    "dpo": PAIRWISE,
    "simpo": PAIRWISE,
    "orpo": PAIRWISE,
    "kto": PAIRWISE | {"point"},
    "reward": {"loss", "margin", "accuracy", "grad", "rate"},
    "grpo": ONLINE,
    "rloo": ONLINE,
}
"""The quantities that each method has, and no others."""


async def start(pilot: Pilot[None], method: str, **values: str) -> None:
    """Starts a run from the form, as a user does who knows what they want."""
    await pilot.press("n")
    await shows(pilot, "[✔] tone", "held out")
    put(pilot, method=method)
    await shows(pilot, METHODS[method].when)
    given = TINY | values
    if method == "reward":
        given = {name: value for name, value in given.items() if name != "sample_tokens"}
    put(pilot, **given)
    await shows(pilot, "2 steps of 4")
    await pilot.press("ctrl+s")
    await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
    await shows(pilot, f"tone-{method}")


def runs(root: Path) -> dict[str, Run]:
    """The runs by their methods, none of which went wrong."""
    found = {each.config.method: each for each in Catalog(root / "runs").summaries() if each.config is not None}
    for each in found.values():
        assert each.status not in ("failed", "lost", "stopped"), each.folder.log.read_text()[-2000:]
    return found


async def test_a_run_from_the_form_ends_without_the_screens_and_shows_what_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make faults` does the same for every method."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    make_pairs(tmp_path, "tone", 24)
    async with runs_screen(tmp_path) as pilot:
        await shows(pilot, "No runs yet")
        await start(pilot, "dpo")
    async with runs_screen(tmp_path, (160, 60), watch=runs(tmp_path)["dpo"].id) as pilot:
        await until(pilot, lambda: runs(tmp_path)["dpo"].status == "finished", 120)
        await shows(pilot, "1 done")
        await looks_right(pilot, "dpo", runs(tmp_path)["dpo"].id)


async def looks_right(pilot: Pilot[None], method: str, run: str) -> None:
    """The charts of a run are those of its method."""
    screen = pilot.app.screen
    assert isinstance(screen, RunsScreen)
    screen.table.go_to(run)
    await shows(pilot, f"{run}   {method} ·", "2 of 2 steps")
    await until(pilot, lambda: {each.name for each in screen.view.charts.shown} == CHARTS[method])
    await drawn(pilot)
    text = shown(pilot)
    assert ("reward margin" in text) == ("margin" in CHARTS[method])
    assert ("spread of rewards in a group" in text) == ("spread" in CHARTS[method])
    assert ("first loss" in text) == METHODS[method].log_ratios
