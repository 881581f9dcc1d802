"""The estimate for CUDA against a training step of real 8B shapes on fake tensors: simulated, as no card is at hand."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest

from tests.unit.engine.cuda import pretended
from tests.unit.engine.cuda.models import MODELS
from workbench.child import ENVIRONMENT
from workbench.config import build_config
from workbench.runs.activation_memory import Lengths
from workbench.runs.estimate import estimate
from workbench.runs.model_shape import read_shape

LAYERS = 2
"""Every further layer takes as much as the one before it, so a few show what a layer takes."""
PAIRS, PROMPT, ANSWER = 16, 300, 200
WHOLE = {"model": "Llama-3-8B", "layers": 32, "pairs": 4, "prompt": 500, "answer": 100, "checkpointing": "all"}
LONG = {"model": "Qwen3-8B", "layers": 3, "pairs": 2, "prompt": 1200, "answer": 848, "checkpointing": "none"}
CASES = [
    {
        "model": model,
        "layers": LAYERS,
        "pairs": PAIRS,
        "prompt": PROMPT,
        "answer": ANSWER,
        "checkpointing": checkpointing,
    }
    for checkpointing in ("all", "none")
    for model in ("Llama-3-8B", "Qwen3-8B", "Gemma-3-12B")
]
CASES += [{**CASES[0], "layers": layers, "checkpointing": "half"} for layers in (2, 3)]
APART = [{**CASES[0], "layout": "APART"}, {**CASES[3], "layout": "APART"}]
MIXTURES = [
    {**CASES[0], "model": "Qwen3-30B-A3B"},
    {**CASES[0], "model": "Mixtral-8x7B"},
    {**CASES[0], "model": "Qwen3-30B-A3B", "checkpointing": "none"},
    {**CASES[0], "model": "Mixtral-8x7B", "checkpointing": "none"},
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=lambda number: "{model}-{layers}-{checkpointing}".format(**CASES[number])
)
def test_the_estimate_is_within_3_percent_of_a_simulated_step(number):
    _compare(CASES[number], _of_all()[number])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(len(APART)), ids=lambda number: str(APART[number]["checkpointing"]))
def test_so_it_is_with_a_line_a_response(number):
    _compare(APART[number], _of_all()[len(CASES) + number], 0.05, 0.08)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "most"), [(WHOLE, 0.07), (LONG, 0.04)], ids=["whole", "long"])
def test_so_it_is_of_all_layers_and_of_other_lengths(case, most):
    (measured,) = _measured([case])
    _compare(case, measured, most_beside_weights=most)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "number", range(len(MIXTURES)), ids=lambda number: "{model}-{checkpointing}".format(**MIXTURES[number])
)
def test_so_it_is_within_15_percent_for_mixtures_of_experts(number):
    _compare(MIXTURES[number], _of_mixtures()[number], 0.15, 0.15)


@pytest.mark.slow
@pytest.mark.skipif(bool(pretended.why_not()), reason=pretended.why_not())
def test_a_step_takes_as_much_on_a_pretended_device(tmp_path):
    """Under CUDA's own autocast, and with nothing of a CPU's replaced."""
    case = CASES[0] | {"pairs": 4}
    (on_cpu,) = _measured([case])
    (on_device,) = _measured([case | {"device": "cuda:0"}], **pretended.environment(tmp_path))
    print(on_cpu, on_device)
    assert on_device["peak"] == pytest.approx(on_cpu["peak"], rel=0.01)
    assert on_device["weights"] == on_cpu["weights"]


def _compare(case, measured, most=0.03, most_beside_weights=0.04):
    kind, values = MODELS[case["model"]]
    shape = read_shape({**values, "model_type": kind, "num_hidden_layers": case["layers"]})
    longest, row = case["prompt"] + case["answer"], case["prompt"] + 2 * case["answer"]
    asked = {"batch_size": case["pairs"], "max_length": longest, "checkpointing": case["checkpointing"]}
    config = build_config({"pairs": ["x"], **asked})
    lengths = Lengths(longest, 2 * case["answer"], row)
    found = estimate(shape, config, lengths, "cuda", rows="apart" if "layout" in case else None)
    weights = sum(part.bytes for part in found.parts if part.name.startswith("weights"))
    beside = (found.training - weights) / (measured["peak"] - measured["weights"]) - 1
    off = found.training / measured["peak"] - 1
    print(f"{case}: estimated {found.training / 1e9:.2f} GB, {off:+.1%}; beside the model {beside:+.1%}")
    assert weights == pytest.approx(measured["weights"], rel=0.01)
    assert found.training == pytest.approx(measured["peak"], rel=most)
    # What a step takes beside the model, which weighs most, by itself.
    assert found.training - weights == pytest.approx(measured["peak"] - measured["weights"], rel=most_beside_weights)


@cache
def _of_all():
    return _measured([*CASES, *APART])


@cache
def _of_mixtures():
    return _measured(MIXTURES)


def _measured(cases, **others):
    """In a process of its own: what it puts in the place of kernels is not to stay."""
    environment = {**ENVIRONMENT, **os.environ, "HF_HUB_OFFLINE": "1", **others}
    command = [sys.executable, "-m", "tests.unit.engine.cuda.fake_step", json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
