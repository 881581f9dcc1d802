"""A run that was interrupted, however, goes on as if it had not been: to 1e-6, on the embedded model in 4 bits."""

import resource
import shutil
import threading
import time

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._pytree import tree_iter

from tests.unit.engine.training import make, read, row, work
from workbench.engine.fast.proof import UnsuitableError
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.batch_order import LongestFirst, lengths
from workbench.engine.training.checkpoint_files import read_states
from workbench.engine.training.resume import find_origin
from workbench.errors import WorkbenchError
from workbench.runs.checkpoints import RunProgress, complete, mark_complete, progress
from workbench.runs.events import (
    Checkpoint,
    Continued,
    Failed,
    Finished,
    Paused,
    Phase,
    Resumed,
    Sample,
    Started,
    Step,
    Stopped,
    Warned,
)
from workbench.runs.folder import RunFolder
from workbench.runs.writer import EventWriter, RunDeletedError

SETTINGS = {
    "max_steps": 0, "epochs": 3.0, "batch_size": 4, "gradient_accumulation": 2, "save_steps": 2, "eval_steps": 4,
    "scheduler": "cosine", "warmup": 0.2, "learning_rate": 5e-4, "sample_tokens": 6,
}  # fmt: skip
PAIRS = [*(row(number) for number in range(11)), *(row(number, "holdout") for number in range(11, 14))]
EXACT = {"abs": 1e-6, "rel": 1e-6}


def new(path):
    """Three steps an epoch, nine in all; the last of an epoch is short."""
    return make(path, PAIRS, **SETTINGS)


class KilledError(BaseException):
    """As abrupt as it gets within one process: nothing of the worker's handles it."""


def interrupted(*moments):
    """A writer that, once it has told an event of the kind and step of a moment, does with the folder what it says."""

    class Interrupting(EventWriter):
        def __init__(self, path):
            super().__init__(path)
            self.folder = RunFolder(path.parent)

        def write(self, event):
            super().write(event)
            for kind, step, act in moments:
                if isinstance(event, kind) and event.step == step:
                    act(self.folder)

    return Interrupting


def kill(_):
    raise KilledError


def stop(folder):
    folder.stop.touch()


def pause(folder):
    folder.pause.touch()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    folder = new(tmp_path_factory.mktemp("whole"))
    assert isinstance(work(folder), Finished)
    return folder


def killed_within_an_epoch(folder):
    with pytest.raises(KilledError):
        work(folder, interrupted((Step, 5, kill)))
    return 4  # the last checkpoint


def stopped_before_an_evaluation(folder):
    assert isinstance(work(folder, interrupted((Step, 3, stop))), Stopped)
    folder.stop.unlink()
    return 4


def killed_while_paused_between_epochs(folder):
    with pytest.raises(KilledError):
        work(folder, interrupted((Step, 2, pause), (Paused, 3, kill)))
    folder.pause.unlink()
    return 3


