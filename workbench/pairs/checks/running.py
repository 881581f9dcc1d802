"""The checks of one data set: running in the background, done, out of date."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workbench.errors import WorkbenchError
from workbench.pairs.checks.catalog import CHECKS
from workbench.pairs.checks.findings import SEVERITIES, Finding, Report, Severity

SIGNS: dict[Severity, str] = {"error": "✘", "warning": "▲", "note": "·"}
"""A sign for each severity, one terminal cell wide."""
EDITED = "↻"
"""The sign of a finding in a pair that was edited since."""

_EVERY = 0.2
_LONGEST_WAIT = 2.0
_ORDER = {name: place for place, name in enumerate(CHECKS)}
_SHARES = {
    "length-bias": 4,
    "empty": 1,
    "identical": 3,
    "roles": 1,
    "turn-marker": 4,
    "duplicate": 2,
    "contradiction": 5,
    "leak": 1,
    "invisible": 2,
    "encoding": 2,
    "too-similar": 2,
    "refusal": 4,
    "swap": 3,
    "near-duplicate": 66,
}
"""About how much of the time each check takes; reading the file and what a model measures come before."""
_READING, _COUNTING = 20, 120

State = Literal["none", "running", "done", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Progress:
    """The check that runs, and how much of it and of all checks is done, from 0 to 1."""

    check: str
    share: float
    overall: float


@dataclass(eq=False)
class _Run:
    model: str | None
    max_length: int
    cancelled: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class PairChecks:
    """Runs the checks of a data set in a process of its own and holds what they found.

    All but `touch` is to be called from one thread. `changed` is called in another one, at most five times a second,
    when there is something new; `version` has then grown. Findings come one by one, `report` when all are there.
    """

    def __init__(self, path: Path, *, changed: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.model: str | None = None
        self.max_length = 1024
        self.state: State = "none"
        self.progress = Progress("", 0.0, 0.0)
        self.findings: tuple[Finding, ...] = ()
        """What was found so far, the gravest first."""
        self.report: Report | None = None
        self.error: WorkbenchError | None = None
        self.version = 0
        self.edits = 0
        """How often the data set was changed since the checks began."""
        self._changed = changed
        self._run: _Run | None = None
        self._told = 0.0
        self._by_id: Mapping[str, tuple[str, ...]] = {}
        self._severities: Mapping[str, Severity] = {}
        self._edited: set[str] = set()

    # Running

    @property
    def running(self) -> bool:
        """Whether the checks run."""
        return self.state == "running"

    @property
    def stale(self) -> bool:
        """Whether the data set was changed since the checks began."""
        return self.edits > 0 and self.state != "none"

    def start(self, model: str | None = None, max_length: int = 1024) -> None:
        """Checks the data set as it is now, anew where checks run already; with a `model` also what it makes of it."""
        self._end()
        self.model, self.max_length = model, max_length
        self.state, self.progress, self.error, self.report = "running", Progress("", 0.0, 0.0), None, None
        self.findings, self._by_id, self._severities = (), {}, {}
        self.edits, self._edited = 0, set()
        run = self._run = _Run(model, max_length)
        # A daemon: should the program end without `close`, the process ends as soon as nobody reads what it says.
        run.thread = threading.Thread(target=self._check, args=(run,), name="checks", daemon=True)
        run.thread.start()
        self.version += 1

    def cancel(self) -> None:
        """Stops the checks; what was found stays."""
        if self.running:
            self._end()
            self.state = "cancelled"
            self._tell(at_once=True)

    def close(self) -> None:
        """Stops the checks and waits, some hundredths of a second, until their process is gone."""
        run = self._run
        self._end()
        if self.running:
            self.state = "cancelled"
        if run is not None and run.thread is not None:
            run.thread.join(_LONGEST_WAIT)

    def touch(self, ids: Iterable[str] = (), *, texts: bool = True) -> None:
        """Takes note of an edit (of the pairs `ids`, where known); `texts`: of more than status, tags and such.

        Findings in these pairs may no longer hold, and their tokens are not known any more.
        """
        if self.state != "none":
            self.edits += 1
            self.version += 1
            if texts:
                self._edited.update(ids)

    # What is known of a pair

    def by_id(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the checks that found something in a pair, the gravest first, by its id."""
        return self._by_id

    def sign(self, identity: str) -> str:
        """What was found in a pair, short enough for a table: "▲ near-duplicate +1"; empty for nothing."""
        names = self._by_id.get(identity)
        if not names:
            return ""
        sign = EDITED if identity in self._edited else SIGNS[self._severities[names[0]]]
        return f"{sign} {names[0]}" + (f" +{len(names) - 1}" if len(names) > 1 else "")

    def tokens_of(self, identity: str) -> tuple[int, int] | None:
        """The tokens of a pair's chosen and rejected for the model of the last checks; None where not known."""
        tokens = self.report.tokens if self.report is not None else None
        return None if tokens is None or identity in self._edited else tokens.get(identity)

    @property
    def summary(self) -> str:
        """How the checks stand, in a few words: for a corner of the screen."""
        match self.state:
            case "running":
                return f"checking {self.progress.overall:.0%}"
            case "failed":
                return "▲ checks failed"
            case "none":
                return ""
        if not self.findings:
            return "✔ nothing found" if self.state == "done" else ""
        count = len(self.findings)
        return f"{SIGNS[self.findings[0].severity]} {count} finding{'s' if count > 1 else ''}"

    # In the thread of the checks

    def _check(self, run: _Run) -> None:
        from workbench.child import GivenUpError
        from workbench.pairs.checks.background import check_file

        def progress(check: str, share: float) -> None:
            if self._run is run:
                overall = max(self.progress.overall, _overall(check, share, counted=run.model is not None))
                self.progress = Progress(check, share, overall)
                self._tell()

        def found(finding: Finding) -> None:
            if self._run is run:
                self._add((finding,))
                self._tell()

        report, error = None, None
        try:
            report = check_file(
                self.path,
                model=run.model,
                max_length=run.max_length,
                progress=progress,
                cancelled=run.cancelled.is_set,
                found=found,
            )
        except GivenUpError:
            return
        except WorkbenchError as told:
            error = told
        except Exception as told:
            error = WorkbenchError.unforeseen("The checks", told)
        if self._run is run:
            self.report, self.error = report, error
            self._run, self.state = None, "done" if report is not None else "failed"
            self._tell(at_once=True)

    def _add(self, new: tuple[Finding, ...]) -> None:
        findings = sorted(
            (*self.findings, *new), key=lambda each: (SEVERITIES.index(each.severity), _ORDER[each.check])
        )
        self._severities = {finding.check: finding.severity for finding in findings}
        # Made anew, not changed: another thread may be reading it.
        by_id: dict[str, tuple[str, ...]] = dict(self._by_id)
        place = {finding.check: at for at, finding in enumerate(findings)}
        for finding in new:
            alone = (finding.check,)
            for identity in finding.ids:
                names = by_id.get(identity)
                by_id[identity] = alone if names is None else tuple(sorted({*names, *alone}, key=place.__getitem__))
        self.findings, self._by_id = tuple(findings), by_id

    def _end(self) -> None:
        if self._run is not None:
            self._run.cancelled.set()
            self._run = None

    def _tell(self, *, at_once: bool = False) -> None:
        self.version += 1
        now = time.monotonic()
        if at_once or now - self._told >= _EVERY:
            self._told = now
            self._changed()


def _overall(check: str, share: float, *, counted: bool) -> float:
    """How much is done when a check is done to a `share`, from 0 to 1; `counted`: tokens are counted first."""
    steps = {"reading": _READING, **({"tokens": _COUNTING} if counted else {}), **_SHARES}
    if check not in steps:
        return 0.0
    names = list(steps)
    done = sum(steps[name] for name in names[: names.index(check)]) + share * steps[check]
    return min(done / sum(steps.values()), 1.0)
