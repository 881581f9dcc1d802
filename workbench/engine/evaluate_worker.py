"""Evaluates a run on the workspace's probes: for the command line, and in a process for the screens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.child import Parent, serve
from workbench.config import Quantization
from workbench.engine.libraries import quick_imports, quiet_libraries
from workbench.errors import WorkbenchError
from workbench.evidence.capabilities import TasksAsked, check_installed
from workbench.evidence.document import Evidence
from workbench.evidence.jobs import check, merged_model
from workbench.evidence.probes import HOW_TO_GET, digests, suites
from workbench.evidence.settings import read_plan
from workbench.runs.folder import RunFolder
from workbench.runs.lease import turn
from workbench.runs.trusting import require_own
from workbench.workspace import Workspace


def evaluate_run(
    workspace: Workspace,
    folder: RunFolder,
    progress: Callable[[str], None],
    quantization: Quantization | None = None,
    merged: Path | None = None,
    tasks: TasksAsked | None = None,
) -> Evidence:
    """Writes and returns the run's evidence, once the device is free. `progress` is told what is done next.

    The base is held as the run was trained, or with `quantization` so. `merged`: the folder of the run's merged model,
    which is measured beside them; `tasks` are lm-eval's. Without suites, the pairs that the run held out are measured.
    Raises `WorkbenchError` where there is nothing of these, the run has no adapter or gives no answers, or a model
    cannot be loaded.
    """
    require_own(folder)
    check(folder)
    if tasks:
        check_installed(tasks, folder.record().config.model, folder.adapter)
    if merged is not None:
        merged = merged_model(merged, folder)
    probes = [probe for suite in suites(workspace.probes).values() for probe in suite]
    if not probes and not tasks and not any(row.get("split") == "holdout" for row in folder.rows()):
        raise WorkbenchError(
            "Nothing to measure on",
            f"{workspace.probes} has no suite of probes, and {folder.id} held no pairs out.",
            f"{HOW_TO_GET[0].upper()}{HOW_TO_GET[1:]}. Pairs are held out by: workbench train --set holdout=0.1",
        )
    plan = read_plan(workspace.settings, workspace.probes, folder.record().config.model)
    sha256 = digests(workspace.probes)
    with turn(folder, progress):
        progress(f"reading {len(probes)} probes" if probes else "no suites: the held-out pairs alone are measured")
        # Torch comes after the waiting: who waits stays small.
        quiet_libraries()
        with quick_imports():
            from workbench.engine.scoring.evaluate import evaluate

        return evaluate(
            folder,
            probes,
            plan,
            suites=sha256,
            quantization=quantization,
            merged=merged,
            tasks=tasks,
            cache=workspace.scores,
            progress=progress,
        )


def work(request: Mapping[str, Any], parent: Parent) -> None:
    """Leaves evidence.json in the run's folder."""
    folder = RunFolder(Path(request["run"]))
    merged, tasks = request["merged"], request["tasks"]
    evaluate_run(
        Workspace.find(Path(request["workspace"])),
        folder,
        parent.progress,
        merged=Path(merged) if merged else None,
        tasks=TasksAsked(**tasks) if tasks else None,
    )


if __name__ == "__main__":
    serve(work)
