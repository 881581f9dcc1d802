"""All runs of a workspace with their states, read cheaply again and again; and which of them a new run can build on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.models import resolve
from workbench.runs.events import Event, decode
from workbench.runs.folder import RunFolder, runs_in
from workbench.runs.labels import Labels
from workbench.runs.labels import read as read_labels
from workbench.runs.lease import places
from workbench.runs.process import cause_of_loss, status
from workbench.runs.state import TERMINAL, RunState, Status, fold
from workbench.text import one_line

_END = 64 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its folder tells it. `config` and `created` are None where run.toml cannot be read.

    In a list, `state` knows the first and the latest events of a long run only: too little for a chart. `place` is that
    in the line for the device, 1 is next; None where the run does not wait. `stopping`: it was asked to stop and has
    not yet. `trouble` says why it is lost.

    Known only of a run that is read by itself (`runs.watching`): `ahead`, the id of the run before it in the line or at
    the device; `seconds_to_kill` of one that is stopping; `resumes_from`, the step after which it would go on, None
    where it cannot; `torn`, checkpoints that are no good, with the reasons; `damaged`, how many lines of events.jsonl
    cannot be read.
    """

    folder: RunFolder
    config: RunConfig | None
    created: datetime | None
    status: Status
    state: RunState
    labels: Labels = field(default_factory=Labels)
    place: int | None = None
    stopping: bool = False
    trouble: str = ""
    ahead: str = ""
    seconds_to_kill: float | None = None
    resumes_from: int | None = None
    torn: tuple[tuple[str, str], ...] = ()
    damaged: int = 0

    @property
    def id(self) -> str:
        """The folder's name, which is the run's everywhere."""
        return self.folder.id

    @property
    def name(self) -> str:
        """What the user calls the run, else its id. Safe to show."""
        return one_line(self.labels.name or self.id)

    @property
    def going(self) -> bool:
        """Whether a worker is at it, or waits to be."""
        return self.status in ("queued", "running", "paused")


@dataclass(slots=True)
class _Known:
    events: tuple[int, int]
    others: tuple[tuple[int, int], ...]
    run: Run


class Catalog:
    """The runs in a folder. Keep one to list them often: runs that did not change are not read again."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._known: dict[str, _Known] = {}

    def summaries(self) -> list[Run]:
        """All runs, newest first."""
        folders = runs_in(self.runs)
        self._known = {folder.id: self._look(folder) for folder in folders}
        places_now = places()
        runs = [
            replace(known.run, place=places_now.get(known.run.folder.path.resolve())) if places_now else known.run
            for known in self._known.values()
        ]
        return sorted(runs, key=lambda run: (run.created.timestamp() if run.created else 0.0, run.id), reverse=True)

    def _look(self, folder: RunFolder) -> _Known:
        events = _stamp(folder.events)
        others = (_stamp(folder.labels), _stamp(folder.process))
        known = self._known.get(folder.id)
        if known is not None and known.events == events:
            if known.others == others and known.run.status in TERMINAL:
                return known
            state = known.run.state
        else:
            state = fold(_ends(folder.events))
        try:
            record = folder.record()
            config, created = record.config, record.created
        except WorkbenchError:
            config, created = None, None
        run = read_run(folder, config, created, state)
        return _Known(events, others, run)


def read_run(folder: RunFolder, config: RunConfig | None, created: datetime | None, state: RunState) -> Run:
    """A run whose record and events are known already, with what else its folder tells."""
    now = status(folder, state)
    stopping = now in ("running", "paused") and folder.stop.exists()
    trouble = cause_of_loss(folder) if now == "lost" else ""
    return Run(folder, config, created, now, state, read_labels(folder), None, stopping, trouble)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


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


def runs_to_start_from(summaries: Iterable[Run], model: str) -> list[Run]:
    """Runs whose adapter another run on the model can go on from, in the order given."""
    return [run for run, config in _saved(summaries, model) if config.facts.answers]


def runs_that_reward(summaries: Iterable[Run], model: str) -> list[Run]:
    """Runs that can judge the answers of a run on the model: reward models, then runs with an implicit reward."""
    judges = [(run, config.facts) for run, config in _saved(summaries, model) if config.facts.gives_reward]
    return [run for run, _ in sorted(judges, key=lambda judge: judge[1].answers)]


def _saved(summaries: Iterable[Run], model: str) -> list[tuple[Run, RunConfig]]:
    """Runs on the model that have saved an adapter, with their configs."""
    resolved_names: dict[str, str | None] = {}

    def resolved(name: str) -> str | None:
        if name not in resolved_names:
            try:
                resolved_names[name] = resolve(name)
            except WorkbenchError:
                resolved_names[name] = None
        return resolved_names[name]

    base = resolved(model)
    return [
        (run, run.config)
        for run in summaries
        if base is not None and run.config is not None and resolved(run.config.model) == base and run.folder.has_adapter
    ]
