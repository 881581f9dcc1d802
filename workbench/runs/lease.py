"""One worker a device at a time, on the whole machine: the others wait in line.

The lease is a kernel lock held by the worker's process, so it is free again whenever the worker is gone, however it
went. The line is a small file beside it, changed under a lock only; entries whose worker is gone do not count. Nothing
here waits for anyone: a worker that wants its turn asks again and again.

    with DeviceTurn(folder) as turn:        # before torch is imported: a waiting worker is a small one
        while not turn.poll():
            if folder.stop.exists(): ...    # cancelled: Stopped at step 0
            time.sleep(PACE)
        train()                             # the turn ends with the block, or with the process
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from workbench.errors import WorkbenchError
from workbench.files import json_in, open_to_append, write_whole
from workbench.runs import process_identity
from workbench.runs.folder import RunFolder
from workbench.runs.machine import FIRST_GPU, driver
from workbench.runs.user_state import STATE, state_folder

PACE = 0.5
"""Seconds between two polls."""
_PATIENCE = 1.0
"""Seconds of waiting that are not worth a word."""
CPU = "CPU"
_ENDING = ".queue"

_held: set[int] = set()


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


# A kernel lock belongs to every copy of its file descriptor: a child that outlives its worker would hold the device.
os.register_at_fork(after_in_child=_let_go)


@dataclass(frozen=True, slots=True)
class Queue:
    """Who is at a device: the run that holds it, if any, and those that wait, the next one first. Run folders."""

    device: str
    holder: Path | None
    waiting: tuple[Path, ...]

    def ahead_of(self, folder: Path) -> list[Path]:
        """The runs before a waiting one, the one with the device first."""
        return [*([self.holder] if self.holder else []), *self.waiting[: self.waiting.index(folder)]]


@dataclass(frozen=True, slots=True)
class _Entry:
    folder: str
    pid: int
    start: str
    holds: bool = False

    @property
    def runs(self) -> bool:
        return process_identity.runs(self.pid, self.start)

    def same(self, other: _Entry) -> bool:
        return (self.folder, self.pid, self.start) == (other.folder, other.pid, other.start)


class DeviceTurn:
    """A worker's place in line, and then its lease. Entering joins the line; raises `WorkbenchError` where it cannot.

    Where whoever started the worker had joined the line for it (`enqueue`), this is that place.
    """

    def __init__(self, folder: RunFolder, on: str | None = None) -> None:
        self.device = on or device()
        self._folder = folder
        self._lease: int | None = None
        start = process_identity.start_of(os.getpid())
        self._entry = _Entry(str(folder.path.resolve()), os.getpid(), start or "")

    def __enter__(self) -> DeviceTurn:
        enqueue(self._folder, os.getpid(), self.device)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        # Where the line cannot be written the entry stays, and no longer counts once this process is gone.
        with suppress(WorkbenchError), _changing(self.device) as line:
            line[:] = [entry for entry in line if not entry.same(self._entry)]
        if self._lease is not None:
            _held.discard(self._lease)
            os.close(self._lease)
            self._lease = None

    def poll(self) -> bool:
        """Whether it is our turn now. Once it is, it stays so."""
        if self._lease is not None:
            return True
        path = _queue_file(self.device)
        line = _read(path)
        if not any(entry.same(self._entry) for entry in line):
            enqueue(self._folder, os.getpid(), self.device)  # Someone deleted or damaged the file.
        if not self._first(line):
            return False
        with _locked(path):
            line = [entry for entry in _read(path) if entry.runs]
            if not self._first(line) or not self._take(path.with_suffix(".lease")):
                return False
            # The lease is what counts: on a full disk the line may say for a while what it said before.
            with suppress(OSError):
                entries = [replace(entry, holds=True) if entry.same(self._entry) else entry for entry in line]
                write_whole(path, json.dumps([asdict(entry) for entry in entries]))
        return True

    def _first(self, line: list[_Entry]) -> bool:
        ahead = next((entry for entry in line if entry.runs and not entry.holds), None)
        return ahead is not None and ahead.same(self._entry)

    def _take(self, path: Path) -> bool:
        try:
            lease = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lease)
            return False
        self._lease = lease
        _held.add(lease)
        return True


@contextmanager
def turn(folder: RunFolder, tell: Callable[[str], None]) -> Iterator[None]:
    """Waits for the device as a worker does, and has it in the block. `tell` is told for whom it waits.

    For a process that works on the run in `folder` but is not its worker. Raises `WorkbenchError` where the line cannot
    be written; an exception while it waits, as by Ctrl-C, leaves the line.
    """
    with DeviceTurn(folder) as mine:
        began, said = time.monotonic(), None
        while not mine.poll():
            current = holder(mine.device)
            # Who has it may be on its way out, which needs no words.
            if time.monotonic() - began > _PATIENCE and current not in (None, said):
                tell(f"waiting for {mine.device}, which {current.name if current else 'another run'} has")
                said = current
            time.sleep(PACE / 5)
        yield


def device() -> str:
    """What a worker started now would train on: "GPU 0", "GPU 1", …, or "CPU". Told without torch."""
    return _device(os.environ.get("CUDA_VISIBLE_DEVICES", FIRST_GPU))


def devices(most: int) -> list[str]:
    """What a worker of so many processes would train on, one device a process as far as there are any. Sorted.

    A worker that takes them in this order never waits for one that waits for it.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(str(index) for index in range(len(_gpus())))
    named = [_device(name.strip()) for name in visible.split(",")[:most] if name.strip()]
    return sorted({name for name in named if name != CPU}, key=lambda name: (len(name), name)) or [CPU]


