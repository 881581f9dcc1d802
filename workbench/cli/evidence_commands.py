"""demo, evaluate and report: what a run did to the probabilities on prompts that it was never trained on."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from workbench.cli.compare_columns import QuantizationOption
from workbench.cli.context import (
    RUN,
    Context,
    Json,
    Run,
    TrustRun,
    examples,
    folder_of,
    own_folder_of,
    path_given,
    workspace_of,
)
from workbench.console import note, print_json, say
from workbench.errors import WorkbenchError
from workbench.terminal import need_screens
from workbench.text import quoted

if TYPE_CHECKING:
    from workbench.config import Quantization
    from workbench.evidence.capabilities import TasksAsked
    from workbench.evidence.document import Evidence
    from workbench.runs.folder import RunFolder
    from workbench.workspace import Workspace

_STDOUT = "-"


class Format(StrEnum):
    """What a report is written as."""

    HTML = "html"
    MD = "md"


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command(epilog=examples("demo", "demo --headless", "demo --model SmolLM2 --headless --keep smol-demo"))(demo)
    asked = (
        f"evaluate {RUN}",
        f"evaluate {RUN} --against 1204-support-dpo",
        f"evaluate {RUN} --merged ~/models/polite",
        f"evaluate {RUN} --tasks arc_easy,hellaswag --limit 200",
    )
    app.command(epilog=examples(*asked))(evaluate)
    lines = (f"report {RUN}", f"report {RUN} --to audit.html", f"report {RUN} --to - --format md > comment.md")
    app.command(epilog=examples(*lines))(report)


def demo(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="tiny; SmolLM2 (real, 135 M parameters, 93 MB fetched once); or a folder with an instruct model.",
        ),
    ] = "tiny",
    headless: Annotated[bool, typer.Option("--headless", help="Without screens: train, measure, print.")] = False,
    both: Annotated[
        bool,
        typer.Option(
            "--both", help="On a real model: train a run that only looks good first, and set them side by side."
        ),
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="DIR", parser=path_given, help="The scratch workspace. Default: a new temporary folder."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """The whole loop on the embedded model or a real one: pairs, DPO, base beside aligned.

    On a real model it takes minutes. The run learns to refuse attacks on things that are in no pair, and still answers
    look-alikes; with --both, another one before it passes on held-out pairs, and says what the base says.
    Exit status with --headless or --json: 1 where a verdict on the last run does not hold.
    """
    options: Context = context.obj
    screens = not (headless or as_json)
    if screens:
        need_screens()
    if model == "tiny":
        from workbench.demo import embedded

        workspace = embedded.prepare(keep or options.given_workspace)
        note(f"The demo's workspace: {workspace.root}")
        folder = embedded.start(workspace)
        if screens:
            _show(options, workspace, folder)
        _wait_for(folder)
        _print_demo(workspace, folder, _evaluate(workspace, folder), as_json=as_json)
        return
    from workbench.cli.real_demo import compare_runs, fetch
    from workbench.demo import real

    source = fetch(model)
    workspace = real.prepare(keep or options.given_workspace)
    note(f"The demo's workspace: {workspace.root}")
    recipes = [recipe for recipe in real.RECIPES if recipe.preset or both]
    if screens:
        folders = [real.start(workspace, source, recipe) for recipe in recipes]
        _show(options, workspace, folders[0])
    evidence = {}
    for recipe in recipes:
        note(f"The run that {recipe.name}")
        folder = real.start(workspace, source, recipe)
        _wait_for(folder)
        evidence[folder] = _evaluate(workspace, folder)
    compare_runs(workspace, evidence, as_json=as_json)
    _exit(evidence[folder])


def _show(options: Context, workspace: Workspace, folder: RunFolder) -> NoReturn:
    """Opens the screens on the run, and ends as they do."""
    from workbench.tui.app import run

    status = run(workspace, slow=options.slow, watch=folder.id, debug=options.debug)
    note(f"To come back: workbench --workspace {quoted(workspace.root)}")
    raise typer.Exit(status)


def _print_demo(workspace: Workspace, folder: RunFolder, evidence: Evidence, *, as_json: bool) -> None:
    state = folder.state()
    seconds, speed = state.seconds_to_end, state.mean_pairs_per_second
    if as_json:
        from workbench.evidence.document import probe_rows

        print_json(
            {
                "workspace": str(workspace.root),
                "run": folder.id,
                "train_seconds": seconds,
                "pairs_per_second": speed,
                "verdicts": [asdict(verdict) for verdict in evidence.verdicts],
                "probes": probe_rows(evidence.measurements),
            }
        )
    else:
        from workbench.cli.evidence_tables import print_evidence

        print_evidence(evidence)
        if seconds is not None and speed is not None:
            say(f"\nTrained in {seconds:.0f} s, {speed:.0f} pairs a second.")
    _exit(evidence)


def evaluate(
    context: typer.Context,
    run: Run,
    against: Annotated[
        str | None, typer.Option(metavar="OTHER", help="Another run: say which is better, by how much and where.")
    ] = None,
    merged: Annotated[
        Path | None,
        typer.Option(
            "--merged", metavar="DIR", parser=path_given, help="The run's merged model: measured beside base and run."
        ),
    ] = None,
    quantization: QuantizationOption = None,
    tasks: Annotated[
        str | None,
        typer.Option(metavar="TASK,…", help="Tasks of lm-eval besides: what the run keeps of what the base can."),
    ] = None,
    task_folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=path_given, help="A folder with tasks of your own, as lm-eval has them."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Items of each task at most.", show_default=False)] = None,
    few_shots: Annotated[
        int | None,
        typer.Option(min=0, help="Solved examples before each item. Default: the task's.", show_default=False),
    ] = None,
    trust: TrustRun = False,
    as_json: Json = False,
) -> None:
    """Measure a run against its base on the workspace's probes and the pairs it held out, and save evidence.json.

    It waits while another run has the device; Ctrl-C gives up. A reward model gives no answers to measure.
    Behaviours and claims are data, in workbench.toml: docs/evidence.md has examples.
    Exit status: 1 where a verdict does not hold, of the run or of its merged model; with --against, where the other run
    is better.
    """
    from workbench.cli.evidence_tables import print_evidence

    workspace, folder = workspace_of(context), own_folder_of(context, run, trust=trust)
    if against is not None:
        if merged is not None:
            raise WorkbenchError("Two comparisons at once", "--against names a run, --merged a model.", "Give one.")
        _against(workspace, folder, own_folder_of(context, against, trust=trust), quantization, as_json=as_json)
        return
    asked = _tasks_asked(tasks, task_folder, limit, few_shots)
    evidence = _evaluate(workspace, folder, quantization, merged, asked)
    if as_json:
        print_json(evidence.to_json())
    else:
        print_evidence(evidence)
    _exit(evidence)


def _tasks_asked(tasks: str | None, folder: Path | None, limit: int | None, few_shots: int | None) -> TasksAsked | None:
    """The tasks that the options name. Raises `WorkbenchError` where they name none, but say how to ask."""
    from workbench.evidence.capabilities import TasksAsked, task_names

    names = task_names(tasks or "")
    if not names and (tasks is not None or folder is not None or limit is not None or few_shots is not None):
        raise WorkbenchError("Which tasks?", "--tasks names none.", "Example: --tasks arc_easy,hellaswag --limit 200")
    if folder is not None and not folder.is_dir():
        raise WorkbenchError("No such folder", f"{folder} is not a folder.", "Name the one that holds the tasks' YAML.")
    return TasksAsked(names, str(folder.resolve()) if folder else None, limit, few_shots) if names else None


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


def _evaluate(
    workspace: Workspace,
    folder: RunFolder,
    quantization: Quantization | None = None,
    merged: Path | None = None,
    tasks: TasksAsked | None = None,
) -> Evidence:
    from workbench.engine.evaluate_worker import evaluate_run

    trained = folder.record().config.quantization
    held = f" on {quantization} weights; it was trained on {trained}" if quantization not in (None, trained) else ""
    note(f"Evaluating {folder.id}{held}")
    return evaluate_run(workspace, folder, lambda text: note(f"  {text}"), quantization, merged, tasks)


def _against(
    workspace: Workspace, folder: RunFolder, other: RunFolder, quantization: Quantization | None, *, as_json: bool
) -> None:
    """Prints the comparison. Raises `Exit` with 1 where the other run is better."""
    from workbench.cli.evidence_tables import print_versus
    from workbench.evidence.versus import versus

    ours, theirs = (
        _known(workspace, run, quantization) or _evaluate(workspace, run, quantization) for run in (folder, other)
    )
    if ours.quantization != theirs.quantization:
        held = ", ".join(f"{each.run} on {each.quantization}" for each in (ours, theirs))
        note(f"Measured on differently held weights: {held}. Part of the difference may be that;")
        note("--quantization nf4, int8 or none measures both alike.")
    comparison = versus(ours, theirs, seed=ours.seed)
    if as_json:
        print_json(asdict(comparison))
    else:
        print_versus(comparison)
    if comparison.better == other.id:
        raise typer.Exit(1)


def _known(workspace: Workspace, folder: RunFolder, quantization: Quantization | None) -> Evidence | None:
    """The run's evidence, where it was made of this adapter, held so, with suites and settings as they are now."""
    from workbench.evidence.document import read_evidence
    from workbench.evidence.measurements import TASK
    from workbench.evidence.probes import digests
    from workbench.evidence.settings import read_plan
    from workbench.runs.folder import ADAPTER_WEIGHTS

    plan = read_plan(workspace.settings, workspace.probes, folder.record().config.model)
    weights = folder.adapter / ADAPTER_WEIGHTS
    try:
        evidence = read_evidence(folder.evidence)
        fresh = folder.evidence.stat().st_mtime_ns >= weights.stat().st_mtime_ns
    except (WorkbenchError, OSError):
        return None
    made_of = evidence.provenance
    behaviours = {name: behaviour.model_dump() for name, behaviour in plan.behaviours.items()}
    same = (
        made_of.suites == digests(workspace.probes)
        and made_of.settings == plan.settings.model_dump()
        and made_of.behaviours == behaviours
        and {name: claim for name, claim in evidence.claims.items() if claim.kind != TASK} == plan.claims
    )
    held = evidence.quantization == (quantization or folder.record().config.quantization)
    return evidence if fresh and same and held else None


