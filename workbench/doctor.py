"""What this machine can run, and what is missing, with the way out of it. No torch, no textual."""

from __future__ import annotations

import grp
import locale
import os
import platform
import pwd
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from pwd import struct_passwd
from typing import Literal
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workbench import child
from workbench.errors import WorkbenchError
from workbench.runs.machine import Machine, driver, look
from workbench.terminal import NO_SCREENS
from workbench.text import quoted
from workbench.workspace import Workspace

_MOST_LISTED = 6
_EXTRAS = {"gguf": "merge --to FILE.gguf", "web": "serve"}
_OLDEST_PYTHON = (3, 11)
Version = Callable[[str], str]
"""The installed version of a package; raises `PackageNotFoundError`."""
_GB = 1e9
_LITTLE_MEMORY, _LITTLE_DISK, _NO_DISK = 4 * _GB, 20 * _GB, 0.5 * _GB
_SMALLEST_TERMINAL = (80, 24)
_FIRST_PERSON, _NOBODY = 1000, 65534
"""User ids: accounts of services are below, and from there on."""
_HUB_PATIENCE = 4.0
_TRIAL_PATIENCE = 300
_INSTALL = "Install it again: pip install -c constraints.txt -e . (constraints.txt has versions that run together)"
_TRIED = ("torch", "4-bit", "training")

