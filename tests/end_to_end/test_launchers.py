"""One run in two processes on the CPU (gloo): it trains as one process does, stops, goes on, and dies with a reason."""

import json
import os
import signal
import sys
import time

import pytest

from tests.end_to_end.conftest import workbench
from tests.unit.engine.training import make, row, work
from workbench.runs import launchers
from workbench.runs.events import Eval, Failed, Finished, Step, Stopped
from workbench.runs.folder import RunFolder
from workbench.runs.pair_scores import read_margins
from workbench.runs.process import alive, kill, request_stop, resume, start, status, worker_pid

pytestmark = pytest.mark.timeout(900)

SAME = {"abs": 1e-4, "rel": 1e-4}
ROWS = [*(row(number) for number in range(11)), *(row(number, "holdout") for number in range(11, 14))]
SETTINGS = {"max_steps": 400, "eval_steps": 400, "save_steps": 400, "sample_tokens": 0, "learning_rate": 5e-4}


def wait_until(condition, seconds=400.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_two_processes_train_as_one_does(finished_run, make_workspace):
    """Under `accelerate launch`, each with half of the batch, in 4 bits, by the real command line."""
    workspace = make_workspace()
    done = workbench(
        workspace, "train", "--pairs", "support", "--wait", "--json",
        *(f"--set={each}" for each in ("max_steps=4", "batch_size=4", "learning_rate=1e-3", "save_steps=2")),
        "--set=launcher=accelerate", "--set=processes=2", "--set=report_to=tensorboard",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 steps, shared by 2 processes" in done.stderr
    folder = RunFolder(workspace / "runs" / json.loads(done.stdout)["id"])
    one, two = RunFolder(finished_run.folder).state(), folder.state()
    assert two.started.processes == 2
    assert [each.pairs for each in two.steps] == [each.pairs for each in one.steps] == [8, 16, 24, 32]
    names = ("loss", "grad_norm", "rewards/margins", "logps/chosen", "logps/rejected", "learning_rate", "num_tokens")
    alone_events: list[Step | Eval] = [*one.steps, *one.evals]
    for expected, found in zip(alone_events, (*two.steps, *two.evals), strict=True):
        assert isinstance(found, Step | Eval)
        for name in set(names) & set(expected.metrics):
            assert found.metrics[name] == pytest.approx(expected.metrics[name], **SAME), name
    alone, shared = read_margins(finished_run.folder), read_margins(folder.path)
    assert {name: each.step for name, each in shared.items()} == {name: each.step for name, each in alone.items()}
    for name, score in alone.items():
        assert shared[name].margin == pytest.approx(score.margin, **SAME)
    assert [path.name for path in sorted(folder.checkpoints.iterdir())] == ["checkpoint-2", "checkpoint-4"]
    assert (folder.adapter / "adapter_model.safetensors").is_file()
    assert {note.end for note in launchers.notes(folder)} == {"done"}
    (written,) = folder.path.glob("tracking/**/events.out.tfevents.*")
    assert written.stat().st_size > 500


@pytest.mark.slow
def test_two_processes_stop_go_on_and_die_together(tmp_path, monkeypatch):
    """Under a command of the user's, with a last batch of an epoch that the processes cannot share evenly."""
    monkeypatch.setenv("WORKBENCH_TRIED", "no")
    reference = make(tmp_path / "one", ROWS, **SETTINGS | {"max_steps": 40, "batch_size": 8})
    work(reference)
    launch = f"env WORKBENCH_TRIED=yes nice -n 1 {sys.executable} -m torch.distributed.run --standalone"
    folder = make(
        tmp_path / "two", ROWS, **SETTINGS, batch_size=4, launcher="command", processes=2,
        launcher_command=f"{launch} --no-python --nproc-per-node 2 {{command}}",
    )  # fmt: skip
    start(folder)
    try:
        wait_until(lambda: folder.state().step >= 2 or not alive(folder))
        assert alive(folder), folder.log.read_text()
        (first, second) = launchers.notes(folder)
        # Only the worker stands for the run; its processes are below it, with the environment of the command.
        assert worker_pid(folder) not in (first.pid, second.pid)
        assert all(b"WORKBENCH_TRIED=yes" in _environment(each.pid) for each in (first, second))
        request_stop(folder)
        wait_until(lambda: not alive(folder))
        end = folder.state().end
        assert isinstance(end, Stopped)
        assert [path.name for path in folder.checkpoints.iterdir()] == [f"checkpoint-{end.step}"]

        # What a shell or a batch system ends, it ends with all its children: the launcher passes it on.
        resume(folder)
        wait_until(lambda: folder.state().step >= end.step + 2 or not alive(folder))
        assert alive(folder), folder.log.read_text()
        os.killpg(worker_pid(folder), signal.SIGTERM)
        wait_until(lambda: not alive(folder))
        last, end = end, folder.state().end
        assert isinstance(end, Stopped), folder.log.read_text()
        assert end.step >= last.step + 2
        assert (folder.checkpoints / f"checkpoint-{end.step}" / "complete.json").is_file()

        resume(folder)
        wait_until(lambda: folder.state().step >= end.step + 2 or not alive(folder))
        assert alive(folder), folder.log.read_text()
        (first, second) = launchers.notes(folder)
        os.kill(second.pid, signal.SIGKILL)
        wait_until(lambda: not alive(folder), 90)
        wait_until(lambda: not _there(first.pid), 5)
    finally:
        if alive(folder):
            kill(folder)
    state = folder.state()
    assert status(folder, state) == "failed"
    assert isinstance(state.end, Failed)
    assert state.end.title == "A process of the run was killed"
    assert f"Process 1 of 2 (PID {second.pid}" in state.end.message
    assert "does not go on where it was" not in str(state.warnings)
    pairs = list(zip(reference.state().steps, state.steps, strict=False))
    assert len(pairs) > end.step, "no step after the resuming to compare"
    for expected, found in pairs:
        assert (found.step, found.pairs) == (expected.step, expected.pairs)
        for name in ("loss", "rewards/margins", "logps/chosen"):
            assert found.metrics[name] == pytest.approx(expected.metrics[name], **SAME), (found.step, name)


REWARD = """
import json, os

def vowels(prompts, completions, **_):
    found = [float(sum(letter in "aeiou" for letter in answer[0]["content"])) for answer in completions]
    with open(os.path.join(os.path.dirname(__file__), os.environ["RANK"] + ".jsonl"), "a") as file:
        file.write(json.dumps([[prompt[-1]["content"] for prompt in prompts], found]) + chr(10))
    return found
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_two_processes_answer_prompts_of_their_own_and_share_what_they_learn(tmp_path, method):
    (tmp_path / "reward.py").write_text(REWARD)
    folder = make(
        tmp_path / "runs", ROWS[:11], method=method, reward=f"{tmp_path / 'reward.py'}:vowels", max_steps=3,
        save_steps=2, group_size=4, batch_size=4, completion_tokens=12, max_length=256, sample_tokens=0,
        launcher="accelerate", processes=2,
    )  # fmt: skip
    start(folder)
    wait_until(lambda: not alive(folder))
    state = folder.state()
    assert isinstance(state.end, Finished), folder.log.read_text()
    assert [step.pairs for step in state.steps] == [8, 16, 24]
    first, second = ([json.loads(line) for line in (tmp_path / f"{rank}.jsonl").open()] for rank in (0, 1))
    for step, (ours, our_rewards), (theirs, their_rewards) in zip(state.steps, first, second, strict=True):
        assert len(set(ours)) == len(set(theirs)) == 1, "a group answers one prompt"
        assert ours[0] != theirs[0]
        assert step.metrics["reward"] == pytest.approx(sum(our_rewards + their_rewards) / 8, abs=1e-5)
    assert (folder.adapter / "adapter_model.safetensors").is_file()
    if method == "grpo":
        goes_on_as_it_was(folder, state)


def goes_on_as_it_was(folder, before):
    """With the last checkpoint lost, both go on from the one before, and draw the answers that they drew."""
    (folder.checkpoints / "checkpoint-3" / "complete.json").unlink()
    events = [line for line in folder.events.read_text().splitlines() if json.loads(line)["kind"] != "finished"]
    folder.events.write_text("\n".join(events) + "\n")
    start(folder)
    wait_until(lambda: not alive(folder))
    again = folder.state()
    assert isinstance(again.end, Finished), folder.log.read_text()
    for name in ("reward", "grad_norm", "kl"):
        assert again.steps[-1].metrics[name] == pytest.approx(before.steps[-1].metrics[name], **SAME), name


def _environment(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - not a path of ours
        return file.read()


def _there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