def _exit(evidence: Evidence) -> None:
    if not evidence.holds:
        raise typer.Exit(1)


def report(
    context: typer.Context,
    run: Run,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="Default: report.html in the run's folder; - for stdout.")
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: what FILE ends in, else html. md is for pull requests.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a run's report: verdicts, numbers before and after, charts, single tokens, data, settings, limits.

    The page is one file that loads nothing and runs no script. What `evaluate` found is in it; before that, it tells
    of the training alone and says so. Exit status 0 once it is written, whatever the verdicts are.
    """
    from workbench.evidence.jobs import answers
    from workbench.evidence.report.write import render, save

    if json and to == _STDOUT:
        raise WorkbenchError("Two documents for stdout", "--json prints one, --to - another.", "Give one of them.")
    folder = folder_of(context, run)
    form = form or (Format.MD if to is not None and to.lower().endswith((".md", ".markdown")) else Format.HTML)
    written = render(folder, form.value)
    text, evidence = written.text, written.evidence
    if evidence is None and answers(folder):
        note(
            f"No evidence yet: the report tells of the training alone. For more: workbench evaluate {quoted(folder.id)}"
        )
    if to == _STDOUT:
        say(text, end="")
        return
    path = path_given(to) if to is not None else folder.report.with_suffix(f".{form}")
    save(written, path)
    if json:
        print_json(
            {
                "run": folder.id,
                "file": str(path.resolve()),
                "format": form.value,
                "bytes": len(text.encode()),
                "headline": written.headline,
                "verdicts": [asdict(verdict) for verdict in evidence.verdicts] if evidence else None,
            }
        )
    else:
        say(written.headline)
        say(f"{path} ({len(text.encode()) / 1e3:.0f} kB)")
