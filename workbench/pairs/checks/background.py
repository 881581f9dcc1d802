"""Checks a data set in a process of its own, so that neither keys nor the memory of the screen feel it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from workbench import child
from workbench.chat_templates import OWN_RENDERING, Rendering
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.checks.findings import CheckFinding, ChecksReport, OnProgress, Severity, TokenLengths, checks_by_id

SIGNS: dict[Severity, str] = {"error": "✘", "warning": "▲", "note": "·"}
"""A sign for each severity, one terminal cell wide."""
EDITED = "↻"
"""The sign of a finding in a pair that was edited since."""

_CHANGES_EVERY, _PROGRESS_EVERY = 0.2, 0.1
"""Seconds between two calls of `changed`, and between two messages about the progress of one check."""
_LONGEST_WAIT = 2.0
_SHARES = {
    "length-bias": 4,
    "empty": 1,
    "identical": 3,
    "roles": 1,
    "turn-marker": 4,
    "duplicate": 2,
    "contradiction": 5,
    "repeated-answer": 1,
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


@dataclass(frozen=True, slots=True)
class ChecksProgress:
    """The check that runs, and how much of all checks is done, from 0 to 1."""

    check: str = ""
    overall: float = 0.0


class PairChecks:
    """Runs the checks of a data set in a process of its own and holds what they found.

    All but `touch` is to be called from one thread. `changed` is called in another one, at most five times a second,
    when there is something new; `version` has then grown. Findings come one by one; in the end there is a `report`, an
    `error`, or, where the checks were cancelled, neither.
    """

    def __init__(self, path: Path, *, changed: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.model: str | None = None
        self.max_length = 1024
        self.rendering = OWN_RENDERING
        self.begun = False
        """Whether the checks were ever started."""
        self.progress = ChecksProgress()
        self.findings: tuple[CheckFinding, ...] = ()
        """What was found so far, the gravest first."""
        self.report: ChecksReport | None = None
        self.error: WorkbenchError | None = None
        self.version = 0
        self.edits = 0
        """How often the data set was changed since the checks began."""
        self._changed = changed
        self._thread: threading.Thread | None = None
        self._cancelled: threading.Event | None = None
        """Ends the checks that run; None where none do."""
        self._called = 0.0
        """When `changed` was called last."""
        self._by_id: Mapping[str, Sequence[str]] = {}
        self._edited: set[str] = set()

    # Running

    @property
    def running(self) -> bool:
        """Whether the checks run."""
        return self._cancelled is not None

    @property
    def stale(self) -> bool:
        """Whether the data set was changed since the checks began."""
        return self.edits > 0

    def start(self, model: str | None = None, max_length: int = 1024, rendering: Rendering = OWN_RENDERING) -> None:
        """Checks the data set as it is now, anew where checks run already; with a `model` also what it makes of it."""
        self._end()
        self.begun, self.model, self.max_length, self.rendering = True, model, max_length, rendering
        self.progress, self.error, self.report = ChecksProgress(), None, None
        self.findings, self._by_id = (), {}
        self.edits, self._edited = 0, set()
        self._cancelled = threading.Event()
        # A daemon: should the program end without `close`, the process ends as soon as nobody reads what it says.
        self._thread = threading.Thread(
            target=self._check, args=(self._cancelled, model, max_length, rendering), name="checks", daemon=True
        )
        self._thread.start()
        self.version += 1

    def cancel(self) -> None:
        """Stops the checks; what was found stays."""
        if self.running:
            self._end()
            self._tell(at_once=True)

    def close(self) -> None:
        """Stops the checks and waits, some hundredths of a second, until their process is gone."""
        self._end()
        if self._thread is not None:
            self._thread.join(_LONGEST_WAIT)

    def touch(self, ids: Iterable[str] = (), *, texts: bool = True) -> None:
        """Takes note of an edit (of the pairs `ids`, where known); `texts`: of more than status, tags and such.

        Findings in these pairs may no longer hold, and their tokens are not known any more.
        """
        if self.begun:
            self.edits += 1
            self.version += 1
            if texts:
                self._edited.update(ids)

    # What is known of a pair

    def by_id(self) -> Mapping[str, Sequence[str]]:
        """The names of the checks that found something in a pair, the gravest first, by its id."""
        return self._by_id

    def sign(self, identity: str) -> str:
        """What was found in a pair, short enough for a table: "▲ near-duplicate +1"; empty for nothing."""
        names = self._by_id.get(identity)
        if not names:
            return ""
        gravest = next(finding for finding in self.findings if finding.check == names[0])
        sign = EDITED if identity in self._edited else SIGNS[gravest.severity]
        return f"{sign} {names[0]}" + (f" +{len(names) - 1}" if len(names) > 1 else "")

    def tokens_of(self, identity: str) -> tuple[int, int] | None:
        """The tokens of a pair's chosen and rejected for the model of the last checks; None where not known."""
        tokens = self.report.tokens if self.report is not None else None
        return None if tokens is None or identity in self._edited else tokens.get(identity)

    @property
    def summary(self) -> str:
        """How the checks stand, in a few words: for a corner of the screen."""
        if self.running:
            return f"checking {self.progress.overall:.0%}"
        if self.error is not None:
            return "▲ checks failed"
        if not self.findings:
            return "✔ nothing found" if self.report is not None else ""
        return f"{SIGNS[self.findings[0].severity]} {plural(len(self.findings), 'finding')}"

    # In the thread of the checks

    def _check(self, cancelled: threading.Event, model: str | None, max_length: int, rendering: Rendering) -> None:
        def on_progress(check: str, share: float) -> None:
            if not cancelled.is_set():
                overall = _overall(check, share, counted=model is not None)
                self.progress = ChecksProgress(check, max(self.progress.overall, overall))
                self._tell()

        def on_finding(finding: CheckFinding) -> None:
            if not cancelled.is_set():
                # RankedPairs anew, not changed: another thread may be reading them.
                findings = tuple(sorted((*self.findings, finding), key=lambda finding: finding.gravity))
                self.findings, self._by_id = findings, checks_by_id(findings)
                self._tell()

        report, error = None, None
        try:
            report = check_file(
                self.path,
                model=model,
                max_length=max_length,
                rendering=rendering,
                on_progress=on_progress,
                on_finding=on_finding,
                cancelled=cancelled.is_set,
            )
        except child.GivenUpError:
            return
        except WorkbenchError as foreseen:
            error = foreseen
        except Exception as unforeseen:
            error = WorkbenchError.unforeseen("The checks", unforeseen)
        if not cancelled.is_set():
            self.report, self.error, self._cancelled = report, error, None
            self._tell(at_once=True)

    def _end(self) -> None:
        if self._cancelled is not None:
            self._cancelled.set()
            self._cancelled = None

    def _tell(self, *, at_once: bool = False) -> None:
        self.version += 1
        now = time.monotonic()
        if at_once or now - self._called >= _CHANGES_EVERY:
            self._called = now
            self._changed()


