"""train, runs, show, logs: starting runs, and looking at them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.context import DASH, Json, Run, Watch, examples, folder_of, workspace_of
from workbench.cli.run_results import accompany, keys_of, number, print_result, result, summary, value_of
from workbench.cli.settings_help import TrainCommand
from workbench.console import note, print_json, print_table, say
from workbench.errors import WorkbenchError
from workbench.text import one_line, quoted
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.config import RunConfig
    from workbench.runs.folder import RunFolder
    from workbench.runs.labels import Labels
    from workbench.runs.preview import Learned, Preview
    from workbench.runs.state import RunState

_SHOWN = ("loss", "margin", "accuracy")


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command(cls=TrainCommand)(train)
    app.command(
        epilog=examples(
            "runs", "runs --sort eval.rewards/margins", "runs --sort loss --reverse --tag keep", "runs --json"
        )
    )(runs)
    app.command(epilog=examples("show 1506-support-tone-dpo", "show 2026-03-04-1506 --json"))(show)
    app.command(epilog=examples("logs 1506-support-tone-dpo --follow"))(logs)


def train(
    context: typer.Context,
    pairs: Annotated[str, typer.Option(metavar="NAME[,NAME…]", help="Data sets to train on.")],
    model: Annotated[
        str | None, typer.Option(metavar="M", help="A folder, a Hugging Face id, or tiny, the default.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="The method; see below. With --help: all about that one.")
    ] = None,
    preset: Annotated[str | None, typer.Option(metavar="P", help="Named settings; see below.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be given many times.")
    ] = None,
    wait: Watch = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Start nothing: say what it would use, take and need.")
    ] = False,
    json: Json = False,
) -> None:
    """Start a run in a worker of its own, which goes on when this command or the terminal ends.

    One run trains on a device at a time; a further one waits for its turn by itself.
    """
    from workbench.config import build_config
    from workbench.launch import launch

    options = {"pairs": pairs, "model": model, "method": method}
    values = {key: value for key, value in options.items() if value is not None}
    config = build_config(values, preset=preset, settings=settings or [])
    if dry:
        _dry_run(workspace_of(context), config, json=json)
        return
    folder = launch(workspace_of(context), config, lambda caution: note(f"Warning: {caution}"))
    note(f"Started {folder.id}")
    accompany(folder, wait=wait, json=json)


def runs(
    context: typer.Context,
    sort: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Highest first: a column, or a metric such as eval.rewards/margins."),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Archived runs too.")] = False,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="T", help="Only runs with this tag; may be given many times.")
    ] = None,
    json: Json = False,
) -> None:
    """List the runs, newest first. Metrics are those of the last step (train.…) and the last evaluation (eval.…)."""
    from workbench.runs.catalog import Catalog

    every = Catalog(workspace_of(context).runs).summaries()
    summaries = [
        summary(run)
        for run in every
        if (everything or not run.labels.archived) and set(tags or ()) <= set(run.labels.tags)
    ]
    if sort:
        summaries = _sorted(summaries, sort)
    if reverse:
        summaries.reverse()
    if json:
        print_json(summaries)
        return
    if not every:
        note("No runs yet. Start one: workbench train --pairs NAME")
    elif not summaries:
        note("No run matches. Archived ones are listed with --all.")
    else:
        _print_runs(summaries, sort if sort and sort not in _SHOWN else None)


def show(context: typer.Context, run: Run, json: Json = False) -> None:
    """Show what a run was asked, what it found before the first step, how it went, and what it saved."""
    from workbench.config import to_toml
    from workbench.runs import labels
    from workbench.runs.checkpoints import complete, name_in_run, torn
    from workbench.runs.lease import place
    from workbench.runs.process import status

    folder = folder_of(context, run)
    record, state, labelled = folder.record(), folder.state(), labels.read(folder)
    now = status(folder, state)
    whole = [name_in_run(path) for path in complete(folder)]
    broken = {name_in_run(path): wrong for path, wrong in torn(folder)}
    template = folder.chat_template
    if json:
        print_json(
            result(folder, state, now)
            | {
                **asdict(labelled),
                "place": place(folder),
                "own": folder.own,
                "created": record.created.isoformat(),
                "config": record.config.model_dump(mode="json"),
                "sources": dict(record.sources),
                "versions": dict(record.versions),
                "started": _facts(state),
                "warnings": [f"{each.title}: {each.message}" for each in state.warnings],
                "checkpoints": whole,
                "torn_checkpoints": broken,
                "samples": [_without(asdict(each), "time") for each in state.samples],
                "serve_command": _serve(folder),
                "chat_template": template.read_text("utf-8") if template.is_file() else None,
            }
        )
        return
    _print_labels(labelled)
    print_result(folder, state, now)
    if not folder.own:
        say(f"\nIt was not made here: workbench trust {quoted(folder.id)}")
    for warning in state.warnings:
        parts = [f"\nWarning at step {warning.step}: {warning.title}", warning.message, warning.remedy]
        say("\n  ".join(part for part in parts if part))
    _print_facts(state)
    if whole or broken:
        say("\nCheckpoints")
        for path in whole:
            say(f"  {path}")
        for path, wrong in broken.items():
            say(f"  {path} is skipped: it {wrong}")
    _print_samples(state)
    if (serve := _serve(folder)) is not None:
        say(f"\nTo serve it\n  {serve}")
    say("\nSettings")
    say(to_toml(record.config).rstrip())
    if template.is_file():
        say("\nChat template")
        say(template.read_text("utf-8").rstrip())


def logs(
    context: typer.Context,
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the worker ends.")] = False,
) -> None:
    """Print what a run's worker printed."""
    from workbench.cli.watch import follow_log

    follow_log(folder_of(context, run), follow=follow)


