"""A model to be asked goes beside a run that trains on the GPU only where the run keeps what it will need."""

from datetime import datetime
from pathlib import Path

import pytest

from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.runs import beside_run
from workbench.runs.estimate import asking
from workbench.runs.folder import create
from workbench.runs.machine import Gpu, Holder, Machine, Memory
from workbench.runs.model_shape import Shape

GB = 10**9
LLAMA_8B = Shape(4096, 32, 32, 8, 128, 14336, 128256, tied=False)


def machine_with(free, held):
    holders = (Holder(77, "python", held, ours=True),) if held else ()
    gpu = Gpu(0, "NVIDIA GeForce RTX 4090", 24 * GB, int(free), None, holders)
    return Machine(Memory(64 * GB, 32 * GB), (gpu,), gpu, 100 * GB)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """One that trains on the GPU."""
    config = build_config({"pairs": ["x"], "model": "big", "batch_size": 4, "max_length": 512})
    folder = create(tmp_path / "runs", config, [], {}, now=datetime(2026, 1, 1))
    monkeypatch.setattr("workbench.runs.lease.holder", lambda: folder.path)
    monkeypatch.setattr(beside_run, "worker_pid", lambda _: 77)
    monkeypatch.setattr(beside_run, "shape_of", lambda _: LLAMA_8B)
    return folder


@pytest.mark.parametrize(
    ("free", "held", "fits"),
    [
        (18 * GB, 0, False),  # The run has yet to load its model, and will take half of it.
        (14 * GB, 10 * GB, True),
        (6 * GB, 10 * GB, False),
    ],
)
def test_what_the_run_still_needs_is_left_to_it(free, held, fits, run, monkeypatch):
    monkeypatch.setattr("workbench.runs.machine.look", lambda _: machine_with(free, held))
    needed = asking(LLAMA_8B, "nf4", "cuda")
    assert 9 * GB < needed < 13 * GB
    told = beside_run.cpu_instead("big", "nf4")
    assert bool(told) != fits
    if not fits:
        assert f"run {run.id} trains on NVIDIA GeForce RTX 4090" in told
        assert "big takes" in told


def test_without_a_gpu_or_a_run_or_a_size_nothing_is_said(run, monkeypatch):
    full = machine_with(0, 0)
    monkeypatch.setattr("workbench.runs.machine.look", lambda _: full)
    assert beside_run.cpu_instead("big", "nf4")

    def unknown(_model):
        raise WorkbenchError("The model is not on this machine yet", "")

    monkeypatch.setattr(beside_run, "shape_of", unknown)
    assert beside_run.cpu_instead("big", "nf4") == ""
    monkeypatch.setattr("workbench.runs.lease.holder", lambda: None)
    assert beside_run.cpu_instead("big", "nf4") == ""
    monkeypatch.setattr("workbench.runs.lease.holder", lambda: Path(run.path))
    monkeypatch.setattr("workbench.runs.machine.look", lambda _: Machine(full.memory, (), None, 1))
    assert beside_run.cpu_instead("big", "nf4") == ""
