"""All that a report is made of, read from a run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.errors import WorkbenchError
from workbench.evidence.document import Evidence, read_evidence
from workbench.evidence.sample_labels import SampleLabel, read_labels
from workbench.pairs.checks.findings import ChecksReport
from workbench.pairs.checks.run import run_checks
from workbench.pairs.pair import Pair, from_row
from workbench.runs import labels
from workbench.runs.folder import Record, RunFolder
from workbench.runs.labels import Labels
from workbench.runs.process import status
from workbench.runs.state import RunState, Status


@dataclass(frozen=True, slots=True)
class Sources:
    """A run as its folder tells it. `evidence` is None before `evaluate`; `checks` are of the rows that it used.

    `unchecked` says why there are no checks.
    """

    run: str
    record: Record
    state: RunState
    status: Status
    labels: Labels
    evidence: Evidence | None
    sample_labels: Sequence[SampleLabel]
    checks: ChecksReport | None
    unchecked: str = ""


def gather(folder: RunFolder) -> Sources:
    """Reads the folder and checks the rows that the run used, which takes a while where there are very many.

    Raises `WorkbenchError` where run.toml or evidence.json cannot be read. Rows that cannot be are told in the report.
    """
    state = folder.state()
    checks, unchecked = None, ""
    try:
        checks = run_checks(_pairs(folder))
    except WorkbenchError as error:
        unchecked = f"{error.title}: {error.message}"
    return Sources(
        run=folder.id,
        record=folder.record(),
        state=state,
        status=status(folder, state),
        labels=labels.read(folder),
        evidence=read_evidence(folder.evidence) if folder.evidence.exists() else None,
        sample_labels=read_labels(folder.sample_labels),
        checks=checks,
        unchecked=unchecked,
    )


def _pairs(folder: RunFolder) -> list[Pair]:
    return [from_row(row, where=f"{folder.pairs.name}, line {line}") for line, row in enumerate(folder.rows(), 1)]
