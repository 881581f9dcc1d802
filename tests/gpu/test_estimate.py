"""The memory estimate against `max_memory_allocated`: bfloat16, gradient checkpointing, the kernels of CUDA."""

import json
import os
import subprocess
import sys

import pytest
import torch

from workbench.child import ENVIRONMENT
from workbench.config import build_config
from workbench.runs.activation_memory import Lengths
from workbench.runs.estimate import estimate
from workbench.runs.model_shape import Shape

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SHAPE = Shape(2048, 16, 32, 8, 64, 8192, 128256, tied=False)
"""That of Llama 3.2 1B, embeddings apart."""


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
@pytest.mark.parametrize(("batch", "length"), [(4, 512), (8, 1024)])
def test_the_estimate_is_within_15_percent_of_the_measured_peak(quantization, batch, length, fast):
    values = {"pairs": ["x"], "quantization": quantization, "batch_size": batch, "max_length": length, "fast": fast}
    values["checkpointing"] = "all"
    sizes = ("hidden", "layers", "heads", "kv_heads", "intermediate", "vocabulary")
    asked = {"shape": {name: getattr(SHAPE, name) for name in sizes}, "config": values, "length": length}
    command = [sys.executable, "-m", "tests.faults.measured_peak", json.dumps(asked)]
    environment = {**ENVIRONMENT, **os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["layout"] == "plain TRL") != fast
    measured, answer = told["allocated"], length - length // 3
    lengths = Lengths(length, 2 * answer, length + answer)
    estimated = estimate(SHAPE, build_config(values), lengths, "cuda").training
    print(f"{values}: estimated {estimated / 1e9:.2f} GB, measured {measured / 1e9:.2f} GB")
    assert abs(estimated / measured - 1) < 0.15
