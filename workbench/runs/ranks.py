"""What the processes of a launched worker leave behind: a note each, which tells their parent how they ended."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from workbench.runs.events import Failed
from workbench.runs.folder import RunFolder

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
        told: dict[str, Any] = {}
        if failed is not None:
            echo = any(word in failed.message.lower() for word in _PEERS)
            told = {"title": failed.title, "message": failed.message, "hint": failed.hint, "echo": echo}
        note = Note(**self._note, end=end, time=time.time(), **told)  # type: ignore[arg-type]
        unfinished = self._path.with_suffix(".tmp")
        with suppress(OSError):
            unfinished.parent.mkdir(exist_ok=True)
            unfinished.write_text(json.dumps(asdict(note)), "utf-8")
            unfinished.replace(self._path)


def forget(folder: RunFolder) -> None:
    """Removes the notes of an earlier worker."""
    shutil.rmtree(_place(folder), ignore_errors=True)


def notes(folder: RunFolder) -> list[Note]:
    """The notes of all processes, by rank; what is no note is left out."""
    found = []
    for path in _place(folder).glob("*.json"):
        with suppress(OSError, ValueError, TypeError):
            found.append(Note(**json.loads(path.read_text("utf-8"))))
    return sorted(found, key=lambda note: (note.rank, note.time))


def lock(folder: RunFolder) -> Path:
    """The file that the first process holds locked: there can be one only."""
    return _place(folder) / "first.lock"


def failure(found: list[Note], status: int | None, last_line: str, run: str) -> Failed:
    """Why a launched worker ended without a last event. `status` is its launcher's; None where that was not started."""
    log = f"See the log: workbench logs {run}"
    failed = sorted((note for note in found if note.end == "failed"), key=lambda note: (note.echo, note.time))
    if failed and not failed[0].echo:
        first = failed[0]
        where = f" (process {first.rank} of {len(found)})" if len(found) > 1 else ""
        return Failed(time=time.time(), title=first.title, message=first.message + where, hint=first.hint or log)
    killed = [note for note in found if not note.end]
    if killed and status != 0:
        first = killed[0]
        return Failed(
            time=time.time(),
            title="A process of the run was killed",
            message=f"Process {first.rank} of {len(found)} (PID {first.pid} on {first.host}) went away without a word, "
            "often because memory ran out.",
            hint=f"Then: workbench resume {run}",
        )
    if any(note.end == "terminated" for note in found):
        message, hint = "Its processes got a signal to end before they could save.", f"Then: workbench resume {run}"
        return Failed(time=time.time(), title="The run was ended by a signal", message=message, hint=hint)
    told = failed[0].message if failed else last_line
    message = f"It ended with exit status {status}: {told}" if told else f"It ended with exit status {status}."
    return Failed(time=time.time(), title="The launcher failed", message=message, hint=log)


def _place(folder: RunFolder) -> Path:
    return folder.path / "ranks"
