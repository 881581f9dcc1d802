"""Checkpoints that lie: the run goes on from an older one, says so, and ends where it would have ended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.table import FaultTable, seeded, times
from tests.unit.engine.test_resume import EXACT, PAIRS, SETTINGS, KilledError, interrupted, kill
from tests.unit.engine.training import make, read, work
from workbench.engine.train import attempt as train
from workbench.engine.training.control import Control
from workbench.runs.checkpoints import MARKER, complete
from workbench.runs.events import Failed, Finished, Resumed, Step, Warned
from workbench.runs.folder import RunFolder
from workbench.runs.writer import EventWriter

NEWEST, OLDER = "checkpoint-6", "checkpoint-4"
Lie = Callable[[Path], object]


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """Of a run that nothing interrupted."""
    folder = make(tmp_path_factory.mktemp("whole"), PAIRS, **SETTINGS)
    assert isinstance(work(folder), Finished)
    return losses_of(folder)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was killed at step 7 of 9."""
    folder = make(tmp_path_factory.mktemp("killed"), PAIRS, **SETTINGS)
    with pytest.raises(KilledError):
        work(folder, interrupted((Step, 7, kill)))
    assert [path.name for path in complete(folder)][-2:] == [OLDER, NEWEST]
    return folder


def losses_of(folder: RunFolder) -> dict[int, float]:
    return {step.step: step.metrics["loss"] for step in folder.state().steps}


def go_on(folder: RunFolder) -> object:
    with EventWriter(folder.events) as events:
        end = train(folder, events, Control(folder))
        events.write(end)
    return end


def marker(**fields: object) -> Lie:
    def change(path: Path) -> None:
        (path / MARKER).write_text(json.dumps(json.loads((path / MARKER).read_text()) | fields))

    return change


def zeros(name: str) -> Lie:
    return lambda path: (path / name).write_bytes(bytes((path / name).stat().st_size))


def shorter(name: str) -> Lie:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-100])


def becomes_link(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to(path.with_name(OLDER))


def becomes_copy(path: Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(path.with_name(OLDER), path)


def marker_is_a_folder(path: Path) -> None:
    (path / MARKER).unlink()
    (path / MARKER).mkdir()


def renamed(path: Path) -> None:
    path.rename(path.with_name("checkpoint-8"))


ABSENT = {"ghost.pt": {"bytes": 5, "sha256": ""}}
LIES: dict[str, Lie] = {
    "weights cut": shorter("adapter_model.safetensors"),
    "optimizer cut": shorter("optimizer.pt"),
    "weights of zeros": zeros("adapter_model.safetensors"),
    "optimizer of zeros": zeros("optimizer.pt"),
    "random state of zeros": zeros("rng_state.pth"),
    "no weights": lambda path: (path / "adapter_model.safetensors").unlink(),
    "no optimizer": lambda path: (path / "optimizer.pt").unlink(),
    "no random state": lambda path: (path / "rng_state.pth").unlink(),
    "no marker": lambda path: (path / MARKER).unlink(),
    "marker of zeros": zeros(MARKER),
    "marker is a folder": marker_is_a_folder,
    "marker names what is not there": marker(files=ABSENT),
    "marker names nothing": marker(files={}),
    "marker of a later step": marker(step=8),
    "marker of impossible time": marker(seconds=float("inf")),
    "marker of null": marker(pairs=None),
    "an older one, linked": becomes_link,
    "an older one, copied": becomes_copy,
    "name of a later step": renamed,
}


@pytest.mark.parametrize("name", LIES)
def test_a_checkpoint_that_lies_is_passed_over(
    name: str, killed: RunFolder, losses: dict[int, float], tmp_path: Path, faults: FaultTable
) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(killed.path, folder.path, symlinks=True)
    with faults.attempt("checkpoint that lies") as attempt:
        LIES[name](folder.checkpoints / NEWEST)
        end = go_on(folder)
        assert isinstance(end, Finished), end
        assert read(folder, Resumed)[-1].step == 4
        warned = " ".join(f"{each.title} {each.message}" for each in read(folder, Warned))
        assert "checkpoint-8" in warned if name == "name of a later step" else NEWEST in warned
        assert losses_of(folder) == pytest.approx(losses, **EXACT)
        attempt.kept(losses, losses_of(folder))


def test_any_byte_of_a_checkpoint_that_changes_is_noticed(
    killed: RunFolder, losses: dict[int, float], tmp_path: Path, faults: FaultTable
) -> None:
    rng = seeded(22)
    names = sorted(each.name for each in (killed.checkpoints / NEWEST).iterdir() if each.stat().st_size)
    for number in range(times(20)):
        folder = RunFolder(tmp_path / f"run-{number}")
        shutil.copytree(killed.path, folder.path)
        path = folder.checkpoints / NEWEST / rng.choice(names)
        with faults.attempt("byte of a checkpoint changed") as attempt:
            content = bytearray(path.read_bytes())
            place = rng.randrange(len(content))
            content[place] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
            end = go_on(folder)
            assert isinstance(end, Finished), (path.name, place, end)
            assert losses_of(folder) == pytest.approx(losses, **EXACT), (path.name, place)
            attempt.kept(losses, losses_of(folder))
        shutil.rmtree(folder.path)


def test_where_all_lie_the_run_begins_anew_and_says_so(
    killed: RunFolder, losses: dict[int, float], tmp_path: Path, faults: FaultTable
) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(killed.path, folder.path)
    with faults.attempt("checkpoint that lies") as attempt:
        for path in complete(folder):
            zeros("adapter_model.safetensors")(path)
        end = go_on(folder)
        assert isinstance(end, Finished)
        assert "from the beginning" in " ".join(each.message for each in read(folder, Warned))
        assert losses_of(folder) == pytest.approx(losses, **EXACT)
        attempt.kept(losses, losses_of(folder))


def test_a_state_of_another_kind_under_a_true_marker_is_told(
    killed: RunFolder, tmp_path: Path, faults: FaultTable
) -> None:
    """What no digest can notice: it was written so."""
    import torch

    from workbench.runs.checkpoints import mark_complete, progress

    for name, content in {
        "optimizer.pt": {"state": {}, "param_groups": []},
        "scheduler.pt": [1, 2, 3],
        "rng_state.pth": {"python": None},
    }.items():
        folder = RunFolder(tmp_path / name)
        shutil.copytree(killed.path, folder.path)
        with faults.attempt("checkpoint that lies"):
            path = folder.checkpoints / NEWEST
            torch.save(content, path / name)
            mark_complete(path, progress(path))
            end = go_on(folder)
            assert isinstance(end, Failed)
            assert NEWEST in f"{end.message} {end.hint}", end
            assert "fit" in end.title
