"""The form that starts a run, without a screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench.config import as_typed
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Pair
from workbench.pairs.store import write_pairs
from workbench.run_form import RunForm
from workbench.workspace import Workspace


def form_on(root: Path, *sets: str) -> RunForm:
    """A form whose fields show what follows from method and model."""
    (root / "runs").mkdir(exist_ok=True)
    for name in sets:
        pairs = [Pair(f"{name}-{number}", f"Q{number}?", "yes", "no") for number in range(20)]
        write_pairs(root / "pairs" / f"{name}.jsonl", pairs)
    form = RunForm(Workspace.find(root))
    show(form)
    return form


def show(form: RunForm) -> dict[str, Any]:
    """Puts what follows into the fields, as the dialog does."""
    settings = form.follow()
    typed = form.asked.settings | {key: as_typed(value) for key, value in settings.items()}
    fixed = {"pairs_weights", "method", "model", "adapter", "reward"}
    form.asked.settings = {key: text for key, text in typed.items() if key not in form.unused | fixed}
    form.check()
    return settings


def put(form: RunForm, **settings: str) -> None:
    form.asked = replace(form.asked, settings=form.asked.settings | settings)
    form.check()


def test_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    assert form_on(tmp_path).verdict.title == "There is no data set yet"
    form = form_on(tmp_path, "one", "two")
    assert (form.verdict.state, form.verdict.title) == ("missing", "Which data sets?")
    form.asked.pairs, form.asked.method = ["one"], "grpo"
    show(form)
    assert (form.verdict.state, form.verdict.title) == ("missing", "Which reward?")
    assert form.config is None


async def test_a_wrong_setting_is_named_and_a_right_one_counted(tmp_path: Path) -> None:
    form = form_on(tmp_path, "one")
    assert form.verdict.state == "counting"
    put(form, learning_rate="fast")
    assert form.verdict.state == "wrong"
    assert set(form.verdict.fields) == {"learning_rate"}
    put(form, learning_rate="0.01")
    assert not form.can_start
    await form.count()
    assert form.can_start
    assert form.rows is not None
    assert form.rows.train + form.rows.holdout == 20
    # Other settings do not change the counts, another share does.
    put(form, learning_rate="0.02")
    assert form.verdict.state == "right"
    put(form, holdout="0.5")
    assert form.verdict.state == "counting"


async def test_what_is_named_and_not_there_is_wrong(tmp_path: Path) -> None:
    form = form_on(tmp_path, "one")
    form.asked.model = str(tmp_path / "nowhere")
    show(form)
    form.wanted = True
    await form.count()
    assert form.verdict.state == "wrong"
    assert "model" in form.verdict.fields
    assert not form.wanted


def test_settings_follow_method_and_model_until_one_is_ones_own(tmp_path: Path) -> None:
    form = form_on(tmp_path, "one")
    assert form.asked.preset == "small"
    form.asked.model = "org/large"
    assert show(form)
    assert form.asked.preset == "standard"
    put(form, learning_rate="0.5")
    assert form.changed == ["learning_rate"]
    form.asked.model = "tiny"
    assert not show(form)
    assert form.asked.preset == "standard"
    form.asked.method = "simpo"
    assert "simpo_gamma_ratio" in show(form)
    assert form.asked.preset == "small"
    # A preset changes nothing that is of the machine.
    put(form, launcher="accelerate")
    form.asked.preset = "simpo"
    assert "launcher" not in show(form)
    assert form.asked.settings["launcher"] == "accelerate"


async def test_a_start_that_fails_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise WorkbenchError("The disk is full", "")

    monkeypatch.setattr("workbench.run_form.launch", full)
    form = form_on(tmp_path, "one")
    await form.count()
    with pytest.raises(WorkbenchError):
        await form.start()
    assert form.can_start


def test_a_start_that_was_wanted_is_not_of_other_settings(tmp_path: Path) -> None:
    form = form_on(tmp_path, "one")
    form.wanted = True
    form.check()
    assert form.wanted
    put(form, epochs="3")
    assert not form.wanted
