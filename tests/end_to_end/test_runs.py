"""Runs as their users meet them: started, watched, stopped, lost and told why."""

import json
import math
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import workbench
from workbench.config import build_config
from workbench.launch import launch
from workbench.runs.catalog import Catalog
from workbench.runs.folder import RunFolder
from workbench.runs.lease import device, holder
from workbench.runs.process import alive, cause_of_loss, last_words, status, worker_pid
from workbench.runs.state import TERMINAL
from workbench.workspace import Workspace


def wait_until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_train_waits_and_prints_one_document(finished_run):
    result = finished_run.result
    assert (result["status"], result["steps"]) == ("finished", 4)
    assert result["pairs_per_second"] > 0
    assert result["peak_memory_bytes"] > 10**8
    assert result["eval_before"]["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert result["eval"]["loss"] < 0.65
    assert result["eval"]["rewards/margins"] > 0.05
    assert {"loss", "logps/chosen", "grad_norm", "learning_rate"} <= set(result["train"])
    told = finished_run.told.splitlines()
    assert "Warning: 4 steps of 8 pairs are too few to learn anything. This would do: --set max_steps=10" in told[0]
    assert "pairs train, 3 held out; 0 dropped, 0 truncated, 0 identical; 4 steps" in finished_run.told
    assert "step 4/4" in finished_run.told


def test_the_folder_has_what_the_design_says(finished_run):
    names = {path.name for path in finished_run.folder.iterdir()}
    assert {"run.toml", "pairs.jsonl", "events.jsonl", "worker.log", "checkpoints", "adapter"} <= names
    assert sorted(path.name for path in (finished_run.folder / "checkpoints").iterdir()) == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    rows = list(RunFolder(finished_run.folder).rows())
    assert [row["split"] for row in rows].count("holdout") == 3
    log = (finished_run.folder / "worker.log").read_text()
    assert "step 4/4" in log
    assert "Warning" not in log


def test_list_show_and_logs_agree(finished_run):
    (listed,) = json.loads(workbench(finished_run.workspace, "runs", "--json").stdout)
    assert listed["id"] == finished_run.id
    assert (listed["status"], listed["step"], listed["total_steps"], listed["model"]) == ("finished", 4, 4, "tiny")
    shown = json.loads(workbench(finished_run.workspace, "show", finished_run.id, "--json").stdout)
    assert shown["started"]["train_pairs"] == 37
    assert shown["config"]["learning_rate"] == 1e-3
    assert "<|assistant|>" in shown["chat_template"]
    text = workbench(finished_run.workspace, "show", finished_run.id[:12]).stdout
    assert "finished at step 4 of 4" in text
    assert "learning_rate = 0.001" in text
    assert "step 4/4" in workbench(finished_run.workspace, "logs", finished_run.id, "--follow").stdout
    assert finished_run.id in workbench(finished_run.workspace, "runs").stdout


def test_a_finished_run_is_neither_stopped_nor_trained_again(finished_run):
    stopped = workbench(finished_run.workspace, "stop", finished_run.id)
    assert stopped.returncode == 2
    assert "not running" in stopped.stderr
    events = (finished_run.folder / "events.jsonl").read_bytes()
    command = [sys.executable, "-m", "workbench.engine.train", str(finished_run.folder)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
    assert (finished_run.folder / "events.jsonl").read_bytes() == events


def test_a_run_outlives_its_terminal_and_can_be_stopped_from_another(make_workspace):
    """Started in a pseudo-terminal that is then closed, its shell killed: as a lost SSH connection does."""
    workspace = make_workspace()
    pid, terminal = pty.fork()
    if pid == 0:
        setting = ["--set=max_steps=100000", "--set=batch_size=4", "--set=eval_steps=100000"]
        command = [sys.executable, "-m", "workbench", "--workspace", str(workspace), "train", "--pairs", "support"]
        os.execv(sys.executable, [*command, *setting, "--wait"])
    runs = workspace / "runs"
    wait_until(lambda: any(alive(each.folder) for each in Catalog(runs).summaries()))
    (folder,) = [each.folder for each in Catalog(runs).summaries()]
    worker = worker_pid(folder)
    assert os.getsid(worker) == worker
    os.close(terminal)  # SIGHUP to everything in the terminal's session
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_until(lambda: folder.state().step >= 1)
    os.kill(worker, signal.SIGHUP)  # It does not come by itself; should it come all the same, it is ignored.
    step = folder.state().step
    wait_until(lambda: folder.state().step >= step + 2)
    assert status(folder, folder.state()) == "running"

    refused = workbench(workspace, "delete", folder.id, "--yes")
    assert refused.returncode == 2
    assert "is running" in refused.stderr
    stopped = json.loads(workbench(workspace, "stop", folder.id, "--wait", "--json").stdout)
    assert stopped["status"] == "stopped"
    assert stopped["steps"] >= 2
    assert (folder.adapter / "adapter_model.safetensors").is_file()
    assert (folder.checkpoints / f"checkpoint-{stopped['steps']}" / "optimizer.pt").is_file()
    assert workbench(workspace, "delete", folder.id, "--yes").returncode == 0
    assert not folder.path.exists()
    assert json.loads(workbench(workspace, "trash", "--json").stdout) == [folder.id]
    assert workbench(workspace, "trash", "--restore", folder.id).returncode == 0
    assert folder.adapter.exists()


def test_a_killed_worker_is_lost(make_workspace):
    workspace = make_workspace()
    config = build_config({"pairs": ["support"], "max_steps": 100000})
    folder = launch(Workspace(workspace), config)  # This process is the parent, so it learns how the worker ended.
    wait_until(lambda: folder.state().step >= 1)
    worker = worker_pid(folder)
    psutil.Process(worker).kill()
    wait_until(lambda: "signal 9" in cause_of_loss(folder))
    assert not psutil.pid_exists(worker)  # no zombie
    assert status(folder, folder.state()) == "lost"
    assert last_words(folder)
    (listed,) = json.loads(workbench(workspace, "runs", "--json").stdout)
    assert listed["status"] == "lost"
    shown = workbench(workspace, "show", folder.id).stdout
    # Memory is free, and who killed it is not known: no cause is made up.
    assert "killed (signal 9). Nothing says that memory ran out" in shown.replace("\n  ", " ")
    assert f"workbench resume {folder.id}" in shown
    assert "| step " in shown


def test_runs_take_turns_wait_and_go_on(make_workspace):
    """One device: a second and a third run queue, are put in another order and cancelled; the first waits on request,
    is ended by force, and is resumed."""
    workspace = make_workspace()

    def command(*arguments):
        done = workbench(workspace, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def train():
        settings = ("max_steps=100000", "batch_size=4", "eval_steps=100000", "save_steps=5", "sample_tokens=0")
        result = command("train", "--pairs", "support", *(f"--set={each}" for each in settings))
        return RunFolder(workspace / "runs" / result["id"])

    first, second, third = train(), train(), train()
    wait_until(lambda: second.events.exists() and third.events.exists())
    assert command("move", third.id, "--first")["place"] == 1
    (line,) = command("queue")
    assert line["running"]["id"] == first.id
    assert [each["id"] for each in line["waiting"]] == [third.id, second.id]
    assert {each["id"]: each["place"] for each in command("runs")} == {first.id: None, third.id: 1, second.id: 2}
    assert psutil.Process(worker_pid(second)).memory_info().rss < 120 * 2**20  # no torch yet
    assert command("stop", second.id, "--wait")["status"] == "stopped"

    wait_until(lambda: first.state().step >= 1)
    command("pause", first.id)
    wait_until(lambda: first.state().status == "paused")
    step = first.state().step
    time.sleep(0.3)
    assert first.state().step == step
    command("continue", first.id)
    wait_until(lambda: first.state().step >= max(step + 1, 6) and first.state().checkpoints)

    killed = command("stop", first.id, "--now")
    assert killed["status"] == "stopped"
    assert "by force" in killed["error"]["message"]
    wait_until(lambda: holder() == third.path)
    resumed = workbench(workspace, "resume", first.id, "--json")
    assert "goes on from checkpoint-" in resumed.stderr
    assert f"waits for its turn on {device()}, after {third.id}" in resumed.stderr
    assert json.loads(resumed.stdout)["status"] == "queued"
    command("stop", third.id, "--now")
    wait_until(lambda: first.state().status == "running" and first.state().step > killed["steps"])
    ended = command("stop", first.id, "--wait")
    assert ended["status"] == "stopped"
    assert ended["steps"] > killed["steps"]
    assert (first.adapter / "adapter_model.safetensors").is_file()
    assert command("queue") == []
    assert not any(alive(each) for each in (first, second, third))


def test_runs_are_labelled_listed_and_sorted(finished_run):
    workspace, run = finished_run.workspace, finished_run.id
    told = json.loads(workbench(workspace, "label", run, "--name=the first", "--tag=keep", "--json").stdout)
    assert (told["name"], told["tags"]) == ("the first", ["keep"])
    listed = workbench(workspace, "runs", "--sort", "eval.rewards/margins", "--tag", "keep").stdout
    assert "the first #keep" in listed
    assert "eval.rewards/margins" in listed
    refused = workbench(workspace, "runs", "--sort", "eval.los")
    assert refused.returncode == 2
    assert "eval.loss" in refused.stderr
    workbench(workspace, "label", run, "--name=", "--untag=keep", "--archive")
    assert json.loads(workbench(workspace, "runs", "--json").stdout) == []
    assert len(json.loads(workbench(workspace, "runs", "--all", "--json").stdout)) == 1
    workbench(workspace, "label", run, "--no-archive")


def test_a_failure_is_told(make_workspace):
    workspace = make_workspace()
    failed = workbench(workspace, "train", "--pairs", "support", "--set=target_modules=no_such", "--wait", "--json")
    assert failed.returncode == 1
    result = json.loads(failed.stdout)
    assert result["status"] == "failed"
    assert "no_such" in result["error"]["message"]
    assert result["error"]["hint"]
    (summary,) = Catalog(workspace / "runs").summaries()
    assert summary.status in TERMINAL
    assert "Traceback" in summary.folder.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--pairs", "suport"], "Data sets here: empty, support"),
        (["--pairs", "support", "--set", "lerning_rate=1"], "learning_rate"),
        (["--pairs", "support", "--set", "beta=-1"], "beta"),
        (["--pairs", "support", "--preset", "smal"], "small"),
        (["--pairs", "support", "--model", "./nowhere"], "not a folder"),
        (["--pairs", "empty"], "Nothing to train on"),
    ],
)
def test_wrong_input_starts_nothing(arguments, told, make_workspace):
    workspace = make_workspace()
    (workspace / "pairs" / "empty.jsonl").write_text("")
    refused = workbench(workspace, "train", *arguments)
    assert refused.returncode == 2
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (workspace / "runs").exists()


def test_the_help_lists_every_setting():
    text = workbench(Path(), "train", "--help").stdout
    for words in ("gradient_accumulation = 1", "Rank of the adapter.", "loss_type = sigmoid", "small", "epochs=2.0"):
        assert words in text
