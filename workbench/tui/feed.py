"""What the Runs screen reads: every run in short, and the open one in full. Files only, and never on the UI thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.runs import process
from workbench.runs.catalog import Catalog
from workbench.runs.events import EventReader
from workbench.runs.folder import RunFolder
from workbench.runs.state import RunState, Status, fold


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its folder tells it. `config` is None where run.toml cannot be read.

    `trouble` says why it is lost; `stopping`: it was asked to stop, and has not yet.
    """

    folder: RunFolder
    config: RunConfig | None
    status: Status
    state: RunState
    trouble: str = ""
    stopping: bool = False

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.id

    @property
    def going(self) -> bool:
        """Whether a worker is at it, or soon will be."""
        return self.status in ("queued", "running")


@dataclass(slots=True)
class Follower:
    """Keeps the whole state of one run up to date, reading what is new only."""

    folder: RunFolder
    _reader: EventReader = field(init=False)
    _state: RunState = field(default_factory=RunState)
    _config: RunConfig | None = None

    def __post_init__(self) -> None:
        self._reader = EventReader(self.folder.events)
        try:
            self._config = self.folder.record().config
        except WorkbenchError:
            self._config = None

    def read(self) -> Run:
        """The run as it is now. Its `state` is the same object as before where nothing is new."""
        events = list(self._reader.read())
        if events:
            self._state = fold(events, self._state)
        return _run(self.folder, self._config, process.status(self.folder, self._state), self._state)


@dataclass(slots=True)
class Feed:
    """The runs of a workspace. One thread at a time."""

    runs: Path
    _catalog: Catalog = field(init=False)
    _followed: Follower | None = None

    def __post_init__(self) -> None:
        self._catalog = Catalog(self.runs)

    def all(self) -> list[Run]:
        """Every run in short, newest first."""
        return [_run(each.folder, each.config, each.status, each.state) for each in self._catalog.summaries()]

    def one(self, run: str) -> Run:
        """The run with this id, with all its events."""
        if self._followed is None or self._followed.folder.id != run:
            self._followed = Follower(RunFolder(self.runs / run))
        return self._followed.read()


def _run(folder: RunFolder, config: RunConfig | None, status: Status, state: RunState) -> Run:
    trouble = process.cause_of_loss(folder) if status == "lost" else ""
    return Run(folder, config, status, state, trouble, stopping=status == "running" and folder.stop.exists())