@pytest.mark.parametrize(
    "interrupt", [killed_within_an_epoch, stopped_before_an_evaluation, killed_while_paused_between_epochs]
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(interrupt, whole, tmp_path):
    folder = new(tmp_path)
    step = interrupt(folder)
    told = len(read(folder, object))
    assert isinstance(work(folder), Finished)
    again = read(folder, object)[told:]
    (resumed,) = [event for event in again if isinstance(event, Resumed)]
    assert (resumed.step, resumed.checkpoint) == (step, f"checkpoints/checkpoint-{step}")
    assert again.index(resumed) < min(again.index(event) for event in again if isinstance(event, Phase | Started))
    assert [event.step for event in again if isinstance(event, Step)] == list(range(step + 1, 10))
    assert read(folder, Warned) == read(whole, Warned)
    before, after = whole.state(), folder.state()
    for expected, found in zip(before.steps, after.steps, strict=True):
        assert found.metrics == pytest.approx(expected.metrics, **EXACT)
        assert (found.step, found.epoch, found.pairs) == (expected.step, expected.epoch, expected.pairs)
    assert [each.seconds for each in after.steps] == sorted(each.seconds for each in after.steps)
    # An evaluation that the stop gave up is made after all; none is made twice.
    assert [each.step for each in after.evals] == [0, 4, 8, 9]
    for expected, found in zip(before.evals, after.evals, strict=True):
        assert found.metrics == pytest.approx(expected.metrics, **EXACT)
    assert [(each.step, each.aligned) for each in after.samples] == [
        (each.step, each.aligned) for each in before.samples
    ]
    expected, found = (load_file(each.adapter / "adapter_model.safetensors") for each in (whole, folder))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_moments_in_8_bits_go_on_from_a_checkpoint(tmp_path):
    """Of matrices of 4,096 weights and more; others are in float32."""
    values = SETTINGS | {"optimizer": "adamw_8bit", "lora_r": 64, "epochs": 2.0, "sample_tokens": 0}
    whole, folder = (make(tmp_path / name, PAIRS, **values) for name in ("whole", "cut"))
    assert isinstance(work(whole), Finished)
    states = read_states(complete(whole)[-1] / "optimizer.pt")["state"]
    assert torch.uint8 in {each.dtype for each in tree_iter(states) if isinstance(each, torch.Tensor)}
    killed_within_an_epoch(folder)
    assert isinstance(work(folder), Finished)
    for expected, found in zip(whole.state().steps, folder.state().steps, strict=True):
        assert found.metrics == pytest.approx(expected.metrics, **EXACT)


def test_a_run_goes_on_under_trl_where_the_fast_path_fits_no_longer(tmp_path, monkeypatch):
    """Either writes checkpoints that the other can read."""
    values = SETTINGS | {"gradient_accumulation": 1, "sample_tokens": 0}
    whole, folder = (make(tmp_path / name, PAIRS, **values) for name in ("whole", "cut"))
    work(whole)
    step = killed_within_an_epoch(folder)

    def unsuited(*_):
        raise UnsuitableError("for a test")

    monkeypatch.setattr("workbench.engine.methods.pairwise.suited", unsuited)
    assert isinstance(work(folder), Finished)
    assert [each.path for each in read(folder, Started)] == ["one line, an attention a row", "plain TRL"]
    before, after = ([each.metrics for each in run.state().steps[step:]] for run in (whole, folder))
    assert len(after) == 5
    for expected, found in zip(before, after, strict=True):
        assert found == pytest.approx(expected, abs=1e-3, rel=1e-3)


def test_only_the_adapter_is_missing(whole, tmp_path):
    """Killed after the last step: no step is made again, nor one too many."""
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole.path, folder.path)
    lines = folder.events.read_text().splitlines(keepends=True)
    folder.events.write_text("".join(lines[:-2]))
    shutil.rmtree(folder.adapter)
    end = work(folder)
    assert isinstance(end, Finished)
    assert (end.step, end.changed) == (9, 1.0)
    assert [each.step for each in folder.state().steps] == list(range(1, 10))
    expected, found = (load_file(each.adapter / "adapter_model.safetensors") for each in (whole, folder))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert (folder.adapter / "README.md").read_text() == (whole.adapter / "README.md").read_text()


def test_a_checkpoint_says_how_far_the_run_had_come(whole):
    paths = complete(whole)
    assert [path.name for path in paths] == ["checkpoint-8", "checkpoint-9"]
    last = whole.state().steps[-1]
    at = progress(paths[-1])
    assert (at.step, at.pairs, at.tokens) == (9, 33, last.metrics["num_tokens"])
    assert last.seconds <= at.seconds < last.seconds + 5
    assert load_file(paths[-1] / "adapter_model.safetensors")
    assert all(each.dtype == torch.float32 for each in load_file(paths[-1] / "adapter_model.safetensors").values())


@pytest.mark.parametrize("cut", [0, 100])
def test_torn_checkpoints_are_skipped_and_named(cut, whole, tmp_path):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole.path, folder.path)
    weights = folder.checkpoints / "checkpoint-9" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-cut] if cut else b"")
    with EventWriter(folder.events) as events:
        origin = find_origin(folder, events)
    assert origin.checkpoint == folder.checkpoints / "checkpoint-8"
    (warned,) = read(folder, Warned)
    assert "checkpoint-9" in warned.message
    assert "checkpoint-8" in warned.message
    assert read(folder, Resumed)[-1].step == 8


def test_with_no_complete_checkpoint_the_run_begins_anew(whole, tmp_path):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole.path, folder.path)
    for path in complete(folder):
        (path / "complete.json").unlink()
    with EventWriter(folder.events) as events:
        origin = find_origin(folder, events)
    assert (origin.checkpoint, origin.at) == (None, RunProgress())
    (warned,) = read(folder, Warned)
    assert "from the beginning" in warned.message
    assert "checkpoint-8" in warned.message
    assert folder.state().steps == ()


def test_a_new_run_is_not_resumed(tmp_path):
    folder = new(tmp_path)
    with EventWriter(folder.events) as events:
        assert find_origin(folder, events).checkpoint is None
    assert read(folder, object) == []


