"""All runs of a workspace with their states, read cheaply again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.runs.events import Event, decode
from workbench.runs.folder import RunFolder, runs_in
from workbench.runs.labels import Labels
from workbench.runs.labels import read as read_labels
from workbench.runs.lease import places
from workbench.runs.process import status
from workbench.runs.state import TERMINAL, RunState, Status, fold

_END = 64 * 1024


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in short. `config` is None where run.toml cannot be read.

    Of a long run `state` knows the first and the latest events only: enough for a list, too little for a chart.
    `place` is that in the line for the device, 1 is next; None where the run does not wait.
    """

    folder: RunFolder
    config: RunConfig | None
    created: datetime | None
    status: Status
    state: RunState
    labels: Labels = field(default_factory=Labels)
    place: int | None = None

    @property
    def id(self) -> str:
        """The run's name everywhere."""
        return self.folder.id


@dataclass(slots=True)
class _Known:
    events: tuple[int, int]
    others: tuple[tuple[int, int], ...]
    summary: Summary


class Catalog:
    """The runs in a folder. Keep one to list them often: runs that did not change are not read again."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._known: dict[str, _Known] = {}

    def summaries(self) -> list[Summary]:
        """All runs, newest first."""
        folders = runs_in(self.runs)
        self._known = {folder.id: self._look(folder) for folder in folders}
        places_now = places()
        found = [
            replace(each.summary, place=places_now.get(each.summary.folder.path.resolve()))
            if places_now
            else each.summary
            for each in self._known.values()
        ]
        return sorted(
            found, key=lambda each: (each.created.timestamp() if each.created else 0.0, each.id), reverse=True
        )

    def _look(self, folder: RunFolder) -> _Known:
        events = _stamp(folder.events)
        others = (_stamp(folder.labels), _stamp(folder.process))
        known = self._known.get(folder.id)
        if known is not None and known.events == events:
            if known.others == others and known.summary.status in TERMINAL:
                return known
            state = known.summary.state
        else:
            state = fold(_ends(folder.events))
        try:
            record = folder.record()
            config, created = record.config, record.created
        except WorkbenchError:
            config, created = None, None
        summary = Summary(folder, config, created, status(folder, state), state, read_labels(folder))
        return _Known(events, others, summary)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _ends(path: Path) -> Iterator[Event]:
    """The first and the last events of a file, all of them where it is short."""
    try:
        with path.open("rb") as file:
            head = file.read(_END)
            size = file.seek(0, 2)
            if size > 2 * _END:
                file.seek(size - _END)
                tail = file.read().partition(b"\n")[2]
                head = head.rpartition(b"\n")[0] + b"\n"
            else:
                file.seek(len(head))
                tail = file.read()
    except OSError:
        return
    for line in (head + tail).split(b"\n"):
        event = decode(line.decode("utf-8", "replace"))
        if event is not None:
            yield event
