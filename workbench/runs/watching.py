"""What the Runs screen reads: every run in short, and some in full. Files only, and never on the UI thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.runs import checkpoints, labels, lease, process
from workbench.runs.catalog import Catalog
from workbench.runs.events import EventReader
from workbench.runs.folder import RunFolder
from workbench.runs.labels import Labels
from workbench.runs.state import RunState, Status, fold
from workbench.text import safe

_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its folder tells it. `config` and `created` are None where run.toml cannot be read.

    `place` is that in the queue, 1 is next, and `ahead` the id of the run before it there or at the device. `stopping`:
    it was asked to stop and has not yet; it will be killed in `seconds_to_kill`. `trouble` says why it is lost, and
    `resumes_from` after which step it would go on, None where it cannot; `torn` names checkpoints that are no good.
    `damaged` counts lines of events.jsonl that cannot be read.
    """

    folder: RunFolder
    config: RunConfig | None
    status: Status
    state: RunState
    created: datetime | None = None
    labels: Labels = field(default_factory=Labels)
    place: int | None = None
    ahead: str = ""
    stopping: bool = False
    seconds_to_kill: float | None = None
    trouble: str = ""
    resumes_from: int | None = None
    torn: tuple[tuple[str, str], ...] = ()
    damaged: int = 0

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.id

    @property
    def going(self) -> bool:
        """Whether a worker is at it, or waits to be."""
        return self.status in ("queued", "running", "paused")


@dataclass(slots=True)
class Follower:
    """Keeps the whole state of one run up to date, reading what is new only."""

    folder: RunFolder
    _reader: EventReader = field(init=False)
    _state: RunState = field(default_factory=RunState)
    _config: RunConfig | None = None
    _created: datetime | None = None

    def __post_init__(self) -> None:
        self._reader = EventReader(self.folder.events)
        try:
            record = self.folder.record()
            self._config, self._created = record.config, record.created
        except WorkbenchError:
            self._config = None

    def state(self) -> RunState:
        """The state as it is now: the same object as before where nothing is new."""
        events = list(self._reader.read())
        if events:
            self._state = fold(events, self._state)
        return self._state

    def read(self) -> Run:
        """The run as it is now."""
        folder, state = self.folder, self.state()
        status = process.status(folder, state)
        stopping = status in ("running", "paused") and folder.stop.exists()
        place, ahead = _queued(folder) if status == "queued" else (None, "")
        resumes_from, torn = _checkpoints(folder) if status in ("stopped", "failed", "lost") else (None, ())
        return Run(
            folder,
            self._config,
            status,
            state,
            self._created,
            labels.read(folder),
            place,
            ahead,
            stopping,
            process.seconds_to_kill(folder) if stopping else None,
            process.cause_of_loss(folder) if status == "lost" else "",
            resumes_from,
            torn,
            self._reader.damaged,
        )


@dataclass(slots=True)
class Feed:
    """The runs of a workspace. One thread at a time."""

    runs: Path
    _catalog: Catalog = field(init=False)
    _followed: dict[str, Follower] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._catalog = Catalog(self.runs)

    def all(self) -> list[Run]:
        """Every run in short, newest first."""
        return [
            Run(
                each.folder,
                each.config,
                each.status,
                each.state,
                each.created,
                each.labels,
                each.place,
                stopping=each.status in ("running", "paused") and each.folder.stop.exists(),
                trouble=process.cause_of_loss(each.folder) if each.status == "lost" else "",
            )
            for each in self._catalog.summaries()
        ]

    def one(self, run: str) -> Run:
        """The run with this id, with all its events."""
        return self._follower(run).read()

    def states(self, runs: Iterable[str]) -> list[RunState]:
        """All events of these runs."""
        return [self._follower(run).state() for run in runs]

    def keep(self, runs: Iterable[str]) -> None:
        """Forgets the events of all runs but these."""
        kept = set(runs)
        self._followed = {run: follower for run, follower in self._followed.items() if run in kept}

    def _follower(self, run: str) -> Follower:
        if run not in self._followed:
            self._followed[run] = Follower(RunFolder(self.runs / run))
        return self._followed[run]


def _queued(folder: RunFolder) -> tuple[int | None, str]:
    """The place in the queue, and the run before it there or at the device."""
    path = folder.path.resolve()
    for line in lease.lines():
        if path in line.waiting:
            index = line.waiting.index(path)
            ahead = line.waiting[index - 1] if index else line.holder
            return index + 1, ahead.name if ahead is not None else ""
    return None, ""


def _checkpoints(folder: RunFolder) -> tuple[int | None, tuple[tuple[str, str], ...]]:
    """After which step the run would go on, and the checkpoints that are skipped with the reasons."""
    whole = checkpoints.complete(folder)
    torn = tuple((path.name, reason) for path, reason in checkpoints.torn(folder))
    return (checkpoints.step_of(whole[-1]) if whole else None), torn


def tail(path: Path, most: int) -> list[str]:
    """The last `most` lines of the file, safe to show; none where it does not exist.

    A progress bar rewrites its line with carriage returns: only what stood there last is kept.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(size - _TAIL_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = text.replace("\r\n", "\n").split("\n")
    if size > _TAIL_BYTES:
        lines = lines[1:]
    shown = [safe(line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in lines]
    while shown and not shown[-1]:
        shown.pop()
    return shown[-most:]