def enqueue(folder: RunFolder, pid: int, on: str | None = None) -> None:
    """Puts the worker `pid` of a run at the end of the line of the device `on`, unless it stands there already.

    Without `on`: what `device` names. Raises `WorkbenchError` where the line cannot be written.
    """
    start = process_identity.start_of(pid)
    if start is None:
        return
    entry = _Entry(str(folder.path.resolve()), pid, start)
    with _changing(on or device()) as line:
        if not any(waiting.same(entry) for waiting in line):
            line.append(entry)


def queues() -> list[Queue]:
    """Every device of this machine that some run holds or waits for, by its name."""
    all_queues = []
    for path in state_folder().glob(f"{_machine()}.*{_ENDING}"):
        entries = [entry for entry in _read(path) if entry.runs]
        if entries:
            holder = next((Path(entry.folder) for entry in entries if entry.holds), None)
            waiting = tuple(Path(entry.folder) for entry in entries if not entry.holds)
            all_queues.append(Queue(_name(path), holder, waiting))
    return sorted(all_queues, key=lambda queue: queue.device)


def queue_of(folder: RunFolder) -> Queue | None:
    """The queue in which a run waits for its turn; None where it does not wait."""
    path = folder.path.resolve()
    return next((queue for queue in queues() if path in queue.waiting), None)


def places() -> dict[Path, int]:
    """The place of every waiting run, by its folder: 1 is next."""
    return {folder: place for queue in queues() for place, folder in enumerate(queue.waiting, 1)}


def place(folder: RunFolder) -> int | None:
    """The place of a run that waits for its turn: 1 is next."""
    return places().get(folder.path.resolve())


def holder(on: str | None = None) -> Path | None:
    """The folder of the run that holds the device `on`; None where it is free. Without `on`: what `device` names."""
    wanted = on or device()
    return next((queue.holder for queue in queues() if queue.device == wanted), None)


def move(folder: RunFolder, by: int) -> int:
    """Moves a waiting run `by` places back in its line, or forward where negative, as far as the line goes.

    Returns its new place, 1 is next. Raises `WorkbenchError` where the run does not wait.
    """
    path, queue = folder.path.resolve(), queue_of(folder)
    if queue is not None:
        with _changing(queue.device) as line:
            waiting = [entry for entry in line if not entry.holds]
            index = next((n for n, entry in enumerate(waiting) if Path(entry.folder) == path), None)
            if index is not None:
                place = min(max(index + by, 0), len(waiting) - 1)
                waiting.insert(place, waiting.pop(index))
                line[:] = [*(entry for entry in line if entry.holds), *waiting]
                return place + 1
    raise WorkbenchError(
        "The run does not wait for its turn", f"{folder.id} is not in the queue.", "List the queue: workbench queue"
    )


@contextmanager
def _changing(device: str) -> Iterator[list[_Entry]]:
    """The line of a device, to be changed in place while nobody else can. Raises `WorkbenchError` where it cannot."""
    path = _queue_file(device)
    with _locked(path):
        before = _read(path)
        line = [entry for entry in before if entry.runs]
        yield line
        if line != before:
            try:
                write_whole(path, json.dumps([asdict(entry) for entry in line]))
            except OSError as error:
                raise _unwritable(path, error) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        # Who names a folder may mean others to have it too.
        path.parent.mkdir(0o777 if os.environ.get(STATE) else 0o700, parents=True, exist_ok=True)
        guard = os.fdopen(open_to_append(path.with_suffix(".lock")), "a")
    except OSError as error:
        raise _unwritable(path, error) from error
    with guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _unwritable(path: Path, error: OSError) -> WorkbenchError:
    return WorkbenchError(
        "The queue cannot be written", f"{path}: {error}.", f"Free some space there, or set {STATE} to another folder."
    )


def _read(path: Path) -> list[_Entry]:
    """What the file of a line says; what is no entry is left out."""
    try:
        document: Any = json_in(path.read_bytes())
    except (OSError, ValueError):
        return []
    entries = []
    for item in document if isinstance(document, list) else ():
        match item:
            case {"folder": str(folder), "pid": int(pid), "start": str(start), "holds": bool(holds)}:
                entries.append(_Entry(folder, pid, start, holds))
    return entries


def _queue_file(device: str) -> Path:
    return state_folder() / f"{_machine()}.{device.replace(' ', '-')}{_ENDING}"


def _name(path: Path) -> str:
    return path.name.removeprefix(f"{_machine()}.").removesuffix(_ENDING).replace("-", " ", 1)


def _machine() -> str:
    """Home folders are shared between machines now and then; devices are not."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", platform.node()) or "machine"


@functools.cache
def _device(visible: str) -> str:
    first = visible.split(",")[0].strip()
    if not first or first == "-1":
        return CPU
    known = _gpus()
    if first.isdecimal():
        return f"GPU {int(first)}" if int(first) < len(known) else CPU
    index = next((n for n, uuid in enumerate(known) if uuid.startswith(first)), None)
    if index is not None:
        return f"GPU {index}"
    return f"GPU {re.sub('[^A-Za-z0-9_-]+', '-', first)}" if known else CPU  # A slice of a GPU has a name of its own.


def _gpus() -> list[str]:
    """The UUIDs of the GPUs; where the driver's library does not answer, as many empty words as there are devices."""
    try:
        with driver() as nvml:
            handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
            return [str(nvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    except Exception:  # The library is missing, or has an error of its own for everything.
        return [""] * len(list(Path("/dev").glob("nvidia[0-9]*")))
