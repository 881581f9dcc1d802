"""The form that starts a run."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Static

from tests.tui.dialogs import at_once
from tests.tui.runs_data import make_pairs, make_run, trained, whole_run
from tests.tui.runs_screen import put, runs_screen, shown, shows, until
from workbench.config import RunConfig, build_config
from workbench.methods import METHODS, uses
from workbench.tui.dialogs.new_run import NewRunDialog
from workbench.tui.dialogs.new_run_fields import RunChoice, SettingGrid

ELSEWHERE = {
    *("pairs", "pairs_weights", "model", "method", "adapter", "reward"),
    *("processes", "launcher_config", "launcher_command"),
}
"""Settings with a place of their own in the form, and those that only a launcher needs."""


def fields_of(form: Screen[Any]) -> set[str]:
    """The settings in the two columns, shown or a key away."""
    return {key for grid in form.query(SettingGrid) for key in grid.values}


async def settings(pilot: Pilot[None]) -> RunConfig:
    """What the form would start."""
    await pilot.press("ctrl+t")
    await shows(pilot, "Copy all")
    await pilot.press("c", "escape")
    return build_config(tomllib.loads(pilot.app.clipboard))


async def test_the_form_says_what_is_wrong_and_what_it_will_do(root: Path) -> None:
    make_pairs(root, "tone", 60, dropped=10)
    make_pairs(root, "bypass", 40)
    (root / "pairs" / "broken.jsonl").write_text("no json\n")
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("n")
        await shows(pilot, "Mark one or more", "50 pairs, 10 dropped", "40 pairs", "unusable")
        await pilot.press("space", "down", "down", "space")
        text = await shows(pilot, "pairs train", "held out")
        train = next(int(part) for part in text.split("✔ ")[-1].split() if part.isdigit())
        steps = build_config({"pairs": ["x"]}, preset="small").total_steps(train)
        await shows(pilot, f"{steps} steps of 16")
        rate = pilot.app.screen.query_one("#learning_rate")
        rate.focus()
        await pilot.press("end", "x")
        await shows(pilot, "✘ learning_rate", "is not a number")
        assert rate.has_class("-wrong")
        assert not pilot.app.screen.query_one("#beta").has_class("-wrong")
        about = str(pilot.app.screen.query_one("#help", Static).content)
        assert about.startswith("✘")
        assert about.endswith("is not a number")
        await pilot.press("ctrl+s", "enter")
        assert not list((root / "runs").iterdir())
        await pilot.press("backspace")
        await shows(pilot, "pairs train")
        pilot.app.screen.query_one("#preset").value = "gentle"  # type: ignore[attr-defined]
        await shows(pilot, "sigmoid, sft", "1.0, 0.2", "0.2")
        await shows(pilot, "pairs train")
        await pilot.press("escape")
        await shows(pilot, "No runs yet")


async def test_a_method_shows_its_own_settings_and_when_to_choose_it(root: Path) -> None:
    make_pairs(root, "tone", 60)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "[✔] tone", "pairs train", METHODS["dpo"].when, "loss weights")
        form = pilot.app.screen
        for name, method in METHODS.items():
            form.query_one("#method").value = name  # type: ignore[attr-defined]
            await shows(pilot, method.when)
            used = {key for key in RunConfig.model_fields if uses(name, key)}
            assert fields_of(form) == used - ELSEWHERE
            assert ("gamma / beta" in shown(pilot)) == (name == "simpo")
            assert ("loss weights" in shown(pilot)) == (name == "dpo")
        form.query_one("#method").value = "grpo"  # type: ignore[attr-defined]
        await shows(pilot, "· Which reward?", "FILE.py:FUNCTION")
        form.query_one("#method").value = "simpo"  # type: ignore[attr-defined]
        await shows(pilot, "gamma / beta")
        form.query_one("#preset").value = "simpo"  # type: ignore[attr-defined]
        await shows(pilot, "pairs train", "6e-06")
        await pilot.press("ctrl+t")
        await shows(pilot, 'method = "simpo"', "simpo_gamma_ratio = 0.5")
        assert "loss_type" not in shown(pilot)


async def test_the_preset_follows_the_model_until_something_is_chosen(root: Path) -> None:
    make_pairs(root, "tone", 60)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "pairs train", "0.001")
        dialog = pilot.app.screen
        assert isinstance(dialog, NewRunDialog)
        form = dialog.form
        put(pilot, model="org/large")
        await until(pilot, lambda: (form.asked.preset, form.asked.settings["learning_rate"]) == ("standard", "5e-05"))
        dialog.query_one("#method").value = "simpo"  # type: ignore[attr-defined]
        await until(pilot, lambda: (form.asked.preset, form.asked.settings["learning_rate"]) == ("simpo", "6e-06"))
        put(pilot, model="tiny")
        await until(pilot, lambda: (form.asked.preset, form.asked.settings["learning_rate"]) == ("small", "0.001"))
        # One's own values are not written over,
        put(pilot, learning_rate="0.002")
        put(pilot, model="org/large")
        await pilot.pause()
        assert (form.asked.preset, form.asked.settings["learning_rate"]) == ("small", "0.002")
        # and neither is a preset that was chosen.
        dialog.query_one("#preset").value = "simpo"  # type: ignore[attr-defined]
        await until(pilot, lambda: form.asked.settings["learning_rate"] == "6e-06")
        put(pilot, model="tiny")
        await pilot.pause()
        assert form.asked.preset == "simpo"


async def test_several_data_sets_have_weights(root: Path) -> None:
    make_pairs(root, "tone", 60)
    make_pairs(root, "bypass", 60)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "Mark one or more")
        await pilot.press("space")
        text = await shows(pilot, "pairs train")
        assert "their weights" not in text
        await pilot.press("down", "space")
        await shows(pilot, "their weights", "1 each")
        await shows(pilot, "110 pairs train")
        put(pilot, pairs_weights="2")
        await shows(pilot, "✘", "2 data sets")
        put(pilot, pairs_weights="2, 0.5")
        await shows(pilot, "bypass ×2", "tone ×0.5", "pairs train")
        # 55 of each train: those of the first twice, and half of the second.
        await until(pilot, lambda: "138 pairs train" in shown(pilot))
        assert (await settings(pilot)).pairs_weights == [2.0, 0.5]


async def test_a_run_goes_on_from_an_adapter_of_its_model(root: Path) -> None:
    make_pairs(root, "tone", 60)
    first = trained(root, "tone", "dpo", age=3)
    trained(root, "scorer", "reward", age=2)
    trained(root, "other", "dpo", age=1, model="org/name")
    make_run(root, "unsaved", whole_run(), model="tiny")
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "4 done")
        await pilot.press("n")
        await shows(pilot, "begin with", "a new adapter", "adapter rank")
        choice = pilot.app.screen.query_one("#adapter", RunChoice)
        assert choice._legal_values == {"", first.id}
        put(pilot, adapter=first.id)
        text = await shows(pilot, "The reference is then that adapter, frozen", first.id, "pairs train")
        assert "adapter rank" not in text
        hidden = {"lora_r", "lora_alpha", "lora_variant", "target_modules"}
        assert not hidden & fields_of(pilot.app.screen)
        assert (await settings(pilot)).adapter == first.id
        put(pilot, method="orpo")
        await shows(pilot, "There is no reference")
        put(pilot, method="reward")
        await until(pilot, lambda: "begin with" not in shown(pilot))
        put(pilot, method="dpo", model="org/name")
        await shows(pilot, "begin with", "a new adapter", "adapter rank")
        assert (await settings(pilot)).adapter == ""


async def test_a_reward_is_a_run_or_a_function(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (root / "judge.py").write_text("def short(prompts, completions, **_):\n    return [0.0] * len(prompts)\n")
    make_pairs(root, "tone", 60)
    implicit = trained(root, "tone", "dpo", age=1)
    scorer = trained(root, "tone", "reward", age=2)
    trained(root, "tone", "simpo", age=3)
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "3 done")
        await pilot.press("n")
        await shows(pilot, "pairs train")
        put(pilot, method="grpo")
        text = await shows(pilot, scorer.id, "prompts", "steps of 32 answers")
        assert "FILE.py:FUNCTION" not in text
        choice = pilot.app.screen.query_one("#reward", RunChoice)
        assert [value for _, value in choice._options] == [scorer.id, implicit.id, ""]
        assert (await settings(pilot)).reward == f"run:{scorer.id}"
        put(pilot, reward="")
        await shows(pilot, "a function in a Python file", "FILE.py:FUNCTION", "· Which reward?")
        put(pilot, function="judge.py:long")
        await shows(pilot, "✘ No function 'long'", "It has short")
        put(pilot, function="judge.py:short")
        await shows(pilot, "✔", "steps of 32 answers")
        assert (await settings(pilot)).reward == "judge.py:short"


async def test_other_settings_are_a_key_away(root: Path) -> None:
    make_pairs(root, "tone", 60)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        text = await shows(pilot, "pairs train", "ctrl+o  more settings")
        assert "variant" not in text
        await pilot.press("ctrl+o")
        text = await shows(pilot, "New run · more settings", "variant", "report to", "launcher", "layers")
        assert "learning rate" not in text
        assert "its config" not in text
        put(pilot, launcher="command")
        await shows(pilot, "✘", "✘ launcher_command: is not given", "srun -N2")
        put(pilot, launcher_command="env {command}", lora_variant="rslora", target_modules="q_proj, v_proj")
        await shows(pilot, "✔", "pairs train")
        put(pilot, launcher="accelerate", launcher_config="/nowhere.yaml")
        await shows(pilot, "✘", "nowhere.yaml")
        put(pilot, launcher_config="", processes="2")
        await shows(pilot, "✔", "steps of 32")
        put(pilot, launcher="none", report_to="wandb, nothing")
        await shows(pilot, "✘", "report_to")
        put(pilot, report_to="")
        await shows(pilot, "✔", "steps of 16")
        await pilot.press("ctrl+o")
        await shows(pilot, "learning rate", "more settings, 2 of them changed")
        config = await settings(pilot)
        assert (config.lora_variant, config.target_modules) == ("rslora", ["q_proj", "v_proj"])
        assert config.launcher == "none"


async def test_it_starts_with_what_was_typed_last(root: Path, started: list[RunConfig]) -> None:
    make_pairs(root, "tone", 60)
    async with runs_screen(root, (80, 24)) as pilot:
        # Of the second, the pairs must be counted anew first.
        for field, keys, value in (("max_steps", "7", 7), ("seed", "9", 9)):
            await pilot.press("n")
            await shows(pilot, "pairs train")
            await pilot.press("ctrl+o" if field == "seed" else "shift+tab")
            await shows(pilot, "variant" if field == "seed" else "New run")
            pilot.app.screen.query_one(f"#{field}").focus()
            await pilot.pause(0.1)
            await at_once(pilot, *keys, "ctrl+s")
            await until(pilot, lambda: not isinstance(pilot.app.screen, NewRunDialog))
            assert getattr(started[-1], field) == value


async def test_the_form_without_data_sets_says_how_to_get_one(root: Path) -> None:
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "There is no data set yet", "workbench import")


async def test_a_model_that_is_not_there_is_refused_and_the_form_stays(root: Path) -> None:
    make_pairs(root, "tone", 20)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "[✔] tone", "pairs train")
        pilot.app.screen.query_one("#model").value = "/nowhere/at-all"  # type: ignore[attr-defined]
        await shows(pilot, "✘ No such model")
        await pilot.press("ctrl+s")
        await shows(pilot, "✘ No such model", "New run", "Start")
        assert not list((root / "runs").iterdir())


async def test_settings_are_shown_as_toml_and_copied(root: Path) -> None:
    make_pairs(root, "tone", 20)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "pairs train")
        await pilot.press("ctrl+t")
        await shows(pilot, 'pairs = ["tone"]', "learning_rate = 0.001", "Copy all")
        await pilot.press("c")
        await until(pilot, lambda: bool(pilot.app.clipboard))
        assert build_config(tomllib.loads(pilot.app.clipboard)) == build_config({"pairs": ["tone"]}, preset="small")
        await pilot.press("escape")
        await shows(pilot, "pairs train")