def _overall(check: str, share: float, *, counted: bool) -> float:
    """How much is done when a check is done to a `share`, from 0 to 1; `counted`: tokens are counted first."""
    steps = {"reading": _READING, **({"tokens": _COUNTING} if counted else {}), **_SHARES}
    if check not in steps:
        return 0.0
    names = list(steps)
    done = sum(steps[name] for name in names[: names.index(check)]) + share * steps[check]
    return min(done / sum(steps.values()), 1.0)


def check_file(
    path: Path,
    *,
    model: str | None = None,
    max_length: int = 1024,
    rendering: Rendering = OWN_RENDERING,
    on_progress: OnProgress = lambda *_: None,
    on_finding: Callable[[CheckFinding], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> ChecksReport:
    """What `check_rows` says of a data set as it is on disk, acknowledged edits included; blocks: call it in a thread.

    `on_progress` and `on_finding` are called from that thread. Raises `child.GivenUpError` within a moment after
    `cancelled` says so, and `WorkbenchError` where the data set or the model cannot be read.
    """
    findings: dict[str, CheckFinding] = {}

    def hear(message: child.Progress | child.Part) -> None:
        if isinstance(message, child.Part):
            finding = CheckFinding.from_fields(message.value)
            findings[finding.check] = finding
            on_finding(finding)
        else:
            on_progress(message.text, message.share or 0.0)

    request = {
        "path": str(path.resolve()),
        "model": model,
        "max_length": max_length,
        "rendering": {"chat_template": rendering.chat_template, "template": dict(rendering.template)},
    }
    # It has nothing to clean up, and may be deep in a library.
    command, name = child.python(__name__), f"The check of {path.name}"
    report = child.run(command, request, hear, name=name, cancelled=cancelled, grace=0)
    report["findings"] = tuple(findings[name] for name in report["findings"])
    report["tokens"] = report["tokens"] and TokenLengths.from_json(report["tokens"])
    return ChecksReport(**report)


def _check(request: Mapping[str, Any], parent: child.Parent) -> dict[str, Any]:
    """In the child: a `Part` for each finding as soon as it is there; then the report with their names alone."""
    from workbench.pairs.checks.run import check_rows
    from workbench.pairs.store import load_rows

    last = ("", 0.0)

    def on_progress(check: str, share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if check != last[0] or now - last[1] > _PROGRESS_EVERY:
            last = check, now
            parent.progress(check, share)

    report = check_rows(
        load_rows(Path(request["path"])),
        model=request["model"],
        max_length=request["max_length"],
        rendering=Rendering(**request["rendering"]),
        on_progress=on_progress,
        on_finding=lambda finding: parent.part(_shallow(finding)),
    )
    lengths = None if report.tokens is None else report.tokens.to_json()
    return {**_shallow(report), "findings": [finding.check for finding in report.findings], "tokens": lengths}


def _shallow(value: CheckFinding | ChecksReport) -> dict[str, Any]:
    """The fields, for JSON; `asdict` would copy every id."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


if __name__ == "__main__":
    child.serve(_check)
