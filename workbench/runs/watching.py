"""Watching the runs of a workspace: when to look at which files, and what they say, as one snapshot a look.

Files are only read, so any number of watchers may look at one run. No screen is known here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.runs import checkpoints, lease, machine, process
from workbench.runs.catalog import Catalog, Run, read_run
from workbench.runs.events import EventReader
from workbench.runs.folder import RunFolder
from workbench.runs.machine import Gpu
from workbench.runs.state import RunState, fold
from workbench.text import safe

_TAIL_BYTES = 64 * 1024
_LOG_LINES = 400


@dataclass(frozen=True, slots=True)
class WatchPace:
    """Seconds between two looks: at one run, at all, at the GPU; and between two drawings of a live run's charts."""

    one: float
    all: float
    gpu: float
    charts: float


PACE, SLOW_PACE = WatchPace(1.0, 2.0, 5.0, 2.0), WatchPace(5.0, 10.0, 5.0, 15.0)
"""For a terminal of this machine, and for a slow link."""


def pace(*, slow: bool) -> WatchPace:
    """The pace of a screen."""
    return SLOW_PACE if slow else PACE


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read beside the list of runs, by ids: one run in full, those laid over it, and `log` where it is shown.

    The end of a run that stopped or broke comes with the last lines of its log in any case.
    """

    run: str | None = None
    overlays: tuple[str, ...] = ()
    log: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one look saw. `runs` are all runs in short, newest first; `listed`: they were read in this look.

    `before` has those of `runs` as the look before saw them that have changed their status or are gone since, `run` the
    one that was wanted, in full, `overlays` the states of those over it by their ids, `log` the last lines of its log,
    safe to show, `gpu` the one that its worker is on.
    """

    runs: tuple[Run, ...] = ()
    listed: bool = False
    before: tuple[Run, ...] = ()
    run: Run | None = None
    overlays: Mapping[str, RunState] = field(default_factory=dict)
    log: tuple[str, ...] = ()
    gpu: Gpu | None = None


class RunWatcher:
    """Looks at the runs in a folder again and again, once it is woken.

    One task waits for `next`; the other methods may be called at any time.
    """

    def __init__(self, runs: Path, pace: WatchPace) -> None:
        self._catalog, self._pace = Catalog(runs), pace
        self._followed: dict[str, _Follower] = {}
        self._last = Snapshot()
        self._list_due = self._gpu_due = 0.0
        self._awake, self._hurry = asyncio.Event(), asyncio.Event()

    def wake(self) -> None:
        """Looks at everything at once, and goes on."""
        self._awake.set()
        self.hurry(at_list=True)

    def sleep(self) -> None:
        """Looks at nothing until `wake`."""
        self._awake.clear()

    def hurry(self, *, at_list: bool = False) -> None:
        """Looks at the wanted run at once, and with `at_list` at all runs."""
        if at_list:
            self._list_due = 0.0
        self._hurry.set()

    async def next(self, wanted: Callable[[], Wanted]) -> Snapshot:
        """Waits until a look is due, then reads in a thread. After an error it may be called again like before."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self._pace.one)
            await asyncio.sleep(0.03)  # Several keys in a row are one look.
        await self._awake.wait()
        self._hurry.clear()
        return await asyncio.to_thread(self.look, wanted())

    def look(self, wanted: Wanted) -> Snapshot:
        """What the files say now. Blocks, and is for one thread at a time."""
        now = time.monotonic()
        snapshot = replace(self._last, listed=False, before=(), run=None, overlays={}, log=())
        if now >= self._list_due:
            snapshot = self._with_list(snapshot, now)
        if wanted.run is not None and any(run.id == wanted.run for run in snapshot.runs):
            snapshot = self._with_run(snapshot, wanted.run, wanted, now)
        self._last = snapshot
        return snapshot

    def _with_list(self, snapshot: Snapshot, now: float) -> Snapshot:
        self._list_due = now + self._pace.all  # Before it is read: who hurries meanwhile wants another look.
        try:
            runs = tuple(self._catalog.summaries())
        except BaseException:
            self._list_due = 0.0
            raise
        statuses = {run.id: run.status for run in runs}
        before = tuple(run for run in snapshot.runs if statuses.get(run.id) != run.status)
        return replace(snapshot, runs=runs, listed=True, before=before)

    def _with_run(self, snapshot: Snapshot, shown: str, wanted: Wanted, now: float) -> Snapshot:
        self._followed = {
            run: self._followed.get(run) or _Follower(RunFolder(self._catalog.runs / run))
            for run in (shown, *wanted.overlays)
        }
        run = self._followed[shown].read()
        gpu = snapshot.gpu
        if now >= self._gpu_due or self._last.run is None or self._last.run.id != shown:
            self._gpu_due, gpu = now + self._pace.gpu, _gpu_of(run)
        log = _log_end(run.folder.log) if wanted.log or run.status in ("failed", "lost", "stopped") else ()
        overlays = {other: self._followed[other].state() for other in wanted.overlays if other != shown}
        return replace(snapshot, run=run, overlays=overlays, log=log, gpu=gpu)


@dataclass(slots=True)
class _Follower:
    """Keeps the whole state of one run up to date, reading what is new only."""

    folder: RunFolder
    _reader: EventReader = field(init=False)
    _state: RunState = field(default_factory=RunState)
    _config: RunConfig | None = None
    _created: datetime | None = None

    def __post_init__(self) -> None:
        self._reader = EventReader(self.folder.events)
        with suppress(WorkbenchError):
            record = self.folder.record()
            self._config, self._created = record.config, record.created

    def state(self) -> RunState:
        """The state as it is now: the same object as before where nothing is new."""
        events = list(self._reader.read())
        if events:
            self._state = fold(events, self._state)
        return self._state

    def read(self) -> Run:
        """The run as it is now."""
        run = read_run(self.folder, self._config, self._created, self.state())
        queue = lease.queue_of(self.folder) if run.status == "queued" else None
        path = self.folder.path.resolve()
        ahead = queue.ahead_of(path) if queue else []
        ended = run.status in ("stopped", "failed", "lost")
        resumes_from, torn = checkpoints.resume_point(self.folder) if ended else (None, ())
        return replace(
            run,
            place=queue.waiting.index(path) + 1 if queue else None,
            ahead=ahead[-1].name if ahead else "",
            seconds_to_kill=process.seconds_to_kill(self.folder) if run.stopping else None,
            resumes_from=resumes_from,
            torn=torn,
            damaged=self._reader.damaged,
        )


def _gpu_of(run: Run) -> Gpu | None:
    """The GPU that the run's worker is on; None where it is on none, or not there."""
    started = run.state.started
    if run.status not in ("running", "paused") or started is None or started.device == "CPU":
        return None
    pid, gpus = process.worker_pid(run.folder), machine.gpus()
    held = [gpu for gpu in gpus if any(holder.pid == pid for holder in gpu.holders)]
    # In a container the driver knows our processes by other PIDs.
    return next(iter(held or [gpu for gpu in gpus if gpu.name == started.device]), None)


def _log_end(path: Path) -> tuple[str, ...]:
    """The last lines of the file, safe to show; none where it does not exist yet.

    A progress bar rewrites its line with carriage returns: only what stood there last is kept.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(size - _TAIL_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (safe(f"The log cannot be read: {error}"),)
    lines = text.replace("\r\n", "\n").split("\n")
    if size > _TAIL_BYTES:
        lines = lines[1:]
    shown = [safe(line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in lines]
    while shown and not shown[-1]:
        shown.pop()
    return tuple(shown[-_LOG_LINES:])
