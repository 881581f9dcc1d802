"""From settings to the command line that starts a worker's processes; and what their notes say of how they ended."""

import shlex
import sys

import pytest

from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.runs.events import Failed
from workbench.runs.launchers import (
    Note,
    command,
    failure,
    first_host,
    from_slurm,
    rank_command,
    threads,
    with_processes,
)

WORKER = ["python", "-m", "it", "a folder/run"]


def config(**values):
    return build_config({"pairs": ["x"], **values})


@pytest.fixture(autouse=True)
def no_own_config(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


def test_a_template_takes_the_command_as_words_or_quoted_for_a_shell():
    template = "srun -N2 --comment 'two words' {command}"
    found = command(config(launcher="command", launcher_command=template), WORKER)
    assert found == ["srun", "-N2", "--comment", "two words", *WORKER]
    inner = "bash -c 'exec launch --rank $SLURM_NODEID {command}'"
    shell, option, line = command(config(launcher="command", launcher_command=inner), WORKER)
    assert (shell, option) == ("bash", "-c")
    assert shlex.split(line) == ["exec", "launch", "--rank", "$SLURM_NODEID", *WORKER]


def test_accelerate_gets_the_users_config_and_the_number_of_processes(tmp_path):
    begin = [sys.executable, "-P", "-m", "accelerate.commands.launch"]
    found = command(config(launcher="accelerate", processes=2), WORKER)
    # With no config of its own, accelerate would start one process.
    assert found == [
        *begin, "--num_processes", "2", "--multi_gpu", "--main_process_port", "0", "--no_python", *WORKER
    ]  # fmt: skip
    file = tmp_path / "fsdp.yaml"
    file.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nnum_machines: 2\nnum_processes: 16\n"
        "main_process_port: 2345\n"
    )
    whole = with_processes(config(launcher="accelerate", launcher_config=str(file)))
    assert whole.processes == 16
    assert whole.step_pairs == 16 * whole.batch_size
    assert whole.total_steps(1000) == -(-1000 // 256)
    assert command(whole, WORKER) == [
        *begin, "--config_file", str(file), "--num_processes", "16", "--no_python", *WORKER
    ]  # fmt: skip
    file.write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nnum_processes: 3\n")
    assert "--multi_gpu" in command(with_processes(config(launcher="accelerate", launcher_config=str(file))), WORKER)


def test_accelerates_own_config_is_read_where_none_is_named(tmp_path):
    assert with_processes(config(launcher="accelerate")).processes == 1
    own = tmp_path / "home" / "accelerate" / "default_config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("distributed_type: MULTI_GPU\nnum_processes: 8\n")
    assert with_processes(config(launcher="accelerate")).processes == 8
    assert with_processes(config(launcher="accelerate", processes=4)).processes == 4
    own.write_text("num_processes: [")
    with pytest.raises(WorkbenchError, match=r"default_config\.yaml"):
        with_processes(config(launcher="accelerate"))
    with pytest.raises(WorkbenchError, match="no such file"):
        with_processes(config(launcher="accelerate", launcher_config=str(tmp_path / "no such file")))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"processes": 2}, "needs a launcher"),
        ({"launcher": "command"}, "launcher_command: is not given"),
        ({"launcher_command": "srun {command}"}, "launcher_command: is for launcher = command"),
        ({"launcher": "command", "launcher_command": "srun python"}, "{command}"),
        ({"launcher": "command", "launcher_command": "{command}"}, "{command}"),
        ({"launcher": "command", "launcher_command": "srun 'a {command}"}, "quotation"),
        ({"launcher": "command", "launcher_command": "srun {command}", "launcher_config": "x"}, "launcher_config"),
        ({"launcher": "mpirun"}, "launcher"),
        ({"report_to": "wandb,mlflow"}, "report_to"),
    ],
)
def test_settings_of_launchers_that_do_not_fit_are_refused(settings, told):
    with pytest.raises(WorkbenchError) as caught:
        config(**settings)
    assert told in str(caught.value)


def test_a_tracker_that_is_not_installed_is_told_before_the_start(monkeypatch):
    asked = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: asked.append(name))
    with pytest.raises(WorkbenchError, match="wandb is not installed"):
        with_processes(config(report_to="wandb"))
    assert asked == ["wandb"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "tensorboardX")
    assert with_processes(config(report_to="tensorboard")).report_to == ["tensorboard"]


def test_every_process_starts_the_same_module_from_this_environment(tmp_path):
    assert rank_command(tmp_path) == [sys.executable, "-P", "-m", "workbench.engine.rank", str(tmp_path)]
    assert [threads(8, 3), threads(2, 4), threads(4, 0)] == [2, 1, 4]


def test_sruns_variables_become_torchs():
    step = {
        "SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "9", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "4321",
        "SLURM_STEP_NODELIST": "gpu[07-08]",
    }  # fmt: skip
    expected = {
        "RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu07", "MASTER_PORT": "24321"
    }  # fmt: skip
    assert from_slurm(step) == expected
    assert from_slurm(step | {"MASTER_ADDR": "10.0.0.1"}) == {
        name: value for name, value in expected.items() if name != "MASTER_ADDR"
    }
    assert from_slurm(step | {"RANK": "0"}) == {}
    assert from_slurm(step | {"SLURM_STEP_NUM_TASKS": "1"}) == {}
    assert from_slurm({}) == {}
    assert [first_host(nodes) for nodes in ("login", "a1,b[2-3]", "n[3,5-6]", "x-[001-9]")] == [
        "login", "a1", "n3", "x-001",
    ]  # fmt: skip


def note(rank, end="", at=1.0, message="", *, echo=False):
    return Note(rank, 100 + rank, "here", end, at, echo, "Full" if message else "", message)


ECHO = note(0, "failed", 2.0, "peer", echo=True)


@pytest.mark.parametrize(
    ("notes", "title", "told"),
    [
        # The first to fail has the cause; what it set off in the others is an echo of it.
        ([ECHO, note(1, "failed", 3.0, "No room.")], "Full", "No room. (process 1"),
        ([note(0, "failed", 2.0, "a"), note(1, "failed", 1.0, "b")], "Full", "b (process 1 of 2)"),
        ([note(0, "failed", 2.0, "a")], "Full", "a"),
        ([ECHO, note(1)], "A process of the run was killed", "Process 1 of 2 (PID 101"),
        ([note(0, "terminated"), note(1)], "A process of the run was killed", "Process 1"),
        ([note(0, "terminated"), note(1, "terminated")], "The run was ended by a signal", "signal"),
        ([], "The launcher failed", "exit status 3: no such option"),
    ],
)  # fmt: skip
def test_the_cause_is_told_not_what_it_set_off(notes, title, told):
    end = failure(notes, 3, "no such option", "a-run")
    assert isinstance(end, Failed)
    assert end.title == title
    assert told in end.message
    assert "a-run" in end.hint
