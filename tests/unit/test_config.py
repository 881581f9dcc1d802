"""Settings come in from TOML, from --set and from presets, and wrong ones are told with the way out."""

import pytest

from workbench.config import PRESETS, RunConfig, build_config, from_toml, to_toml
from workbench.errors import WorkbenchError


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_survives_toml(preset: str) -> None:
    config = build_config({"pairs": ["a", "b"]}, preset=preset, settings=["beta=0.25", "target_modules=q_proj,v_proj"])
    assert from_toml(to_toml(config), where="run.toml") == config
    assert config.beta == 0.25
    assert config.target_modules == ["q_proj", "v_proj"]


def test_settings_win_over_values_and_values_over_presets() -> None:
    config = build_config({"pairs": ["a"], "epochs": 3}, preset="small", settings=["epochs=4"])
    assert (config.epochs, config.learning_rate) == (4, PRESETS["small"].values["learning_rate"])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("betta=1", "'beta'"),
        ("beta=-1", "beta"),
        ("beta=nan", "beta"),
        ("batch_size=0", "batch_size"),
        ("batch_size=2.5", "batch_size"),
        ("gradient_accumulation=3", "does not divide batch_size"),
        ("loss_type=sigmoyd", "sigmoid"),
        ("loss_weights=1,2", "loss_weights"),
        ("quantization=fp4", "nf4"),
        ("lr", "KEY=VALUE"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(setting: str, told: str) -> None:
    with pytest.raises(WorkbenchError) as caught:
        build_config({"pairs": ["a"]}, settings=[setting])
    assert told in str(caught.value)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(WorkbenchError, match="standard"):
        build_config({"pairs": ["a"]}, preset="standart")


@pytest.mark.parametrize("text", ["pairs = [", "pairs = 3", "pairs = []", 'pairs = ["a"]\nepoch = 1'])
def test_bad_toml_names_the_file_or_the_key(text: str) -> None:
    with pytest.raises(WorkbenchError):
        from_toml(text, where="run.toml")


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in RunConfig.model_fields.values())
