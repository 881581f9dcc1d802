"""A real run, started from the form, that outlives the screens and is seen to its end by others."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.runs_data import make_pairs
from tests.tui.runs_screen import runs_screen, shown, shows, until
from workbench.runs.catalog import Catalog
from workbench.tui.screens.runs import RunsScreen


@pytest.mark.timeout(280)
async def test_a_run_from_the_form_goes_on_without_the_screens_and_is_seen_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    make_pairs(tmp_path, "tone", 24)
    async with runs_screen(tmp_path) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("n")
        await shows(pilot, "[✔] tone", "held out")
        for name, value in (("max_steps", "3"), ("batch_size", "4"), ("max_length", "64")):
            pilot.app.screen.query_one(f"#{name}", Input).value = value
        await shows(pilot, "3 steps of 4")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        await shows(pilot, "tone-dpo", "1 running")
    [run] = Catalog(tmp_path / "runs").summaries()
    async with runs_screen(tmp_path, watch=run.id) as pilot:
        await until(pilot, lambda: "3 of 3 steps" in shown_or_failed(pilot), 240)
        await shows(pilot, "✔ finished", "first loss 0.693 ✔", "1 done", "chosen")


def shown_or_failed(pilot: Pilot[None]) -> str:
    """The screen; a run that went wrong ends the wait."""
    text = shown(pilot)
    assert "✘ failed" not in text, text
    assert "? lost" not in text, text
    return text
