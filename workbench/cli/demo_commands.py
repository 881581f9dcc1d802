"""demo and evaluate: what a run did to the probabilities on prompts that it was never trained on."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.context import Context, Json, note, print_json, workspace_of
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.evidence.document import Evidence
    from workbench.runs.folder import RunFolder
    from workbench.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command()(demo)
    app.command()(evaluate)


def demo(
    context: typer.Context,
    headless: Annotated[bool, typer.Option("--headless", help="Without screens: train, measure, print.")] = False,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="The scratch workspace. Default: a new temporary folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """The whole loop on the embedded model: pairs, a DPO run, base beside aligned.

    Exit status with --headless or --json: 1 where a verdict does not hold.
    """
    from workbench import demo as story

    options: Context = context.obj
    workspace = story.prepare(keep or options.given_workspace)
    note(f"The demo's workspace: {workspace.root}")
    folder = story.start(workspace)
    if not (headless or as_json):
        from workbench.tui.app import run

        status = run(workspace, slow=options.slow, watch=folder.id, debug=options.debug)
        note(f"To come back: workbench --workspace {workspace.root}")
        raise typer.Exit(status)
    _wait_for(folder)
    evidence = _evaluate(workspace, folder)
    pace = story.pace(folder)
    if as_json:
        from workbench.evidence.document import probe_rows

        print_json(
            {
                "workspace": str(workspace.root),
                "run": folder.id,
                "train_seconds": pace.train_seconds,
                "pairs_per_second": pace.pairs_per_second,
                "verdicts": [asdict(verdict) for verdict in evidence.verdicts],
                "probes": probe_rows(evidence.measurements),
            }
        )
    else:
        from workbench.cli.evidence_tables import print_evidence

        print_evidence(evidence)
        if pace.train_seconds is not None and pace.pairs_per_second is not None:
            print(f"\nTrained in {pace.train_seconds:.0f} s, {pace.pairs_per_second:.0f} pairs a second.")
    _exit(evidence)


def evaluate(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning or end of one.")],
    against: Annotated[
        str | None, typer.Option(metavar="OTHER", help="Another run: say which is better, by how much and where.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a run against its base on the workspace's probes and the pairs it held out, and save evidence.json.

    It waits while another run has the device; Ctrl-C gives up. A reward model gives no answers to measure.
    Thresholds are in workbench.toml, section [evidence]. Exit status: 1 where a verdict does not hold; with --against,
    where the other run is better.
    """
    from workbench.cli.evidence_tables import print_evidence
    from workbench.runs.folder import RunFolder

    workspace = workspace_of(context)
    folder = RunFolder(workspace.run_folder(run))
    if against is not None:
        _against(workspace, folder, RunFolder(workspace.run_folder(against)), as_json=as_json)
        return
    evidence = _evaluate(workspace, folder)
    if as_json:
        print_json(evidence.to_json())
    else:
        print_evidence(evidence)
    _exit(evidence)


def _wait_for(folder: RunFolder) -> None:
    """Shows the run's progress until it ends. Raises `WorkbenchError` where it does not end well."""
    from workbench.cli.watch import watch
    from workbench.runs.events import Failed
    from workbench.runs.process import cause_of_loss, last_words, status

    state = watch(folder)
    now = status(folder, state)
    if now == "finished":
        return
    if isinstance(state.end, Failed):
        raise WorkbenchError(state.end.title, state.end.message, state.end.hint)
    cause = cause_of_loss(folder) if now == "lost" else f"Its status is {now}."
    raise WorkbenchError("The run did not finish", "\n".join([cause, *last_words(folder)]), f"Its log: {folder.log}")


def _evaluate(workspace: Workspace, folder: RunFolder) -> Evidence:
    from workbench.engine.evaluate_worker import evaluate_run

    note(f"Evaluating {folder.id}")
    return evaluate_run(workspace, folder, lambda text: note(f"  {text}"))


def _against(workspace: Workspace, folder: RunFolder, other: RunFolder, *, as_json: bool) -> None:
    """Prints the comparison. Raises `Exit` with 1 where the other run is better."""
    from workbench.cli.evidence_tables import print_versus
    from workbench.evidence.versus import versus

    ours, theirs = (_known(workspace, each) or _evaluate(workspace, each) for each in (folder, other))
    found = versus(ours, theirs, seed=ours.seed)
    if as_json:
        print_json(asdict(found))
    else:
        print_versus(found)
    sys.stdout.flush()
    if found.better == other.id:
        raise typer.Exit(1)


def _known(workspace: Workspace, folder: RunFolder) -> Evidence | None:
    """The run's evidence, where it was made of this adapter with the suites and settings as they are now."""
    from workbench.evidence.document import read_evidence
    from workbench.evidence.probes import digests
    from workbench.evidence.settings import read_settings
    from workbench.runs.folder import ADAPTER_WEIGHTS

    settings = read_settings(workspace.settings)
    weights = folder.adapter / ADAPTER_WEIGHTS
    try:
        found = read_evidence(folder.evidence)
        fresh = folder.evidence.stat().st_mtime_ns >= weights.stat().st_mtime_ns
    except (WorkbenchError, OSError):
        return None
    same = found.provenance.suites == digests(workspace.probes) and found.provenance.settings == settings.model_dump()
    return found if fresh and same else None


def _exit(evidence: Evidence) -> None:
    sys.stdout.flush()
    if not evidence.holds:
        raise typer.Exit(1)
