"""Every method started from the form, with the screens closed meanwhile: a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.test_runs_screen import looks_right, runs, start
from tests.tui.runs_data import make_pairs
from tests.tui.runs_screen import runs_screen, shows, until
from workbench.methods import METHODS

FUNCTION = "def vowels(prompts, completions, **_):\n    return [float(str(each).count('e')) for each in completions]\n"


@pytest.mark.timeout(280)
async def test_every_method_trains_from_the_form_and_shows_what_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_pairs(tmp_path, "tone", 24)
    judge = tmp_path / "judge.py"
    judge.write_text(FUNCTION)
    async with runs_screen(tmp_path) as pilot:
        await shows(pilot, "No runs yet")
        for method in ("reward", "dpo", "simpo", "orpo", "kto"):
            await start(pilot, method)
        await shows(pilot, "1 running")
    async with runs_screen(tmp_path, (160, 60), watch=runs(tmp_path)["dpo"].id) as pilot:
        await until(pilot, lambda: runs(tmp_path)["reward"].status == "finished", 120)
        sampled = {"group_size": "2", "completion_tokens": "8"}
        await start(pilot, "grpo", **sampled)
        await start(pilot, "rloo", reward="", function=f"{judge}:vowels", **sampled)
        assert set(runs(tmp_path)) == set(METHODS)
        await until(pilot, lambda: all(each.status == "finished" for each in runs(tmp_path).values()), 240)
        await shows(pilot, "7 done")
        assert runs(tmp_path)["grpo"].config.reward == f"run:{runs(tmp_path)['reward'].id}"
        for method, run in runs(tmp_path).items():
            await looks_right(pilot, method, run.id)