def test_a_loss_that_is_not_what_it_was_is_told(tmp_path):
    folder = new(tmp_path)
    place = folder.checkpoints / "checkpoint-1"
    place.mkdir(parents=True)
    (place / "optimizer.pt").write_bytes(b"o")
    mark_complete(place, RunProgress(1, 1.0, 4, 100))
    with EventWriter(folder.events) as events:
        for step, loss in ((1, 0.7), (2, 0.5)):
            events.write(
                Step(time=0, step=step, epoch=0, seconds=1, pairs=4, metrics={"loss": loss}, pairs_per_second=1,
                     tokens_per_second=1, memory_bytes=1)
            )  # fmt: skip
        origin = find_origin(folder, events)
    assert origin.check_first(2, 0.5009) == ""
    assert "0.5021" in origin.check_first(2, 0.5021)
    assert origin.check_first(3, 9.0) == ""
    assert origin.check_first(1, 9.0) == ""


def test_a_pause_costs_neither_time_nor_power(tmp_path):
    used = []

    def begin(folder):
        used.append(time.process_time())
        threading.Timer(1.0, folder.pause.unlink).start()

    folder = make(tmp_path, PAIRS[:4], max_steps=3, batch_size=4, sample_tokens=0, save_steps=3)
    moments = (Step, 1, pause), (Paused, 2, begin), (Continued, 2, lambda _: used.append(time.process_time()))
    end = work(folder, interrupted(*moments))
    assert isinstance(end, Finished)
    paused, continued = read(folder, Paused), read(folder, Continued)
    assert ([each.step for each in paused], [each.step for each in continued]) == ([2], [2])
    assert continued[0].time - paused[0].time >= 0.9
    assert used[1] - used[0] < 0.3
    second, third = read(folder, Step)[1:]
    assert third.seconds - second.seconds < third.time - second.time - 0.9
    assert [each.step for each in read(folder, Checkpoint)] == [2, 3]


def test_a_paused_run_can_be_stopped(tmp_path):
    folder = make(tmp_path, PAIRS[:4], max_steps=30, batch_size=4, sample_tokens=0, save_steps=30)
    end = work(folder, interrupted((Step, 1, pause), (Paused, 2, stop)))
    assert isinstance(end, Stopped)
    assert (end.step, len(read(folder, Continued))) == (2, 0)
    assert [each.step for each in read(folder, Checkpoint)] == [2]
    assert folder.adapter.is_dir()


def test_a_run_deleted_under_its_worker_ends_within_a_step_and_stays_deleted(tmp_path):
    folder = make(tmp_path, PAIRS[:4], max_steps=30, batch_size=4, sample_tokens=0, save_steps=1)
    with pytest.raises(RunDeletedError):
        work(folder, interrupted((Step, 2, lambda each: shutil.rmtree(each.path))))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_finds_no_room_leaves_the_older_one_and_no_torn_one(tmp_path):
    """A real limit on the size of files, so that the real writers fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limited = interrupted((Step, 4, lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))))
    folder = make(tmp_path, PAIRS[:4], max_steps=6, batch_size=4, sample_tokens=0, save_steps=2)
    try:
        with pytest.raises(WorkbenchError, match="The disk is full") as told:
            work(folder, limited)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"workbench resume {folder.id}" in told.value.hint
    assert [path.name for path in folder.checkpoints.iterdir()] == ["checkpoint-2"]
    assert [path.name for path in complete(folder)] == ["checkpoint-2"]


def test_answering_and_measuring_change_no_loss(tmp_path):
    found = []
    for name, values in {
        "quiet": {"holdout": 0.0, "sample_tokens": 0},
        "asked": {"eval_steps": 1, "sample_every": 1, "sample_tokens": 8},
    }.items():
        rows = PAIRS if name == "asked" else PAIRS[:11]
        folder = make(tmp_path / name, rows, max_steps=4, batch_size=4, gradient_accumulation=2, **values)
        work(folder)
        found.append([each.metrics["loss"] for each in read(folder, Step)])
    assert [each.step for each in read(folder, Sample)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert read(folder, Failed) == []
    assert found[0] == found[1]


def test_the_longest_pairs_come_first_and_the_rest_by_seed():
    sizes = [5, 9, 3, 9, 7, 1, 2, 8, 9, 4]
    order = LongestFirst(sizes, 3, seed=1)
    first = list(order)
    assert sorted(first) == list(range(10))
    assert {sizes[index] for index in first[:3]} == {9}
    assert first[3:] != sorted(first[3:])
    assert list(LongestFirst(sizes, 3, seed=1)) == first
    assert list(LongestFirst(sizes, 3, seed=2)) != first
    order.set_epoch(1)
    second = list(order)
    assert sorted(second) == list(range(10))
    assert second != first
    assert {sizes[index] for index in second[:3]} != {9}
    pairs = [PairIds([1, 2], [3], [4, 5]), PairIds([1], [2] * 20, [3])]
    assert lengths(pairs, 8) == [4, 8]
    assert lengths(pairs, 99) == [4, 21]
