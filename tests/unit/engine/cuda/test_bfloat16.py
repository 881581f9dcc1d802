"""A whole job in what CUDA has and the CPU has not: bfloat16, autocast and gradient checkpointing, on real numbers."""

import math

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from tests.unit.engine.training import make, read, work
from workbench.engine.fast import loop
from workbench.engine.methods import pairwise, trainer_setup
from workbench.engine.training.checkpoint_files import adapter_state
from workbench.runs.events import Eval, Finished, Started, Step, Warned

LINE, PLAIN = "one line, an attention a row", "plain TRL"
_COMPARED = {"loss": 0.02, "rewards/chosen": 0.1, "rewards/rejected": 0.1, "rewards/margins": 0.1, "logps/chosen": 0.5}
"""Of each metric, how far off in nats one of bfloat16 may be, beside 5%."""


@pytest.fixture
def _as_on_cuda(monkeypatch):
    # accelerate keeps the precision of the first accelerator of a process.
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr("workbench.engine.model.loading.compute_dtype", lambda _: torch.bfloat16)
    monkeypatch.setattr(loop, "_accelerator", lambda _: Accelerator(cpu=True, mixed_precision="bf16"))
    # PEFT asks for CUDA's autocast.
    asked = torch.is_autocast_enabled
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind="cpu": asked(kind))
    own, made = trainer_setup.arguments, trainer_setup.with_adapter

    def arguments(inputs):
        return own(inputs) | {"bf16": True, "gradient_checkpointing": True}

    def with_adapter(inputs):
        model = made(inputs)
        assert model.dtype == torch.bfloat16
        assert {each.dtype for each in adapter_state(model).values()} == {torch.float32}
        model.enable_input_require_grads()
        model.activation_checkpointing_enable()
        return model

    monkeypatch.setattr("workbench.engine.methods.trl_trainer.arguments", arguments)
    monkeypatch.setattr(pairwise, "with_adapter", with_adapter)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def run(path, layout, **values):
    """Metrics of each step and each evaluation of a job of three steps, which took the path `layout`."""
    folder = make(path, max_steps=3, quantization="nf4", fast=layout == LINE, **values)
    end = work(folder)
    assert isinstance(end, Finished)
    assert end.changed > 0.9
    (started,) = read(folder, Started)
    assert started.path == layout
    assert not [event for event in read(folder, Warned) if "fast path" in event.title]
    return [event.metrics for event in read(folder, Step)], [event.metrics for event in read(folder, Eval)]


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A run in float32."""
    return run(tmp_path_factory.mktemp("exact"), LINE)


def test_a_job_in_bfloat16_learns_what_one_in_float32_learns(exact, tmp_path, request):
    request.getfixturevalue("_as_on_cuda")
    steps, evaluations = run(tmp_path, LINE)
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert steps[-1]["rewards/margins"] > 1
    _compare(steps, exact[0])
    _compare(evaluations, exact[1])
    # The norm of what is nearly learnt is one of little, and the first is of all.
    assert steps[0]["grad_norm"] == pytest.approx(exact[0][0]["grad_norm"], rel=0.01)
    assert [each["kl"] for each in evaluations] == pytest.approx([each["kl"] for each in exact[1]], abs=0.02, rel=0.1)


@pytest.mark.usefixtures("_as_on_cuda")
def test_what_bfloat16_rounds_away_stock_trl_loses_as_well(tmp_path):
    """A small adapter's part of what a layer gives is less than half a digit of it: in float32 the margin after a step
    is 0.455 here, and half of it in bfloat16."""
    plain, fast = (run(tmp_path / layout, layout, learning_rate=3e-4) for layout in (PLAIN, LINE))
    _compare(fast[0], plain[0])
    _compare(fast[1], plain[1])
    for found, expected in zip(fast[0], plain[0], strict=True):
        assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=0.05)
    assert 0.1 < fast[0][1]["rewards/margins"] < 0.35


def _compare(found, expected):
    for one, other in zip(found, expected, strict=True):
        for name, most in _COMPARED.items():
            assert one[name] == pytest.approx(other[name], abs=most, rel=0.05), name
