"""A run as it leaves the workbench: merged, served."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

from tests.end_to_end.conftest import workbench


def test_a_run_is_merged_into_a_folder_that_vllm_is_pointed_at(finished_run, tmp_path):
    to = tmp_path / "merged model"
    done = workbench(finished_run.workspace, "merge", finished_run.id, "--to", str(to), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["path"] == str(to)
    assert told["parameters"] == 2_066_112
    assert told["bytes"] > 2 * 2_066_112
    assert "merging" in done.stderr
    assert told["drift"]["pairs"] == told["drift"]["chosen"]["count"] == 3
    assert 0 < told["drift"]["chosen"]["mean_absolute"] < 5
    assert {"README.md", "config.json", "generation_config.json", "tokenizer.json"} <= {
        each.name for each in to.iterdir()
    }
    again = workbench(finished_run.workspace, "merge", finished_run.id, "--to", str(to))
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert shlex.split(workbench(finished_run.workspace, "serve-command", str(to)).stdout)[2] == str(to)


def test_ctrl_c_leaves_nothing(finished_run, tmp_path):
    command = [sys.executable, "-m", "workbench", "--workspace", str(finished_run.workspace)]
    command += ["merge", finished_run.id, "--to", str(tmp_path / "merged")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}) as one:
        assert one.stderr is not None
        for line in one.stderr:
            if "merging" in line:
                break
        time.sleep(0.01)
        one.send_signal(signal.SIGINT)
        one.stderr.read()
    assert one.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_the_serve_command_is_told_by_show_too(finished_run):
    served = workbench(finished_run.workspace, "serve-command", finished_run.id, "--json")
    command = json.loads(served.stdout)["command"]
    assert f"{finished_run.id}={finished_run.folder / 'adapter'}" in shlex.split(command)
    assert command in workbench(finished_run.workspace, "show", finished_run.id).stdout