Level = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it. Texts may hold untrusted parts.

    *warning*: it works, but less well, or a part of the workbench will not. *missing*: the workbench does not work.
    """

    name: str
    level: Level
    message: str
    hint: str = ""


def examine(workspace: Workspace) -> Iterator[Finding]:
    """Everything, what is found fast first."""
    yield from packages()
    yield from machine(workspace)
    yield privacy(workspace)
    yield from terminal()
    yield from hub()
    yield from libraries()


def packages() -> Iterator[Finding]:
    """Python, the packages that are needed, those that some commands need, and the pins."""
    yield _python()
    requirements = [Requirement(requirement) for requirement in requires("alignment-workbench") or ()]
    yield needed([requirement for requirement in requirements if _applies(requirement, "")])
    for extra, command in _EXTRAS.items():
        finding = needed(
            [
                requirement
                for requirement in requirements
                if _applies(requirement, extra) and not _applies(requirement, "")
            ]
        )
        if finding.level == "missing":
            hint = f"pip install 'alignment-workbench[{extra}]'"
            yield Finding(f"for {command}", "warning", finding.message, hint)
    pins = Path(__file__).parents[1] / "constraints.txt"
    if pins.is_file():
        yield pinned(pins.read_text("utf-8").splitlines(), [requirement.name for requirement in requirements])


def needed(requirements: Sequence[Requirement], installed: Version = version) -> Finding:
    """Whether each is there in a version that will do."""
    wrong = []
    for requirement in requirements:
        try:
            installed_version = installed(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(installed_version, prereleases=True):
            wrong.append(f"{requirement.name} {installed_version} is not {requirement.specifier}")
    if wrong:
        return Finding("packages", "missing", _listed(wrong), "Install the workbench again, with its constraints.txt.")
    return Finding("packages", "ok", f"all {len(requirements)} that are needed")


def pinned(lines: Sequence[str], names: Sequence[str], installed: Version = version) -> Finding:
    """Whether the packages `names` have the versions that constraints.txt has."""
    wanted = {canonicalize_name(name) for name in names}
    other = []
    for line in lines:
        name, equals, pin = line.partition("==")
        if not equals or canonicalize_name(name) not in wanted:
            continue
        try:
            installed_version = installed(name)
        except PackageNotFoundError:
            continue
        if installed_version.partition("+")[0] != pin.strip():
            other.append(f"{name} {installed_version}, tested with {pin.strip()}")
    if other:
        return Finding("versions", "warning", _listed(other), "pip install -c constraints.txt -e .")
    return Finding("versions", "ok", "those of constraints.txt, which are known to run together")


def _python() -> Finding:
    level: Level = "ok" if sys.version_info >= _OLDEST_PYTHON else "missing"
    hint = "" if level == "ok" else "Install Python 3.11 or later."
    return Finding("Python", level, f"{platform.python_version()} in {sys.prefix}", hint)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _listed(parts: Sequence[str]) -> str:
    more = f"; {len(parts) - _MOST_LISTED} more" if len(parts) > _MOST_LISTED else ""
    return "; ".join(parts[:_MOST_LISTED]) + more


def machine(workspace: Workspace) -> Iterator[Finding]:
    """Of the workspace and the machine now."""
    now = look(workspace.runs)
    yield _memory(now)
    yield _disk(now, workspace)
    yield _gpu(now)


def _memory(now: Machine) -> Finding:
    memory = f"{now.memory.free / _GB:.1f} GB free of {now.memory.total / _GB:.1f}"
    if now.memory.free < _LITTLE_MEMORY:
        return Finding("memory", "warning", memory, "Enough for the embedded model; end what else uses it for more.")
    return Finding("memory", "ok", memory)


def _disk(now: Machine, workspace: Workspace) -> Finding:
    free = f"{now.disk_free / _GB:.1f} GB free in {workspace.root}"
    folder = next(path for path in (workspace.runs, workspace.root) if path.exists())
    if not os.access(folder, os.W_OK):
        return Finding("disk", "missing", f"{folder} cannot be written", "Take another folder: --workspace DIR")
    if now.disk_free < _NO_DISK:
        return Finding("disk", "missing", free, "Free some: workbench trash --empty, hf cache prune")
    if now.disk_free < _LITTLE_DISK:
        return Finding("disk", "warning", free, "A model of 8 billion parameters takes 16 GB, merged another 16.")
    return Finding("disk", "ok", free)


def _gpu(now: Machine) -> Finding:
    if not now.gpus:
        hint = "Fine for the embedded model. For larger ones: an NVIDIA GPU with its driver."
        return Finding("GPU", "warning", "none that NVIDIA's driver tells of; models run on the CPU", hint)
    if now.gpu is None:
        hidden = f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')!r} hides all {len(now.gpus)}"
        return Finding("GPU", "warning", hidden, "Unset it, or name one: CUDA_VISIBLE_DEVICES=0")
    held = f"; process {now.gpu.holders[0].pid} has some of it" if now.gpu.holders else ""
    memory = f"{now.gpu.free / _GB:.1f} GB free of {now.gpu.total / _GB:.1f}{held}"
    return Finding("GPU", "ok", f"{now.gpu.name}, {memory}; driver {_driver_version()}")


def _driver_version() -> str:
    with suppress(Exception), driver() as nvml:  # A driver may not tell its version.
        version = nvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else str(version)
    return "unknown"


def privacy(workspace: Workspace, accounts: Callable[[], Sequence[struct_passwd]] = pwd.getpwall) -> Finding:
    """Whether others who have an account here can read or change pairs, runs, logs and caches.

    These are made as the user's umask says, so that a group can share a workspace.
    """
    others = sorted({one.pw_name for one in accounts() if _is_person(one) and one.pw_uid != os.getuid()})
    reach = _others_may(workspace.root)
    if reach is None:
        return Finding("privacy", "ok", f"only you can open {workspace.root}")
    if not others and reach == "read":
        return Finding("privacy", "ok", "nobody else has an account here")
    whose = f"Others here ({_listed(others)})" if others else "Others"
    root = quoted(workspace.root)
    way_out = f"chmod -R go-rwx {root}; and before the next run: umask 077"
    return Finding("privacy", "warning", f"{whose} can {reach} pairs, runs, logs and answers in {root}", way_out)


def _others_may(root: Path) -> Literal["read", "change"] | None:
    """What others than the owner may do with what is in a folder; None where they cannot even get there."""
    for parent in root.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            return None
    mode = root.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and _shared(root, mode):
        return "change"
    return "read" if mode & (stat.S_IXGRP | stat.S_IXOTH) and _shared(root, mode) else None


def _shared(root: Path, mode: int) -> bool:
    """Whether a folder is open to all, or its group has members besides its owner."""
    if mode & (stat.S_IWOTH | stat.S_IXOTH):
        return True
    with suppress(KeyError):
        return bool(set(grp.getgrgid(root.stat().st_gid).gr_mem) - {root.owner()})
    return True  # a group that nobody here knows


def _is_person(account: struct_passwd) -> bool:
    return _FIRST_PERSON <= account.pw_uid < _NOBODY and not account.pw_shell.endswith(("nologin", "false"))


def terminal() -> Iterator[Finding]:
    """Of the terminal that this process has, if it has one."""
    size = _size()
    if size is None:
        yield Finding("terminal", "ok", "none here: the screens need one, the commands do not")
    else:
        yield colours(os.environ)
        yield room(size)
        yield characters(locale.getpreferredencoding(do_setlocale=False))
    yield _tmux()


def colours(environment: Mapping[str, str]) -> Finding:
    """What the terminal says that it can draw."""
    term, colour = environment.get("TERM", ""), environment.get("COLORTERM", "")
    if term in NO_SCREENS:
        return Finding("terminal", "missing", f"TERM is {term or 'not set'}", "export TERM=xterm-256color")
    inside = bool(environment.get("TMUX"))
    if inside and not term.startswith(("tmux", "screen")):
        hint = (
            "Let tmux set it: set -g default-terminal tmux-256color in ~/.tmux.conf, and nothing in your shell's files"
        )
        return Finding("terminal", "warning", f"in tmux, but TERM is {term}", hint)
    if colour.lower() in ("truecolor", "24bit"):
        return Finding("terminal", "ok", f"{term}, 16 million colours{', in tmux' if inside else ''}")
    hint = "set -as terminal-features ',*:RGB' in ~/.tmux.conf, then: export COLORTERM=truecolor" if inside else ""
    hint = hint or "Where the terminal has more: export COLORTERM=truecolor"
    count = "256" if "256color" in term else "16"
    return Finding("terminal", "warning", f"{term}, {count} colours; all can be read without", hint)


def room(size: tuple[int, int]) -> Finding:
    """Columns and rows against what the screens are made for."""
    shown = f"{size[0]}×{size[1]}"
    if size[0] < _SMALLEST_TERMINAL[0] or size[1] < _SMALLEST_TERMINAL[1]:
        return Finding("size", "warning", shown, "Make the window larger: the screens need 80×24.")
    return Finding("size", "ok", shown)


def characters(encoding: str) -> Finding:
    """Whether what is not ASCII can be written."""
    if encoding.replace("-", "").lower() == "utf8":
        return Finding("characters", "ok", "UTF-8")
    return Finding("characters", "missing", f"{encoding}: frames and charts cannot be drawn", "export LANG=C.UTF-8")


def _size() -> tuple[int, int] | None:
    for number in (1, 2, 0):
        try:
            size = os.get_terminal_size(number)
        except OSError:
            continue
        return size.columns, size.lines
    return None


def _tmux() -> Finding:
    if shutil.which("tmux"):
        return Finding("tmux", "ok", "installed")
    hint = "Runs go on all the same when a connection ends; tmux keeps the screens too: apt-get install tmux"
    return Finding("tmux", "warning", "not installed", hint)


def hub() -> Iterator[Finding]:
    """The hub as this environment has it."""
    from huggingface_hub import constants, get_token

    yield _reached(constants.ENDPOINT, offline=constants.HF_HUB_OFFLINE)
    if get_token() is None:
        hint = "Needed for gated and private models, and to push: hf auth login"
        yield Finding("login", "warning", "nobody is logged in to Hugging Face", hint)
    else:
        yield Finding("login", "ok", f"there is a token, {'in HF_TOKEN' if os.environ.get('HF_TOKEN') else 'saved'}")
    yield _cached(Path(constants.HF_HUB_CACHE))


def _reached(endpoint: str, *, offline: bool) -> Finding:
    own = "Models in folders and in the cache work without; copy others here."
    if offline:
        return Finding("hub", "warning", "HF_HUB_OFFLINE is set: only models that are here", f"Unset it. {own}")
    proxy = next((os.environ[name] for name in ("HTTPS_PROXY", "https_proxy") if os.environ.get(name)), "")
    parts = urlsplit(proxy or endpoint)
    via = " (a proxy)" if proxy else ""
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        with socket.create_connection((parts.hostname or "", port), timeout=_HUB_PATIENCE):
            return Finding("hub", "ok", f"{parts.hostname} is reached{via}")
    except (OSError, ValueError) as error:
        return Finding("hub", "warning", f"{parts.hostname} is not reached{via}: {error}", own)


def _cached(folder: Path) -> Finding:
    models = sorted(path.name.removeprefix("models--").replace("--", "/") for path in folder.glob("models--*"))
    names = f": {', '.join(models[:4])}{' …' if len(models) > 4 else ''}" if models else ""
    return Finding("cached models", "ok", f"{len(models)} in {folder}{names}; and tiny, the embedded one")


def libraries(command: Sequence[str] | None = None) -> Iterator[Finding]:
    """What the self-test finds; what it did not come to is missing, with its last words."""
    findings: list[Finding] = []

    def hear(message: child.Progress | child.Part) -> None:
        if isinstance(message, child.Part):
            findings.append(Finding(**message.value))

    command = command or child.python("workbench.engine.selftest")
    deadline = time.monotonic() + _TRIAL_PATIENCE
    reason = ""
    try:
        child.run(command, {}, hear, name="The self-test", cancelled=lambda: time.monotonic() > deadline)
    except child.GivenUpError:
        yield Finding(
            "torch", "missing", f"did not answer in {_TRIAL_PATIENCE} s", "Restart the machine, then try again."
        )
        return
    except WorkbenchError as error:
        reason = error.message
    except child.UnforeseenError as error:
        reason = str(error)
    yield from findings
    left = [name for name in _TRIED if name not in {finding.name for finding in findings}]
    if left:
        yield Finding(left[0], "missing", reason or "was not tried", _INSTALL)
