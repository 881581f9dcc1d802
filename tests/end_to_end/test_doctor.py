"""The doctor on this machine, and on one where a library is broken."""

import json
import os
import subprocess
import sys

TOKEN = "hf_thisIsASecretThatNobodyMaySee123"


def doctor(workspace, *arguments, **environment):
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace), "doctor", *arguments]
    environment = {**os.environ, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1", **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert TOKEN not in done.stdout + done.stderr
    return done


def test_this_machine_trains_in_4_bits(tmp_path):
    done = doctor(tmp_path, "--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    levels = {each["name"]: each["level"] for each in told["checks"]}
    assert told["ok"]
    names = list(levels)
    assert (names[0], names[-3:]) == ("Python", ["torch", "4-bit", "training"])
    assert {levels[name] for name in ("Python", "packages", "disk", "login", "torch", "4-bit", "training")} == {"ok"}
    assert levels["hub"] == "warning"
    assert all(each["hint"] for each in told["checks"] if each["level"] != "ok")


def test_a_broken_library_is_missing_and_the_status_says_so(tmp_path):
    (tmp_path / "broken" / "bitsandbytes").mkdir(parents=True)
    (tmp_path / "broken" / "bitsandbytes" / "__init__.py").write_text(
        "raise ImportError('no kernels for this machine')"
    )
    done = doctor(tmp_path, PYTHONPATH=str(tmp_path / "broken"))
    assert done.returncode == 1
    assert "✘ missing  4-bit           ImportError: no kernels for this machine" in done.stdout
    assert "✔ ok       torch" in done.stdout
    assert "pip install" in done.stdout
