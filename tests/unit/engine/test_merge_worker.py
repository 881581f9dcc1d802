"""The merge's process and its end from outside, which leaves nothing. The merge itself stands in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from workbench import child
from workbench.runs.folder import RunFolder
from workbench.runs.merge_bounds import Bounds
from workbench.runs.merging import Cancelled, Done, Idle, Merged, MergeFailed, Merging, Running, State

MERGED = Merged("to", "gguf", "bf16", 7, 14, 0.5, None, None, [], "vllm serve to")
BOUNDS = Bounds(turned=0.5)
SCRIPT = """
import sys, time, types
from pathlib import Path
from workbench.child import serve
from workbench.engine.shipping.destination import written
from workbench.errors import WorkbenchError
from workbench.runs.merge_bounds import Bounds
from workbench.runs.merging import Merged

def merge(folder, to, *, dtype, form, bounds, progress):
    assert bounds == Bounds(turned=0.5)
    if dtype == "fp16":
        raise WorkbenchError("No", "such", "dtype")
    if dtype == "bf16":
        with written(to) as new:
            new.mkdir()
            (new / "half.safetensors").write_text("x")
            progress("writing", 0.5)
            while not Path(str(to) + ".go").exists():
                time.sleep(0.02)
    return Merged("to", "gguf", "bf16", 7, 14, 0.5, None, None, [], "vllm serve to")

sys.modules["workbench.engine.shipping.merge_adapter"] = types.SimpleNamespace(merge=merge)
from workbench.engine.merge_worker import work
serve(work, outlives=True)
"""


@pytest.fixture
def merging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Merging:
    monkeypatch.setattr(child, "python", lambda _: [sys.executable, "-c", SCRIPT])
    return Merging(RunFolder(tmp_path / "run"))


def until(merging: Merging, holds: Callable[[Any], bool]) -> State:
    deadline = time.monotonic() + 60
    while not holds(merging.state):
        assert time.monotonic() < deadline, merging.state
        time.sleep(0.01)
    return merging.state


def test_a_merge_is_done(merging: Merging, tmp_path: Path) -> None:
    assert merging.state == Idle()
    merging.start(tmp_path / "to", "fp32", "gguf", BOUNDS)
    assert until(merging, lambda _: not merging.running) == Done(MERGED)


def test_how_far_it_is_and_stopping_it(merging: Merging, tmp_path: Path) -> None:
    to = tmp_path / "to"
    merging.start(to, "bf16", "gguf", BOUNDS)
    assert until(merging, lambda state: state.stage == "writing") == Running(to, "writing", 0.5)
    assert len(list(tmp_path.iterdir())) == 1
    merging.start(tmp_path / "elsewhere", "fp32", "gguf", BOUNDS)
    merging.cancel()
    assert merging.state == Running(to, "writing", 0.5, stopping=True)
    assert until(merging, lambda _: not merging.running) == Cancelled()
    assert list(tmp_path.iterdir()) == []


def test_why_it_failed(merging: Merging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    merging.start(tmp_path / "to", "fp16", "gguf", BOUNDS)
    failed = until(merging, lambda _: not merging.running)
    assert isinstance(failed, MergeFailed)
    assert failed.error.args[:3] == ("No", "such", "dtype")
    monkeypatch.setattr(child, "run", lambda *_, **__: 1 / 0)
    merging.start(tmp_path / "to", "fp32", "gguf", BOUNDS)
    failed = until(merging, lambda _: not merging.running)
    assert isinstance(failed, MergeFailed)
    assert "ZeroDivisionError" in failed.error.message


PARENT = f"""
import sys, time
from pathlib import Path
from workbench import child
from workbench.runs.folder import RunFolder
from workbench.runs.merge_bounds import Bounds
from workbench.runs.merging import Merging
child.python = lambda _: [sys.executable, "-c", {SCRIPT!r}]
merging = Merging(RunFolder(Path("run")))
merging.start(Path(sys.argv[1]), "bf16", "gguf", Bounds(turned=0.5))
while merging.state.stage != "writing":
    time.sleep(0.02)
"""


def test_it_goes_on_when_the_screens_are_closed(tmp_path: Path) -> None:
    to = tmp_path / "to"
    subprocess.run([sys.executable, "-c", PARENT, str(to)], check=True, timeout=60)
    (unfinished,) = tmp_path.iterdir()
    pid = int(unfinished.suffixes[-2][1:])
    time.sleep(0.3)
    assert psutil.pid_exists(pid)
    (tmp_path / "to.go").touch()
    deadline = time.monotonic() + 30
    while not to.exists() or psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_an_end_from_outside_leaves_nothing(tmp_path: Path, name: signal.Signals) -> None:
    process = child.Child([sys.executable, "-c", SCRIPT])
    asked = {"run": str(tmp_path / "run"), "to": str(tmp_path / "to"), "dtype": "bf16", "form": "gguf"}
    asked["bounds"] = BOUNDS.model_dump()
    process.ask(asked)
    assert child.decode(next(process.lines())) == child.Progress("writing", 0.5)
    assert [path.name for path in tmp_path.iterdir()] == [f".to.{process.pid}.tmp"]
    os.killpg(process.pid, name)
    assert "signal 2 (SIGINT)" in process.last_words("It").message
    assert list(tmp_path.iterdir()) == []
