"""A run whose weights are shared out by FSDP over two processes on the CPU: what is saved is whole, and it goes on.

accelerate takes FSDP for devices only: on the CPU it trains as DDP does, without a word. torch's `fully_shard` has no
such limit, so for the processes of these tests accelerate is told otherwise (`HERE`). All the rest is as on GPUs.
"""

import os
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.unit.engine.training import make, row, work
from workbench.engine.model.loading import attach_adapter, load_base
from workbench.runs import launchers
from workbench.runs.events import Failed, Finished, Stopped
from workbench.runs.process import alive, request_stop, resume, start

HERE = """
import os

if "RANK" in os.environ:
    from accelerate import state
    from accelerate.utils import DistributedType

    begin = state.AcceleratorState.__init__

    def with_fsdp(self, *arguments, fsdp_plugin=None, **named):
        begin(self, *arguments, fsdp_plugin=fsdp_plugin, **named)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin
            state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    state.AcceleratorState.__init__ = with_fsdp
"""
CONFIG = """
distributed_type: FSDP
num_machines: 1
num_processes: 2
machine_rank: 0
mixed_precision: "no"
fsdp_config:
  fsdp_version: {version}
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_state_dict_type: {kind}
  fsdp_reshard_after_forward: true
  fsdp_cpu_ram_efficient_loading: false
"""
SAME = {"abs": 1e-4, "rel": 1e-4}
ROWS = [*(row(number) for number in range(11)), *(row(number, "holdout") for number in range(11, 14))]
SETTINGS = {
    "max_steps": 6,
    "eval_steps": 3,
    "save_steps": 3,
    "learning_rate": 5e-4,
    "quantization": "none",
    "fast": False,
}
SETTINGS |= {"sample_tokens": 4}


def wait_until(condition, seconds=200.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Makes a run of two processes under accelerate's FSDP."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HERE)
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{before}" if before else str(tmp_path / "site"))

    def begin(kind="SHARDED_STATE_DICT", version=2, **values):
        config = tmp_path / "fsdp.yaml"
        config.write_text(CONFIG.format(kind=kind, version=version))
        return make(
            tmp_path / "runs", ROWS, **SETTINGS | values, batch_size=4, launcher="accelerate", processes=2,
            launcher_config=str(config),
        )  # fmt: skip

    return begin


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["SHARDED_STATE_DICT", "FULL_STATE_DICT"])
def test_shared_weights_are_saved_whole_and_the_run_goes_on(tmp_path, launched, kind):
    reference = make(tmp_path / "one", ROWS, **SETTINGS, batch_size=8)
    work(reference)
    folder = launched(kind)
    start(folder)
    wait_until(lambda: not alive(folder))
    state = folder.state()
    assert isinstance(state.end, Finished), folder.log.read_text()
    assert state.end.changed == 1.0
    names = ("loss", "rewards/margins", "logps/chosen", "kl")
    told = [*reference.state().steps, *reference.state().evals]
    for expected, found in zip(told, [*state.steps, *state.evals], strict=True):
        for name in set(names) & set(expected.metrics):
            assert found.metrics[name] == pytest.approx(expected.metrics[name], **SAME), (found.step, name)
    assert [each.aligned for each in state.samples] == [each.aligned for each in reference.state().samples]
    whole = load_file(reference.adapter / "adapter_model.safetensors")
    for place in (folder.adapter, folder.checkpoints / "checkpoint-6"):
        saved = load_file(place / "adapter_model.safetensors")
        assert {name: each.shape for name, each in saved.items()} == {name: each.shape for name, each in whole.items()}
        for name, each in saved.items():
            assert (each - whole[name]).abs().max() < 1e-4, name
    attach_adapter(load_base("tiny", "none"), folder.adapter, "run")
    trace = "pytorch_model_fsdp_0" if kind == "SHARDED_STATE_DICT" else "pytorch_model_fsdp.bin"
    assert (folder.checkpoints / "checkpoint-6" / trace).exists(), "accelerate did not share anything out"

    # The last checkpoint is lost: optimizer, weights and order come back from the one before.
    (folder.checkpoints / "checkpoint-6" / "complete.json").unlink()
    lines = [line for line in folder.events.read_text().splitlines() if '"finished"' not in line]
    folder.events.write_text("\n".join(lines) + "\n")
    start(folder)
    wait_until(lambda: not alive(folder))
    again = folder.state()
    assert isinstance(again.end, Finished), folder.log.read_text()
    assert "does not go on where it was" not in str(again.warnings)
    for expected, found in zip(state.steps[3:], again.steps[3:], strict=True):
        assert found.metrics["loss"] == pytest.approx(expected.metrics["loss"], **SAME)


@pytest.mark.timeout(900)
def test_it_stops_with_what_it_has_and_the_fast_path_steps_aside(launched):
    folder = launched(max_steps=400, eval_steps=400, save_steps=400, fast=True)
    start(folder)
    wait_until(lambda: folder.state().step >= 2 or not alive(folder))
    assert alive(folder), folder.log.read_text()
    request_stop(folder)
    wait_until(lambda: not alive(folder))
    state = folder.state()
    assert isinstance(state.end, Stopped), folder.log.read_text()
    assert state.started.path == "plain TRL"
    assert "FSDP shares the model out" in str(state.warnings)
    resume(folder)
    wait_until(lambda: folder.state().step >= state.end.step + 2 or not alive(folder))
    assert alive(folder), folder.log.read_text()
    request_stop(folder)
    wait_until(lambda: not alive(folder))
    assert isinstance(folder.state().end, Stopped)
    assert {note.end for note in launchers.notes(folder)} == {"done"}


def test_what_could_not_be_saved_is_refused(launched):
    folder = launched(version=1)
    start(folder)
    wait_until(lambda: not alive(folder))
    end = folder.state().end
    assert isinstance(end, Failed)
    assert end.title == "FSDP's first version does not fit"
    assert "fsdp_version: 2" in end.hint
    assert not Path(folder.adapter).exists()
