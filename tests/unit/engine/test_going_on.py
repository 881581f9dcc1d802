"""A run that goes on from another run's adapter, and what is held against it: that adapter, frozen."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.engine.training import ROWS, read, work
from workbench.config import build_config
from workbench.engine.model.loading import attach_adapter, load_base
from workbench.errors import WorkbenchError
from workbench.launch import launch
from workbench.methods import uses
from workbench.runs.events import Eval, Finished, Started, Step
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr("workbench.launch.start", lambda _: None)  # The tests train in this process.
    (tmp_path / "pairs").mkdir()
    for name in ("x", "y"):
        rows = [row | {"id": f"{name}{number}"} for number, row in enumerate(ROWS)]
        (tmp_path / "pairs" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Workspace.find(tmp_path)


def run(workspace: Workspace, **values) -> RunFolder:
    base = {
        "pairs": ["x"], "learning_rate": 2e-3, "scheduler": "constant", "warmup": 0.0, "batch_size": 6, "max_steps": 2,
        "lora_r": 4, "lora_alpha": 8, "eval_steps": 2, "sample_tokens": 0,
    }  # fmt: skip
    method = values.get("method", "dpo")
    folder = launch(workspace, build_config({key: value for key, value in base.items() if uses(method, key)} | values))
    assert isinstance(work(folder), Finished)
    return folder


@pytest.mark.parametrize(
    ("method", "variant"), [("dpo", "lora"), pytest.param("dpo", "dora", marks=pytest.mark.slow), ("kto", "lora")]
)
def test_the_reference_is_the_adapter_that_it_went_on_from(workspace, method, variant) -> None:
    first = run(workspace, lora_variant=variant)
    second = run(workspace, method=method, adapter=first.id[-8:], lora_r=32)
    config = second.record().config
    assert (config.adapter, config.lora_r, config.lora_variant) == (first.id, 4, variant)
    (started,) = read(second, Started)
    assert started.reference == f"the adapter of {first.id}, frozen, on the base model"
    steps, evals = read(second, Step), read(second, Eval)
    # In eval mode, where policy and reference come from different weights in memory.
    beginning = math.log(2) if method == "dpo" else 0.5
    assert evals[0].metrics["loss"] == pytest.approx(beginning, abs=1e-6)
    assert evals[0].metrics["kl"] == pytest.approx(0.0, abs=1e-6)
    assert steps[0].metrics["loss"] == pytest.approx(beginning, abs=1e-6)
    assert evals[0].metrics["logps/chosen"] == pytest.approx(read(first, Eval)[-1].metrics["logps/chosen"], rel=1e-5)
    assert evals[-1].metrics["rewards/margins"] > 0.02
    assert evals[-1].metrics["kl"] > 0
    assert steps[-1].metrics["adapter/changed"] == 1.0

    ours, before = (load_file(each.adapter / "adapter_model.safetensors") for each in (second, first))
    assert {name: each.shape for name, each in ours.items()} == {name: each.shape for name, each in before.items()}
    assert not any(torch.equal(ours[name], before[name]) for name in ours if "lora_B" in name)
    assert not (second.adapter / "ref").exists()
    attach_adapter(load_base("tiny", "none"), second.adapter, "run")


def test_a_method_without_a_reference_goes_on_too(workspace) -> None:
    first = run(workspace)
    second = run(workspace, method="orpo", adapter=first.id)
    before, after = read(first, Eval)[-1].metrics, read(second, Eval)[0].metrics
    assert after["logps/chosen"] == pytest.approx(before["logps/chosen"], rel=1e-5)
    assert read(second, Started)[0].reference.startswith("none")


def test_what_cannot_be_gone_on_from_is_refused(workspace) -> None:
    scorer = run(workspace, method="reward", max_steps=1, quantization="none")
    with pytest.raises(WorkbenchError, match="reward model"):
        run(workspace, adapter=scorer.id)
    with pytest.raises(WorkbenchError, match="No run"):
        run(workspace, adapter="nobody")
    unsaved = launch(workspace, build_config({"pairs": ["x"]}))
    with pytest.raises(WorkbenchError, match="saved no adapter"):
        run(workspace, adapter=unsaved.id)
    with pytest.raises(WorkbenchError, match="no use"):
        build_config({"pairs": ["x"], "method": "reward", "adapter": "x"})


def test_weights_are_of_training_pairs_and_nobody_is_held_out_twice(workspace) -> None:
    config = build_config({"pairs": ["x", "y"], "pairs_weights": "2,0.5", "holdout": 0})
    rows = list(launch(workspace, config).rows())
    # Of each set's six training rows one asks what a held-out row asks.
    assert [sum(row["id"][0] == name for row in rows if row["split"] == "train") for name in "xy"] == [10, 2]
    held = [row["id"] for row in rows if row["split"] == "holdout"]
    assert len(held) == len(set(held)) == 8
    with pytest.raises(WorkbenchError, match="2 entries"):
        build_config({"pairs": ["x"], "pairs_weights": "1,2"})
