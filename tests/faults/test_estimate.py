"""The memory estimate against the measured peak: real training steps of random models, on the CPU."""

import json
import os
import subprocess
import sys

import pytest
import torch

from workbench.config import build_config
from workbench.runs.estimate import Lengths, estimate
from workbench.runs.process import ENVIRONMENT
from workbench.runs.shape import Shape

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="needs /proc, and a worker that trains on the CPU"
)

SMALL_HEAD = Shape(512, 6, 8, 4, 64, 1408, 2048, tied=False)
LARGE_HEAD = Shape(512, 6, 8, 4, 64, 1408, 16000, tied=False)
DEEP = Shape(384, 16, 6, 2, 64, 1024, 4096, tied=False)
LONG_FEED = Shape(512, 6, 8, 4, 64, 4096, 1024, tied=False)
WIDE = Shape(1024, 4, 16, 8, 64, 4096, 8192, tied=False)


def peak(shape, values, length, *, checkpointing=False):
    """Bytes by which a process grew over two steps; blocks of 1 MiB go back to the system as soon as they are free."""
    sizes = ("hidden", "layers", "heads", "kv_heads", "intermediate", "vocabulary")
    asked = {"shape": {name: getattr(shape, name) for name in sizes}, "config": values, "length": length}
    asked["checkpointing"] = checkpointing
    environment = {**ENVIRONMENT, **os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "tests.faults.measured_peak", json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])["growth"]


@pytest.mark.parametrize(
    ("shape", "values", "length"),
    [
        (SMALL_HEAD, {"quantization": "nf4", "batch_size": 4}, 256),
        (SMALL_HEAD, {"quantization": "nf4", "batch_size": 8}, 384),
        (SMALL_HEAD, {"quantization": "none", "batch_size": 8}, 128),
        (SMALL_HEAD, {"quantization": "int8", "batch_size": 4}, 256),
        (LARGE_HEAD, {"quantization": "nf4", "batch_size": 2}, 512),
        (LARGE_HEAD, {"quantization": "none", "batch_size": 8, "gradient_accumulation": 4}, 384),
        (DEEP, {"quantization": "nf4", "batch_size": 4, "lora_r": 64}, 256),
        (WIDE, {"quantization": "none", "batch_size": 2, "target_modules": ["q_proj", "v_proj"]}, 512),
    ],
    ids=lambda each: "-".join(map(str, each.values())) if isinstance(each, dict) else None,
)
def test_the_estimate_is_within_15_percent_of_the_measured_peak(shape, values, length, record_property):
    config = build_config({"pairs": ["x"], "max_length": length, **values})
    estimated = estimate(shape, config, Lengths.at_most(length), "cpu").training
    measured = peak(shape, {"pairs": ["x"], "max_length": length, **values}, length)
    record_property("estimated", estimated)
    record_property("measured", measured)
    print(f"{values} {length}: estimated {estimated / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB")
    assert measured > 200e6, "too small a case to tell anything"
    assert abs(estimated / measured - 1) < 0.15


@pytest.mark.parametrize(
    ("shape", "values", "length"),
    [
        (LONG_FEED, {"quantization": "nf4", "batch_size": 8}, 256),
        (DEEP, {"quantization": "none", "batch_size": 8}, 384),
    ],
)
def test_so_it_is_with_gradient_checkpointing(shape, values, length):
    values = {"pairs": ["x"], "max_length": length, **values}
    found = estimate(shape, build_config(values), Lengths.at_most(length), "cpu", checkpointing=True)
    measured = peak(shape, values, length, checkpointing=True)
    print(f"{values}: estimated {found.training / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB")
    assert abs(found.training / measured - 1) < 0.15