def _sorted(summaries: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Highest first; runs without such a value last, as they were."""
    with_value = [run for run in summaries if value_of(run, key) is not None]
    if not with_value:
        if not summaries:
            return []
        keys = ", ".join(keys_of(summaries))
        raise WorkbenchError(f"Nothing to sort by: {key!r}", "No run here has such a value.", f"There are: {keys}.")
    without = [run for run in summaries if value_of(run, key) is None]
    return sorted(with_value, key=lambda run: _orderly(value_of(run, key)), reverse=True) + without


def _orderly(value: Any) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (0.0, str(value))


def _print_runs(summaries: list[dict[str, Any]], extra: str | None) -> None:
    named = any(run["name"] or run["tags"] for run in summaries)
    rows = []
    for run in summaries:
        step = f"{run['step']}/{run['total_steps']}" if run["total_steps"] else DASH
        name = [" ".join([run["name"], *(f"#{tag}" for tag in run["tags"])]).strip()] if named else []
        more = [_cell(value_of(run, extra))] if extra else []
        numbers = [number(run[key]) for key in _SHOWN]
        status = f"{run['status']} {run['place']}" if run["place"] else run["status"]
        rows.append([run["id"], *name, status, run["method"] or "?", run["model"] or "?", step, *numbers, *more])
    header = [
        "run",
        *(["name"] if named else []),
        "status",
        "method",
        "model",
        "step",
        *_SHOWN,
        *([extra] if extra else []),
    ]
    print_table(header, rows, right=range(4 + named, len(header)))


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else DASH if value is None else str(value)


def _print_labels(labels: Labels) -> None:
    heading = " ".join([labels.name, *(f"#{tag}" for tag in labels.tags), *(["(archived)"] if labels.archived else [])])
    for text in (heading.strip(), labels.note):
        if text:
            say(text)


def _print_facts(state: RunState) -> None:
    facts = _facts(state)
    if facts:
        say("\nBefore the first step")
        for name, value in facts.items():
            if value != "":
                say(f"  {name.replace('_', ' '):<22}{value}")


def _print_samples(state: RunState) -> None:
    """The answers of the last step that has some."""
    latest = [sample for sample in state.samples if sample.step == state.samples[-1].step]
    if latest:
        say(f"\nAnswers at step {latest[0].step}")
    for sample in latest:
        for name, text in (("prompt", sample.prompt), ("base", sample.base), ("aligned", sample.aligned)):
            say(f"  {name:<9}{one_line(text, 110)}")


def _serve(folder: RunFolder) -> str | None:
    """The vLLM command line; None where there is no adapter that it could serve."""
    from workbench.runs.serving import serve_adapter

    try:
        return serve_adapter(folder)
    except WorkbenchError:
        return None


def _facts(state: RunState) -> dict[str, Any]:
    return _without(asdict(state.started), "time", "step") if state.started else {}


def _without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


def _dry_run(workspace: Workspace, config: RunConfig, *, json: bool) -> None:
    """Prints the preview of a run. Exit status 1 where it would not fit; raises `WorkbenchError` where it cannot be."""
    from workbench.launch import prepare, try_run
    from workbench.runs.preview import Doing, begin

    config, _ = prepare(workspace, config)
    preview = begin(workspace.runs, config)

    def hear(news: Learned) -> None:
        nonlocal preview
        if isinstance(news, Doing):
            note(f"{news.name} …")
        preview = preview.after(news)

    try_run(workspace, config, hear)
    trouble = preview.trouble
    if trouble is not None and not trouble.memory:
        raise WorkbenchError(trouble.title, trouble.message, trouble.hint)
    if json:
        print_json(_preview_document(preview))
    else:
        _print_preview(preview)
    if preview.fits is False:
        raise typer.Exit(1)


def _print_preview(preview: Preview) -> None:
    from workbench.config import to_toml
    from workbench.runs.preview import (
        disk_line,
        fit_lines,
        memory_rows,
        raw_line,
        rows_line,
        template_lines,
        time_line,
        tokens_line,
    )

    lines = [("rows", rows_line(preview)), ("tokens", tokens_line(preview)), ("time", time_line(preview))]
    for name, text in lines:
        if text:
            say(f"{name:<8}{text}")
    say(f"disk    {disk_line(preview)}\n")
    for warning in filter(None, (raw_line(preview), *template_lines(preview))):
        say(f"{warning}\n")
    rows = memory_rows(preview)
    if rows:
        print_table(["memory", ""], rows, right=[1])
        if any(amount.startswith("(") for _, amount in rows):
            say("In brackets: not at the same moment as the rest, so not added up.")
        say()
    for line in fit_lines(preview):
        say(line)
    for caution in preview.cautions:
        say(f"▲ {caution}")
    say(f"\nSettings\n{to_toml(preview.config).rstrip()}")


def _preview_document(preview: Preview) -> dict[str, Any]:
    """The preview for scripts. Bytes and seconds."""
    from workbench.config import to_toml

    estimate, machine = preview.estimate, preview.machine
    checkpoints, adapter = preview.disk
    return {
        "fits": preview.fits,
        "rows": asdict(preview.rows) if preview.rows else None,
        "counts": asdict(preview.counts) if preview.counts else None,
        "steps": preview.steps,
        "seconds": preview.seconds,
        "step_seconds": preview.step_seconds,
        "measured": asdict(preview.measured) if preview.measured else None,
        "unmeasured": asdict(preview.unmeasured) if preview.unmeasured else None,
        "memory": {
            "device": machine.device,
            "needed": preview.needed,
            "free": machine.free,
            "estimate": estimate.total if estimate else None,
            "fallbacks": preview.fallbacks,
            "plan": asdict(preview.plan) if preview.plan else None,
            "libraries": estimate.libraries if estimate else None,
            "parts": [asdict(part) for part in estimate.parts] if estimate else None,
            "unknown": preview.unknown,
        },
        "gpus": [asdict(gpu) for gpu in machine.gpus],
        "disk": {"checkpoints": checkpoints, "adapter": adapter, "free": machine.disk_free},
        "changes": preview.changes,
        "cautions": [asdict(caution) for caution in preview.cautions],
        "config": preview.config.model_dump(mode="json"),
        "toml": to_toml(preview.config),
    }
