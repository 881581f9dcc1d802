"""The demo on a real model, on the command line: its weights fetched, and its runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.console import StatusLine, print_json, print_table, say
from workbench.evidence.measurements import Measurement
from workbench.figures import duration, share
from workbench.text import quoted

if TYPE_CHECKING:
    from workbench.evidence.document import Evidence
    from workbench.evidence.verdicts import Verdict
    from workbench.runs.folder import RunFolder
    from workbench.workspace import Workspace

_SIGNS = {True: "\u2714", False: "\u2718", None: "?"}


def fetch(model: str) -> str:
    """What to give `--model`, with the stages on stderr. Raises `WorkbenchError` where it cannot be had."""
    from workbench.demo.weights import find

    with StatusLine() as line:
        return find(model, line.stage)


def compare_runs(workspace: Workspace, evidence: Mapping[RunFolder, Evidence], *, as_json: bool) -> None:
    """The runs side by side: what each claim needs, what the base does, and what each run does."""
    if as_json:
        print_json({"workspace": str(workspace.root), "runs": [_run(*each) for each in evidence.items()]})
        return
    found = list(evidence.values())
    rows = [
        [
            verdict.name,
            verdict.fails,
            _before(found[-1], verdict),
            *(_after(one, verdict.name) for one in found),
        ]
        for verdict in found[-1].verdicts
    ]
    print_table(["claim", "fails when", "base", *(folder.id for folder in evidence)], rows, right=range(2, 3))
    say()
    for folder, one in evidence.items():
        state = folder.state()
        seconds = duration(state.seconds_to_end or 0)
        speed = state.mean_pairs_per_second or 0
        say(f"{folder.id}: trained in {seconds}, {speed:.1f} pairs a second; evaluated in {duration(one.seconds)}.")
        say(f"  workbench --workspace {quoted(workspace.root)} report {quoted(folder.id)}")


def _run(folder: RunFolder, evidence: Evidence) -> dict[str, Any]:
    from workbench.evidence.document import probe_rows

    state = folder.state()
    return {
        "run": folder.id,
        "train_seconds": state.seconds_to_end,
        "pairs_per_second": state.mean_pairs_per_second,
        "evaluate_seconds": evidence.seconds,
        "verdicts": [asdict(verdict) for verdict in evidence.verdicts],
        "probes": probe_rows(evidence.measurements),
    }


def _before(evidence: Evidence, verdict: Verdict) -> str:
    measurement = _measurement(evidence, verdict)
    return "" if measurement is None else share(measurement.change.before.value)


def _after(evidence: Evidence, name: str) -> str:
    verdict = next((each for each in evidence.verdicts if each.name == name), None)
    if verdict is None:
        return ""
    measurement = _measurement(evidence, verdict)
    after = "" if measurement is None else f" {share(measurement.change.after.value)}"
    return f"{_SIGNS[verdict.holds]}{after}"


def _measurement(evidence: Evidence, verdict: Verdict) -> Measurement | None:
    wanted = (verdict.kind, "", verdict.behaviour, verdict.measure)
    return next(
        (each for each in evidence.measurements if (each.kind, each.part, each.response, each.measure) == wanted), None
    )
