"""Adapters that came from elsewhere: what is not plain LoRA of fitting sizes is refused, with file and field."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tests.tui.compare_data import write_adapter
from workbench.engine.model.adapter_check import wrong_settings
from workbench.engine.model.loading import attach_adapter, load_base
from workbench.errors import WorkbenchError

PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def base() -> Any:
    return load_base("tiny", "none")


def changed(folder: Path, **settings: object) -> Path:
    write_adapter(folder, scale=1.0, seed=0)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | settings), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("peft_type", "IA3"),
        ("peft_type", ["LORA"]),
        ("task_type", "SEQ_2_SEQ_LM"),
        ("r", "abc"),
        ("r", None),
        ("r", True),
        ("r", 0),
        ("r", 10**9),
        ("lora_alpha", "x"),
        ("lora_alpha", -1),
        ("target_modules", 5),
        ("target_modules", "(a+)+$"),
        ("target_modules", []),
        ("target_modules", ["(a+)+$"]),
        ("exclude_modules", "(a+)+$"),
        ("rank_pattern", None),
        ("rank_pattern", {"(a+)+$": 4}),
        ("rank_pattern", {"q_proj": 10**9}),
        ("alpha_pattern", {"(a+)+$": 4}),
        ("layers_pattern", "(a+)+$"),
        ("layers_to_transform", "all"),
        ("modules_to_save", "lm_head"),
        ("bias", "all"),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", 1),
        ("auto_mapping", {"parent_library": "planted", "base_model_class": "X"}),
        ("auto_mapping", {"parent_library": ["transformers"]}),
        ("megatron_core", "planted"),
        ("megatron_config", {"a": 1}),
        ("runtime_config", {"ephemeral_gpu_offload": True}),
        ("layer_replication", [[0, 4], [2, 6]]),
        ("corda_config", {"cache_file": "/tmp/x"}),
        ("eva_config", {"rho": 2.0}),
        ("target_parameters", ["experts"]),
        ("custom_modules", {"a": "b"}),
    ],
)
def test_settings_that_are_not_plain_lora_are_refused_by_name(
    tmp_path: Path, base: Any, field: str, value: object
) -> None:
    folder = changed(tmp_path / "adapter", **{field: value})
    with pytest.raises(WorkbenchError) as raised:
        attach_adapter(base, folder, "run")
    assert list(raised.value.fields) == [field]
    assert f"adapter_config.json: {field} " in raised.value.message
    assert not hasattr(base, "peft_config")


def test_what_it_names_is_not_imported(tmp_path: Path, base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT imports `megatron_core` where `megatron_config` is set, whatever module that is."""
    (tmp_path / "planted_core.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    folder = changed(tmp_path / "adapter", megatron_core="planted_core", megatron_config={"a": 1})
    with pytest.raises(WorkbenchError, match="megatron_c"):
        attach_adapter(base, folder, "run")
    assert "planted_core" not in sys.modules
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["[]", "null", "5", "{", "", "[" * 100_000, "\x00", '{"r": 4}', '{"lora_alpha": NaN}'])
def test_a_file_that_says_nothing_is_refused_by_its_name(tmp_path: Path, base: Any, text: str) -> None:
    folder = changed(tmp_path / "adapter")
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(WorkbenchError) as raised:
        attach_adapter(base, folder, "run")
    assert "adapter_config.json: " in raised.value.message


def rewritten(folder: Path, change: Any) -> Path:
    file = changed(folder) / "adapter_model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file)
    return folder


LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
A, B = f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda weights: weights.pop(B), f"{LAYER}.lora_B"),
        (lambda weights: (weights.pop(A), weights.pop(B)), A),
        (lambda weights: weights.update({A: zeros(4, 100)}), A),
        (lambda weights: weights.update({A: zeros(8, 192)}), A),
        (lambda weights: weights.update({B: zeros(192, 8)}), B),
        (lambda weights: weights.update({"x": zeros(1)}), "x"),
        (
            lambda weights: weights.update({A.replace("layers.0", "layers.99"): zeros(4, 192)}),
            A.replace("layers.0", "layers.99"),
        ),
        (lambda weights: weights.update({f"{LAYER}.weight": zeros(192, 192)}), f"{LAYER}.weight"),
        (lambda weights: weights.update({f"{LAYER}.base_layer.weight": zeros(192, 192)}), f"{LAYER}.base_layer.weight"),
    ],
)
def test_weights_that_do_not_fit_the_base_are_refused_by_name(
    tmp_path: Path, base: Any, change: Any, named: str
) -> None:
    folder = rewritten(tmp_path / "adapter", change)
    with pytest.raises(WorkbenchError) as raised:
        attach_adapter(base, folder, "run")
    assert list(raised.value.fields) == [named]
    assert "adapter_model.safetensors: " in raised.value.message


@given(st.dictionaries(st.sampled_from([*PLAIN, "bias", "rank_pattern", "modules_to_save", "task_type", "new"]), JSON))
def test_any_settings_are_told_as_fields_and_never_raise(settings: dict[str, Any]) -> None:
    wrong = dict(wrong_settings(PLAIN | settings))
    assert set(wrong) <= set(PLAIN | settings)
    if not wrong:
        assert type((PLAIN | settings)["r"]) is int
        assert isinstance((PLAIN | settings)["target_modules"], list)


def test_plain_lora_passes(tmp_path: Path) -> None:
    assert list(wrong_settings(PLAIN)) == []
    model = attach_adapter(load_base("tiny", "none"), changed(tmp_path / "adapter"), "run")
    assert list(model.peft_config) == ["run"]


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_file_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path, base: Any, name: str) -> None:
    folder = changed(tmp_path / "adapter")
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(WorkbenchError, match=f"{name}: is a link to"):
        attach_adapter(base, folder, "run")


def test_weights_that_are_whole_numbers_are_refused(tmp_path: Path, base: Any) -> None:
    """PEFT makes numbers of them: small ones become zeros, and the run says what its base does."""
    folder = rewritten(tmp_path / "adapter", lambda weights: weights.update({A: weights[A].astype(np.int8)}))
    with pytest.raises(WorkbenchError, match=f"{A} is held as I8"):
        attach_adapter(base, folder, "run")
