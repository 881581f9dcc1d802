"""Checkpoints whose states are programs: resuming runs none of them, whatever torch's environment says."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytest
import torch

from tests.unit.engine.test_resume import PAIRS, SETTINGS, interrupted, stop
from tests.unit.engine.training import make, work
from workbench.engine.training.checkpoint_files import read_states
from workbench.errors import WorkbenchError
from workbench.runs.checkpoints import MARKER, complete, mark_complete, progress
from workbench.runs.events import Step
from workbench.runs.folder import RunFolder


class Program:
    """Unpickled in the usual way, it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(autouse=True)
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """With it, torch.load reads everything unless its caller says otherwise."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


def stopped(path: Path, **settings: object) -> RunFolder:
    folder = make(path, PAIRS, **SETTINGS | settings)
    work(folder, interrupted((Step, 2, stop)))
    folder.stop.unlink()
    return folder


@pytest.mark.parametrize(
    ("name", "fast"),
    [
        ("optimizer.pt", True),
        ("scheduler.pt", True),
        ("rng_state.pth", True),
        ("references.pt", True),
        pytest.param("optimizer.pt", False, marks=pytest.mark.slow),
        pytest.param("scheduler.pt", False, marks=pytest.mark.slow),
        pytest.param("rng_state.pth", False, marks=pytest.mark.slow),
    ],
)
def test_resuming_runs_none_of_them(tmp_path: Path, name: str, *, fast: bool) -> None:
    folder = stopped(tmp_path, fast=fast)
    checkpoint = complete(folder)[-1]
    assert (checkpoint / name).is_file()
    at, marker = progress(checkpoint), tmp_path / "ran"
    torch.save(Program(marker), checkpoint / name)
    (checkpoint / MARKER).unlink()
    mark_complete(checkpoint, at)
    with pytest.raises(WorkbenchError if fast else UnpicklingError, match=name if fast else "weights_only"):
        work(folder)
    assert not marker.exists()


@pytest.mark.parametrize("bytes_", [b"", b"\x80\x04.", b"PK\x03\x04", b"{}", bytes(range(200))])
def test_what_is_no_such_file_is_refused_by_its_name(tmp_path: Path, bytes_: bytes) -> None:
    (tmp_path / "optimizer.pt").write_bytes(bytes_)
    with pytest.raises(WorkbenchError, match=r"optimizer\.pt cannot be read"):
        read_states(tmp_path / "optimizer.pt")


def test_states_of_another_run_are_refused(tmp_path: Path) -> None:
    folder = stopped(tmp_path)
    checkpoint = complete(folder)[-1]
    at = progress(checkpoint)
    torch.save({"state": 5}, checkpoint / "optimizer.pt")
    (checkpoint / MARKER).unlink()
    mark_complete(checkpoint, at)
    with pytest.raises(WorkbenchError, match="does not fit the run"):
        work(folder)
