"""The memory estimate against the measured peak: real training steps of random models, on the CPU."""

import json
import os
import subprocess
import sys

import pytest
import torch

from workbench.child import ENVIRONMENT
from workbench.config import build_config
from workbench.runs.activation_memory import Lengths
from workbench.runs.estimate import Judge, estimate
from workbench.runs.model_shape import Shape

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="needs /proc, and a worker that trains on the CPU"
)

SMALL_HEAD = Shape(512, 6, 8, 4, 64, 1408, 2048, tied=False)
LARGE_HEAD = Shape(512, 6, 8, 4, 64, 1408, 16000, tied=False)
DEEP = Shape(384, 16, 6, 2, 64, 1024, 4096, tied=False)
LONG_FEED = Shape(512, 6, 8, 4, 64, 4096, 1024, tied=False)
WIDE = Shape(1024, 4, 16, 8, 64, 4096, 8192, tied=False)


def peak(shape, values, length, layout, **more):
    """Bytes by which a process grew over two steps; blocks of 256 KiB go back to the system once they are free."""
    sizes = ("hidden", "layers", "heads", "kv_heads", "intermediate", "vocabulary")
    asked = {"shape": {name: getattr(shape, name) for name in sizes}, "config": values, "length": length}
    asked |= more
    environment = {**ENVIRONMENT, **os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**18), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "tests.faults.measured_peak", json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["layout"].startswith(layout)
    return told["growth"]


def lengths(length, answer=None):
    """Those of the pairs that are measured: a third of them is the prompt, unless an answer's tokens are given."""
    answer = answer or length - length // 3
    return Lengths(length, 2 * answer, length + answer)


def close(estimated, measured, what):
    print(f"{what}: estimated {estimated / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB")
    assert measured > 200e6, "too small a case to tell anything"
    assert abs(estimated / measured - 1) < 0.15


PAIRS = [
    (SMALL_HEAD, {"quantization": "nf4", "batch_size": 4}, 256),
    (SMALL_HEAD, {"quantization": "none", "batch_size": 8}, 128),
    (SMALL_HEAD, {"quantization": "int8", "batch_size": 4}, 256),
    (LARGE_HEAD, {"quantization": "nf4", "batch_size": 2}, 512),
    (LARGE_HEAD, {"quantization": "none", "batch_size": 8, "gradient_accumulation": 4}, 384),
    (DEEP, {"quantization": "nf4", "batch_size": 4, "lora_r": 64}, 256),
    (WIDE, {"quantization": "none", "batch_size": 2, "target_modules": ["q_proj", "v_proj"]}, 512),
]
"""Shape, settings and length of both paths."""
LONG_STEP = (SMALL_HEAD, {"quantization": "nf4", "batch_size": 20}, 245)
"""Of twice the tokens that go through the model at once on the fast path."""
OTHERS = [
    (SMALL_HEAD, {"method": "simpo", "quantization": "nf4", "batch_size": 6, "attention": "eager"}, 256),
    (SMALL_HEAD, {"method": "kto", "quantization": "nf4", "batch_size": 4}, 256),
    (LARGE_HEAD, {"method": "reward", "quantization": "none", "batch_size": 4}, 256),
]


@pytest.mark.parametrize(
    ("shape", "values", "length", "path"),
    [*((*each, "fast") for each in [*PAIRS, LONG_STEP]), *((*each, "plain") for each in PAIRS)],
    ids=lambda each: "-".join(map(str, each.values())) if isinstance(each, dict) else None,
)
def test_the_estimate_is_within_15_percent_of_the_measured_peak(shape, values, length, path):
    values = {"pairs": ["x"], "max_length": length, "fast": path == "fast", **values}
    measured = peak(shape, values, length, "one line" if path == "fast" else "plain")
    close(estimate(shape, build_config(values), lengths(length), "cpu").training, measured, f"{path} {values}")


@pytest.mark.parametrize(("shape", "values", "length"), OTHERS, ids=["eager", "kto", "reward"])
def test_so_it_is_for_other_methods_and_kernels(shape, values, length):
    values = {"pairs": ["x"], "max_length": length, **values}
    measured = peak(shape, values, length, "a line a pair" if values["method"] == "simpo" else "plain")
    close(estimate(shape, build_config(values), lengths(length), "cpu").training, measured, values)


@pytest.mark.parametrize("path", ["fast", "plain"])
@pytest.mark.parametrize(
    ("shape", "values", "length"),
    [
        (LONG_FEED, {"quantization": "nf4", "batch_size": 8}, 256),
        (DEEP, {"quantization": "none", "batch_size": 8}, 384),
    ],
)
def test_so_it_is_with_gradient_checkpointing(shape, values, length, path):
    values = {"pairs": ["x"], "max_length": length, "fast": path == "fast", "checkpointing": "all", **values}
    found = estimate(shape, build_config(values), lengths(length), "cpu")
    measured = peak(shape, values, length, "one line" if path == "fast" else "plain")
    close(found.training, measured, f"{path} {values}")


@pytest.mark.parametrize(("method", "reward"), [("grpo", "reward"), ("rloo", "dpo")])
def test_so_it_is_with_the_model_that_judges_answers(method, reward):
    shape, length, answer = WIDE, 96, 32
    values = {"pairs": ["x"], "method": method, "reward": "run:reward", "quantization": "none"}
    values |= {"max_length": 128, "completion_tokens": answer, "batch_size": 8, "group_size": 4}
    judge = Judge(shape, build_config({"pairs": ["x"], "method": reward, "quantization": "none", "lora_r": 4}))
    found = estimate(shape, build_config(values), lengths(length, answer), "cpu", judge=judge)
    assert {"reward's model", "judging", "answering"} <= {part.name for part in found.parts}
    close(found.training, peak(shape, values, length, "plain", reward=reward), f"{method}, worth by {reward}")
