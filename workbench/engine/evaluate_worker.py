"""Evaluates a run on the workspace's probes: for the command line, and in a process for the screens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.child import Parent, serve
from workbench.config import Quantization
from workbench.engine.libraries import quick_imports, quiet_libraries
from workbench.evidence.document import Evidence
from workbench.evidence.jobs import check
from workbench.evidence.probes import digests, read_suites
from workbench.evidence.settings import read_plan
from workbench.runs.folder import RunFolder
from workbench.runs.lease import turn
from workbench.workspace import Workspace


def evaluate_run(
    workspace: Workspace,
    folder: RunFolder,
    progress: Callable[[str], None],
    quantization: Quantization | None = None,
) -> Evidence:
    """Writes and returns the run's evidence, once the device is free. `progress` is told what is done next.

    The base is held as the run was trained, or with `quantization` so. Raises `WorkbenchError` where there are no
    probes, the run has no adapter or gives no answers, or the model cannot be loaded.
    """
    check(folder)
    probes = read_suites(workspace.probes)
    plan = read_plan(workspace.settings, workspace.probes, folder.record().config.model)
    suites = digests(workspace.probes)
    with turn(folder, progress):
        progress(f"reading {len(probes)} probes")
        # Torch comes after the waiting: who waits stays small.
        quiet_libraries()
        with quick_imports():
            from workbench.engine.scoring.evaluate import evaluate

        return evaluate(folder, probes, plan, suites=suites, quantization=quantization, progress=progress)


def work(request: Mapping[str, Any], parent: Parent) -> None:
    """Leaves evidence.json in the run's folder."""
    folder = RunFolder(Path(request["run"]))
    evaluate_run(Workspace.find(Path(request["workspace"])), folder, parent.progress)


if __name__ == "__main__":
    serve(work)
