"""One step of what a user may combine: model families, quantizations, kinds of adapters and layers that get one."""

import json
import math

import pytest
from safetensors.torch import load_file

from tests.unit.engine.random_models import FAMILIES
from tests.unit.engine.random_models import make as make_model
from tests.unit.engine.training import ROWS, make, read, work
from workbench.runs.events import Finished, Started, Step

FEW = [*ROWS[:2], ROWS[6]]


def one_step(path, **values):
    if values.get("method") != "reward":
        values = {"sample_tokens": 0} | values
    folder = make(path, rows=FEW, max_steps=1, batch_size=2, **values)
    assert isinstance(work(folder), Finished)
    (step,) = read(folder, Step)
    assert math.isfinite(step.metrics["loss"])
    assert step.metrics["grad_norm"] > 0
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    made = {}

    def model(family):
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            make_model(made[family], family)
        return str(made[family])

    return model


def combinations():
    """Each family by one method and each method on one family; all of them in `make faults`."""
    methods, families = ["dpo", "simpo", "orpo", "kto", "reward"], list(FAMILIES)
    for row, family in enumerate(families):
        for column, method in enumerate(methods):
            one_of_a_kind = row % len(methods) == column % len(families)
            yield pytest.param(family, method, marks=[] if one_of_a_kind else pytest.mark.slow)


@pytest.mark.parametrize(("family", "method"), combinations())
def test_every_family_trains_by_every_method_on_pairs(tmp_path, models, family, method) -> None:
    folder = one_step(tmp_path, model=models(family), method=method, quantization="none")
    assert read(folder, Started)[0].trainable_parameters > 0


@pytest.mark.parametrize(
    ("quantization", "variant"), [("int8", "lora"), ("nf4", "rslora"), ("nf4", "dora"), ("none", "dora")]
)
def test_kinds_of_adapters_train_on_kinds_of_weights(tmp_path, quantization, variant) -> None:
    folder = one_step(tmp_path, quantization=quantization, lora_variant=variant, lora_r=4, lora_alpha=8)
    saved = json.loads((folder.adapter / "adapter_config.json").read_text())
    assert (saved["use_rslora"], saved["use_dora"]) == (variant == "rslora", variant == "dora")
    names = load_file(folder.adapter / "adapter_model.safetensors")
    assert any("magnitude" in name for name in names) == (variant == "dora")


def test_only_the_named_layers_get_an_adapter(tmp_path) -> None:
    folder = one_step(tmp_path, target_modules="q_proj,v_proj", quantization="none")
    names = load_file(folder.adapter / "adapter_model.safetensors")
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in names} == {"q_proj", "v_proj"}
