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
    assert told["answers"]["asked"] == 3
    assert all(
        set(each) == {"prompt", "base", "run", "merged", "run_shows", "merged_shows"}
        for each in told["answers"]["other"]
    )
    assert told["differences"] == []
    assert {"README.md", "config.json", "generation_config.json", "tokenizer.json"} <= {
        each.name for each in to.iterdir()
    }
    again = workbench(finished_run.workspace, "merge", finished_run.id, "--to", str(to))
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert shlex.split(workbench(finished_run.workspace, "serve-command", str(to)).stdout)[2] == str(to)


def test_what_is_past_the_bounds_is_a_warning_in_plain_words(finished_run, tmp_path):
    (tmp_path / "runs").symlink_to(finished_run.workspace / "runs")
    (tmp_path / "workbench.toml").write_text("[merge]\nmoved = 0\nanswers = 2\n", "utf-8")
    done = workbench(tmp_path, "merge", finished_run.id, "--to", str(tmp_path / "m"))
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stdout.splitlines() if line.startswith("\u25b2 ")]
    assert [line.split(" answers")[0] for line in warned] == ["\u25b2 Chosen", "\u25b2 Rejected"]
    assert all("likely once merged" in line and "(bound: 0)" in line for line in warned)
    assert "of 2 greedy answers in other words" in done.stdout
    assert f"workbench serve-command {finished_run.id}" in done.stdout
    assert f"workbench evaluate {finished_run.id} --merged {tmp_path / 'm'}" in done.stdout
    (tmp_path / "workbench.toml").write_text("[merge]\nmove = 0\n", "utf-8")
    wrong = workbench(tmp_path, "merge", finished_run.id, "--to", str(tmp_path / "n"))
    assert wrong.returncode == 2
    assert "No setting named 'move'" in wrong.stderr


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
