"""Settings come in from TOML, from --set and from presets, and wrong ones are told with the way out."""

import math
import tomllib

import pytest

from workbench.config import PRESETS, RunConfig, build_config, to_toml
from workbench.errors import WorkbenchError
from workbench.methods import METHODS, uses

NEEDED = {"grpo": {"reward": "run:x"}, "rloo": {"reward": "run:x"}}
"""What a method cannot do without."""


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_survives_toml(preset: str) -> None:
    values = {"pairs": ["a", "b"], **NEEDED.get(preset, {})}
    config = build_config(values, preset=preset, settings=["epochs=0.25", "target_modules=q_proj,v_proj"])
    assert build_config(tomllib.loads(to_toml(config))) == config
    assert config.epochs == 0.25
    assert config.target_modules == ["q_proj", "v_proj"]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_brings_its_own_values_and_tells_its_own_settings(name: str) -> None:
    config = build_config({"pairs": ["a"], "method": name, **NEEDED.get(name, {})})
    assert {key: getattr(config, key) for key in METHODS[name].values} == METHODS[name].values
    assert set(config.model_dump()) == {key for key in RunConfig.model_fields if uses(name, key)}
    assert ("loss_type" in config.model_dump()) == (name == "dpo")
    small = build_config({"pairs": ["a"], "method": name, **NEEDED.get(name, {})}, preset="small")
    assert (small.learning_rate, small.epochs) == (1e-3, 2.0)
    assert 0 < len(METHODS[name].when) <= 60
    assert METHODS[name].rests_on.endswith(".")
    assert METHODS[name].ours.endswith(".")


def test_a_preset_chooses_its_method_and_none_other() -> None:
    assert build_config({"pairs": ["a"]}, preset="orpo").method == "orpo"
    with pytest.raises(WorkbenchError, match="not for simpo"):
        build_config({"pairs": ["a"], "method": "simpo"}, preset="gentle")


@pytest.mark.parametrize(
    ("method", "setting", "told"),
    [
        ("simpo", "loss_type=ipo", "simpo has no use for 'loss_type'"),
        ("dpo", "simpo_gamma_ratio=0.4", "setting of simpo"),
        ("dpo", "margin_weight=1", "setting of reward"),
        ("reward", "beta=0.2", "reward has no use for 'beta'"),
        ("orpo", "beta=0", "beta: must be above 0"),
        ("grpo", "beta=0", "reward: is not given"),
        ("grpo", "group_size=5", "does not divide batch_size"),
        ("rloo", "completion_tokens=1024", "no room"),
        ("dpo", "loss_type=exo_pair", "label_smoothing"),
    ],
)
def test_what_a_method_cannot_use_is_refused(method: str, setting: str, told: str) -> None:
    needed = {} if told.startswith("reward: is not") else NEEDED.get(method, {})
    with pytest.raises(WorkbenchError) as caught:
        build_config({"pairs": ["a"], "method": method, **needed}, settings=[setting])
    assert told in str(caught.value)


def test_steps_of_grpo_are_about_as_many_prompts_as_there_are_groups() -> None:
    config = build_config({"pairs": ["a"], "method": "grpo", "reward": "run:x", "batch_size": 32, "group_size": 8})
    assert config.step_pairs == 4
    assert config.total_steps(10) == 3


def test_settings_win_over_values_and_values_over_presets() -> None:
    config = build_config({"pairs": ["a"], "epochs": 3}, preset="small", settings=["epochs=4"])
    assert (config.epochs, config.learning_rate) == (4, PRESETS["small"].values["learning_rate"])


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("learning_rate", "abc", '"abc" is not a number'),
        ("learning_rate", "", '"" is not a number'),
        ("learning_rate", 2, "2 is above 1"),
        ("beta", "-1", "-1 is below 0"),
        ("beta", math.nan, "nan is not a finite number"),
        ("epochs", 0, "0 is not above 0"),
        ("warmup", 1, "1 is not below 1"),
        ("batch_size", "two", '"two" is not a whole number'),
        ("batch_size", 2.5, "2.5 is not a whole number"),
        ("fast", "perhaps", '"perhaps" is neither true nor false'),
        ("quantization", "fp4", "\"fp4\" is not 'nf4', 'int8' or 'none'"),
        ("loss_type", ["hinge", "x"], "\"x\" is not 'sigmoid', 'hinge'"),
        ("pairs", [], "is empty"),
        ("model", "", "is empty"),
        ("model", 3, "3 is not a text"),
        ("gradient_accumulation", 3, "3 does not divide batch_size (16)"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_of_that_setting(key: str, value: object, reason: str) -> None:
    with pytest.raises(WorkbenchError) as caught:
        build_config({"pairs": ["a"], key: value})
    assert caught.value.fields[key].startswith(reason)
    assert caught.value.title == f"{key}: {caught.value.fields[key]}"


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(WorkbenchError) as caught:
        build_config({"pairs": ["a"], "beta": 0, "gradient_accumulation": 3, "loss_weights": [1, 2]})
    assert list(caught.value.fields) == ["gradient_accumulation", "loss_weights", "beta"]
    assert caught.value.title == "3 settings are wrong"
    assert "\nbeta: must be above 0 for dpo" in caught.value.message


def test_a_config_that_is_not_given_data_says_so() -> None:
    with pytest.raises(WorkbenchError, match="pairs: is not given"):
        build_config({})


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
        ("pairs_weights=0", "pairs_weights"),
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


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in RunConfig.model_fields.values())


def test_what_a_chat_template_is_given_is_set_by_name() -> None:
    settings = ["template.enable_thinking=false", "template.reasoning_effort=high", "template.depth=2"]
    config = build_config({"pairs": ["x"]}, settings=settings)
    given = {"enable_thinking": False, "reasoning_effort": "high", "depth": 2}
    assert config.template == given
    assert build_config(tomllib.loads(to_toml(config))) == config
    assert build_config({"pairs": ["x"], "template": "enable_thinking=false, reasoning_effort=high, depth=2"}) == config
    for name in ("tokenize", "tools", "add_generation_prompt", "a b"):
        with pytest.raises(WorkbenchError, match="template: cannot set"):
            build_config({"pairs": ["x"]}, settings=[f"template.{name}=true"])
