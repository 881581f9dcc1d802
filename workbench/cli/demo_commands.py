"""demo and evaluate: what a run did to the probabilities on prompts that it was never trained on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.context import Context, Json, note, print_json, print_table, workspace_of
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

        run(workspace, slow=options.slow, watch=folder.id)
        note(f"To come back: workbench --workspace {workspace.root}")
        return
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
                "verdicts": [verdict.to_json() for verdict in evidence.verdicts],
                "probes": probe_rows(evidence.measurements),
            }
        )
    else:
        _print_evidence(evidence)
        if pace.train_seconds is not None and pace.pairs_per_second is not None:
            print(f"\nTrained in {pace.train_seconds:.0f} s, {pace.pairs_per_second:.0f} pairs a second.")
    _exit(evidence)


def evaluate(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning or end of one.")],
    as_json: Json = False,
) -> None:
    """Measure a run against its base on the workspace's probes (pairs/probes/), and save evidence.json.

    Exit status: 1 where a verdict does not hold.
    """
    from workbench.runs.folder import RunFolder

    workspace = workspace_of(context)
    evidence = _evaluate(workspace, RunFolder(workspace.run_folder(run)))
    if as_json:
        print_json(evidence.to_json())
    else:
        _print_evidence(evidence)
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
    """Measures the run on the workspace's probes. Samples are counted for the embedded model, which has matchers."""
    from workbench.evidence.probes import digests, read_suites
    from workbench.evidence.settings import read_settings

    probes, settings = read_suites(workspace.probes), read_settings(workspace.settings)
    config = folder.record().config
    note(f"Evaluating {folder.id} on {len(probes)} probes")
    from workbench.engine.scorer_quiet import quiet_libraries

    quiet_libraries()
    from workbench.engine.evaluate import evaluate as measure
    from workbench.tiny.matchers import classify

    matcher = classify if config.model == "tiny" else None
    return measure(
        folder,
        probes,
        matcher,
        settings=settings,
        suites=digests(workspace.probes),
        progress=lambda text: note(f"  {text}"),
    )


def _print_evidence(evidence: Evidence) -> None:
    """Two tables: the probes before and after, and the verdicts."""
    from workbench.evidence.document import probe_rows
    from workbench.evidence.verdicts import told

    def measured(numbers: dict[str, Any] | None) -> list[str]:
        if numbers is None:
            return ["", "", ""]
        low, high = numbers["after"]["interval"]
        return [told(numbers["before"]["mean"]), told(numbers["after"]["mean"]), f"[{told(low)}, {told(high)}]"]

    probes = probe_rows(evidence.measurements)
    sampled = any(row["samples"] for row in probes)
    header = ["probes", "response", "P before", "after", "95% interval"]
    if sampled:
        header += ["samples before", "after", "95% interval"]
    rows = []
    for row in probes:
        cells = [f"{row['probes']} {row['kind']}", row["response"], *measured(row["probability"])]
        rows.append(cells + (measured(row["samples"]) if sampled else []))
    print_table(header, rows, right=range(2, len(header)))
    print()
    signs = {True: "\u2714 holds", False: "\u2718 does not hold", None: "? too few"}
    print_table(
        ["verdict", "claim", "found (needed)"],
        [[signs[verdict.holds], verdict.name, verdict.message] for verdict in evidence.verdicts],
    )


def _exit(evidence: Evidence) -> None:
    sys.stdout.flush()
    if not evidence.holds:
        raise typer.Exit(1)
