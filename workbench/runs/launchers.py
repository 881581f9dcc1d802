"""A worker of several processes: the command line that starts them, and the notes by which they tell how they ended.

Each of the processes is `python -m workbench.engine.rank RUN_DIR`. They find each other by torch's environment
variables (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), which accelerate and torchrun set, or by srun's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from workbench.config import COMMAND, RunConfig
from workbench.credentials import without_secrets
from workbench.errors import WorkbenchError
from workbench.files import json_in, write_whole
from workbench.runs.events import Failed
from workbench.runs.folder import RunFolder
from workbench.text import quoted

_ON_ONE_PROCESS_ONLY = ("NO", "MULTI_CPU")
"""Kinds of accelerate's config under which its `launch` starts one process only: MPI would start the others."""
_TRACKERS = {"trackio": ("trackio",), "tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
_FIRST_OF_LIST = re.compile(r"([^\[,]+)(?:\[(\d+))?")


def with_processes(config: RunConfig) -> RunConfig:
    """The config with the number of its processes, which accelerate's own config may say.

    Raises `WorkbenchError` where a file or a package that it names is not there.
    """
    for tracker in config.report_to:
        if not any(importlib.util.find_spec(module) for module in _TRACKERS[tracker]):
            raise WorkbenchError(
                f"{tracker} is not installed",
                f"report_to names it, and no package {' or '.join(_TRACKERS[tracker])} can be imported.",
                f"Install it (pip install {_TRACKERS[tracker][0]}), or leave it out of report_to.",
            )
    if config.launcher == "none":
        return config
    accelerate = _accelerate(config) if config.launcher == "accelerate" else {}
    config_path = str(Path(config.launcher_config).expanduser().resolve()) if config.launcher_config else ""
    try:
        processes = config.processes or int(accelerate.get("num_processes") or 1)
    except (TypeError, ValueError) as error:
        raise WorkbenchError("Not a number of processes", f"num_processes: {error}.", "Set processes.") from error
    return config.model_copy(update={"processes": processes, "launcher_config": config_path})


def rank_command(folder: Path) -> list[str]:
    """What each process of the worker is started with."""
    return [sys.executable, "-P", "-m", "workbench.engine.rank", str(folder.resolve())]


def command(config: RunConfig, worker: Sequence[str]) -> list[str]:
    """The command line that starts `worker` as often as the config says. No shell reads it.

    In a template, a word that is {command} becomes the worker's words; within a longer word, as in `bash -c '…'`, they
    are quoted as a shell wants them. Raises `WorkbenchError` where accelerate's config cannot be read.
    """
    if config.launcher == "command":
        words, quoted = shlex.split(config.launcher_command), shlex.join(worker)
        return [part for word in words for part in (worker if word == COMMAND else [word.replace(COMMAND, quoted)])]
    accelerate, processes = _accelerate(config), max(1, config.processes)
    options = ["--config_file", config.launcher_config] if config.launcher_config else []
    options += ["--num_processes", str(processes)]
    kind = str(accelerate.get("distributed_type") or "NO")
    if processes > 1 and kind in _ON_ONE_PROCESS_ONLY and not accelerate.get("mpirun_config"):
        options.append("--multi_gpu")  # On the CPU as well: it starts the processes, which look for devices themselves.
    if int(accelerate.get("num_machines") or 1) == 1 and accelerate.get("main_process_port") is None and processes > 1:
        options += ["--main_process_port", "0"]  # Any free one: two runs may start at once.
    return [sys.executable, "-P", "-m", "accelerate.commands.launch", *options, "--no_python", *worker]


def threads(cores: int, processes: int) -> int:
    """Threads of each of so many processes on one machine's cores."""
    return max(1, cores // max(1, processes))


def from_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """torch's variables for a process that srun started beside others, and nothing else has told about them."""
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if "RANK" in environment or tasks == "1":
        return {}
    job = re.sub(r"\D", "", environment.get("SLURM_JOB_ID", "")) or "0"
    variables = {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": tasks,
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "MASTER_ADDR": first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(20000 + int(job) % 20000),
    }
    return {name: value for name, value in variables.items() if name not in environment}


def first_host(nodes: str) -> str:
    """The first of the hosts that Slurm names as in `gpu[01-04,07],login`."""
    match = _FIRST_OF_LIST.match(nodes)
    return f"{match[1]}{match[2] or ''}" if match else nodes


def _accelerate(config: RunConfig) -> dict[str, Any]:
    """What accelerate's config file says: the one that is named, or the user's own where there is one."""
    path = Path(config.launcher_config).expanduser() if config.launcher_config else _own()
    if not config.launcher_config and not path.is_file():
        return {}
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise WorkbenchError(
            "accelerate's config cannot be read", f"{path}: {reason}.", "Make one with: accelerate config"
        ) from error
    return document if isinstance(document, dict) else {}


def _own() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(home).expanduser() / "accelerate" / "default_config.yaml"


End = Literal["", "done", "failed", "terminated"]
_PEERS = ("gloo", "nccl", "closed by peer", "reset by peer", "broken pipe")
"""In what a process says that lost another one: the fault is the other's."""


@dataclass(frozen=True, slots=True)
class Note:
    """One process. `end` is empty while it runs, and for ever once it was killed. `echo`: another one failed first."""

    rank: int
    pid: int
    host: str
    end: End = ""
    time: float = 0.0
    echo: bool = False
    title: str = ""
    message: str = ""
    hint: str = ""


class Notes:
    """This process's note in the run folder, written anew at its end. A disk that refuses is not a reason to stop."""

    def __init__(self, folder: RunFolder, rank: int) -> None:
        self._note = {"rank": rank, "pid": os.getpid(), "host": platform.node()}
        self._path = _place(folder) / f"{rank}-{platform.node()}-{os.getpid()}.json"
        self.end("")

    def end(self, end: End, failed: Failed | None = None) -> None:
        """How this process ended, and what it has to say of it."""
        error: dict[str, Any] = {}
        if failed is not None:
            echo = any(word in failed.message.lower() for word in _PEERS)
            error = {"title": failed.title, "message": failed.message, "hint": failed.hint, "echo": echo}
        note = Note(**self._note, end=end, time=time.time(), **error)  # type: ignore[arg-type]
        with suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            write_whole(self._path, without_secrets(json.dumps(asdict(note))))


def forget_notes(folder: RunFolder) -> None:
    """Removes the notes of an earlier worker."""
    shutil.rmtree(_place(folder), ignore_errors=True)


def notes(folder: RunFolder) -> list[Note]:
    """The notes of all processes, by rank; what is no note is left out."""
    all_notes = []
    for path in _place(folder).glob("*.json"):
        with suppress(OSError, ValueError, TypeError):
            all_notes.append(Note(**json_in(path.read_bytes())))
    return sorted(all_notes, key=lambda note: (note.rank, note.time))


def first_process_lock(folder: RunFolder) -> Path:
    """The file that the first process holds locked: there can be one only."""
    return _place(folder) / "first.lock"


def failure(notes: list[Note], status: int | None, last_line: str, run: str) -> Failed:
    """Why a launched worker ended without a last event. `status` is its launcher's; None where that was not started."""
    log = f"See the log: workbench logs {quoted(run)}"
    failed = sorted((note for note in notes if note.end == "failed"), key=lambda note: (note.echo, note.time))
    if failed and not failed[0].echo:
        first = failed[0]
        where = f" (process {first.rank} of {len(notes)})" if len(notes) > 1 else ""
        return Failed(time=time.time(), title=first.title, message=first.message + where, hint=first.hint or log)
    killed = [note for note in notes if not note.end]
    if killed and status != 0:
        first = killed[0]
        return Failed(
            time=time.time(),
            title="A process of the run was killed",
            message=f"Process {first.rank} of {len(notes)} (PID {first.pid} on {first.host}) went away without a word.",
            hint=f"Then: workbench resume {quoted(run)}",
        )
    if any(note.end == "terminated" for note in notes):
        message, hint = (
            "Its processes got a signal to end before they could save.",
            f"Then: workbench resume {quoted(run)}",
        )
        return Failed(time=time.time(), title="The run was ended by a signal", message=message, hint=hint)
    reason = failed[0].message if failed else last_line
    message = f"It ended with exit status {status}: {reason}" if reason else f"It ended with exit status {status}."
    return Failed(time=time.time(), title="The launcher failed", message=message, hint=log)


def _place(folder: RunFolder) -> Path:
    return folder.path / "ranks"
