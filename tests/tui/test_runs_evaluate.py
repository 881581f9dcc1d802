"""Measuring from the Runs screen: verdicts to read, giving up, errors."""

import json
from importlib.util import find_spec
from pathlib import Path

from textual.pilot import Pilot

from tests.tui.runs_data import make_run, save_adapter, whole_run
from tests.tui.runs_screen import runs_screen, shows, until
from tests.unit.evidence.examples import attacks, evidence
from workbench.evidence.document import write_evidence
from workbench.runs.folder import RunFolder
from workbench.tui.dialogs.evaluate import EvaluateDialog
from workbench.tui.screens.runs import RunsScreen
from workbench.tui.widgets.fields import PathField

PROBE = {"id": "1", "kind": "tone", "prompt": "Hi", "responses": {"rude": "Go."}, "group": "g"}


def measured(root: Path) -> RunFolder:
    folder = make_run(root, "tone", whole_run())
    save_adapter(folder)
    return folder


async def test_verdicts_are_shown_the_broken_ones_first(root: Path) -> None:
    write_evidence(measured(root).evidence, evidence(attacks(after=-0.5)))
    for size in ((80, 24), (160, 45)):
        async with runs_screen(root, size=size) as pilot:
            await shows(pilot, "finished")
            await pilot.press("e")
            await shows(pilot, "again?", "Show them")
            await pilot.press("n")
            text = await shows(
                pilot, "does not hold", "✘ compliant answers to attacks", "do not hold", "cannot be said"
            )
            assert text.index("✘ ") < text.index("? ")
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))


async def test_what_stops_it_is_told(root: Path) -> None:
    measured(root)
    async with runs_screen(root) as pilot:
        await shows(pilot, "finished")
        await pilot.press("e")
        await shows(pilot, "folder of the merged model")
        await pilot.press("enter")
        await shows(pilot, "Nothing to measure on", "workbench.tiny.starters")


async def test_it_can_be_given_up(root: Path) -> None:
    folder = measured(root)
    probes = root / "pairs" / "probes"
    probes.mkdir(parents=True)
    (probes / "mine.jsonl").write_text(json.dumps(PROBE) + "\n", "utf-8")
    async with runs_screen(root) as pilot:
        await shows(pilot, "finished")
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        await pilot.press("e", "enter")
        await until(pilot, lambda: screen.evaluating is not None)
        await pilot.press("e")
        await shows(pilot, "Give up measuring")
        await pilot.press("y")
        await until(pilot, lambda: screen.evaluating is None)
    assert not folder.evidence.exists()


async def test_a_run_without_an_adapter_has_nothing_to_measure(root: Path) -> None:
    make_run(root, "tone", [])
    async with runs_screen(root) as pilot:
        await until(pilot, lambda: bool(pilot.app.screen.check_action("evaluate", ()) is None))


async def test_a_merged_model_is_offered_and_what_cannot_be_asked_is_told(root: Path) -> None:
    folder = measured(root)
    merged = root / "merged" / folder.id
    async with runs_screen(root) as pilot:
        await shows(pilot, "finished")
        await pilot.press("e")
        await shows(pilot, "none: m merges the run")
        await pilot.press(*str(root))
        await pilot.press("enter")
        await shows(pilot, "No model there", "workbench merge")
        await pilot.press("tab", "tab", *"few", "enter")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        merged.mkdir(parents=True)
        (merged / "config.json").write_text("{}", "utf-8")
        await pilot.press("e")
        dialog = await shown(pilot)
        assert dialog.query_one(PathField).path == merged
        await pilot.press("tab", "tab", *"few", "enter")
        await shows(pilot, "'few' is not one")
        await pilot.press(*["backspace"] * 3, "2", "up", *"arc_easy, mine", "enter")
        if find_spec("lm_eval") is None:
            await shows(pilot, "lm-eval is not installed", "arc_easy,mine")
        else:
            await until(pilot, lambda: dialog.answered)


async def shown(pilot: Pilot[None]) -> EvaluateDialog:
    await until(pilot, lambda: isinstance(pilot.app.screen, EvaluateDialog) and pilot.app.screen.is_mounted)
    assert isinstance(pilot.app.screen, EvaluateDialog)
    return pilot.app.screen
