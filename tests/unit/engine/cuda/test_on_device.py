"""What a run does on a CUDA device, on one that is pretended: all is on it, in the types that it should have."""

import json
import os
import subprocess
import sys

import pytest

from tests.unit.engine.cuda import pretended
from workbench.child import ENVIRONMENT

pytestmark = pytest.mark.skipif(bool(pretended.why_not()), reason=pretended.why_not())

RIGHT = [{"what": "step", "model": "Llama-3-8B"}, {"what": "trial", "model": "Gemma-3-12B"}]
RIGHT += [{"what": "plain", "model": "Llama-3-8B"}]
ASKED = [{"what": "ask", "model": "Qwen3-8B"}]
PLANTED = [
    ({"what": "step", "model": "Llama-3-8B", "mistake": "targets on the CPU"}, "two devices"),
    (
        {"what": "trial", "model": "Llama-3-8B", "mistake": "queries in float32"},
        "one line, FlexAttention: torch.float32 cuda:0, torch.bfloat16",
    ),
]
MORE = [{"what": what, "model": model} for what in ("step", "trial", "ask") for model in ("Qwen3-8B", "Gemma-3-12B")]
# Which experts an answer's few tokens need is told by numbers, so a mixture is not asked.
MORE += [{"what": what, "model": model} for what in ("step", "trial") for model in ("Qwen3-30B-A3B", "Mixtral-8x7B")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Of the right cases and of those with a mistake: one process, since it imports everything."""
    return _run(tmp_path_factory.mktemp("guard"), [*RIGHT, *ASKED, *(case for case, _ in PLANTED)])


@pytest.mark.timeout(900)
def test_steps_and_the_trial_are_on_the_device_in_float32_where_numbers_add_up(results):
    assert results[: len(RIGHT)] == [{"seen": ["torch.float32 cuda:0"]}] * len(RIGHT)


def test_what_is_asked_of_a_model_comes_back_in_float32(results):
    assert results[len(RIGHT)] == {"seen": ["torch.float32 cpu"]}


@pytest.mark.parametrize("number", range(len(PLANTED)), ids=lambda number: PLANTED[number][0]["mistake"])
def test_a_planted_mistake_is_found(number, results):
    assert PLANTED[number][1] in results[len(RIGHT) + len(ASKED) + number]["error"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_so_are_those_of_other_families(tmp_path):
    for case, result in zip(MORE, _run(tmp_path, MORE), strict=True):
        place = "cpu" if case["what"] == "ask" else "cuda:0"
        assert result == {"seen": [f"torch.float32 {place}"]}, case


def _run(folder, cases):
    environment = {**ENVIRONMENT, **os.environ, "HF_HUB_OFFLINE": "1", **pretended.environment(folder)}
    command = [sys.executable, "-m", "tests.unit.engine.cuda.on_device", json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
