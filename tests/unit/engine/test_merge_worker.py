"""The merge's process: what it prints, and that an end from outside leaves nothing. The merge itself stands in."""

import json
import os
import signal
import subprocess
import sys

import pytest

SCRIPT = """
import sys, time, types
from pathlib import Path
from workbench.engine.shipping.destination import written
from workbench.errors import WorkbenchError

def merge(folder, to, *, dtype, form, force, progress):
    if dtype == "bad":
        raise WorkbenchError("No", "such", "dtype")
    with written(to) as new:
        new.mkdir()
        (new / "half.safetensors").write_text("x")
        progress("writing", 0.5)
        time.sleep(60)

sys.modules["workbench.engine.shipping.merge"] = types.SimpleNamespace(merge=merge)
from workbench.engine.merge_worker import main
sys.exit(main())
"""


def start(tmp_path, dtype):
    asked = {"run": str(tmp_path / "run"), "to": str(tmp_path / "to"), "dtype": dtype, "form": "gguf", "force": False}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    process.stdin.write(json.dumps(asked))
    process.stdin.close()
    return process


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_an_end_from_outside_leaves_nothing(tmp_path, name):
    with start(tmp_path, "bf16") as process:
        assert json.loads(process.stdout.readline()) == {"progress": ["writing", 0.5]}
        assert [path.name for path in tmp_path.iterdir()] == [f".to.{process.pid}.tmp"]
        os.killpg(process.pid, name)
        assert process.wait(60) == 130
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_a_line(tmp_path):
    with start(tmp_path, "bad") as process:
        assert json.loads(process.stdout.read()) == {"error": ["No", "such", "dtype"]}
        assert process.wait(60) == 1
