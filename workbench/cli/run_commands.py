"""train, runs, show, logs, stop, delete: starting runs, and looking after them."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.context import Json, note, print_json, print_table, workspace_of
from workbench.config import PRESETS, RunConfig, build_config
from workbench.errors import WorkbenchError
from workbench.text import safe

if TYPE_CHECKING:
    from workbench.runs.folder import RunFolder
    from workbench.runs.state import RunState, Status

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning or end of one.")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command(epilog=_settings_help())(train)
    app.command()(runs)
    app.command()(show)
    app.command()(logs)
    app.command()(stop)
    app.command()(delete)


def train(
    context: typer.Context,
    pairs: Annotated[str, typer.Option(metavar="NAME[,NAME…]", help="Data sets to train on.")],
    model: Annotated[
        str | None, typer.Option(metavar="M", help="A folder, a Hugging Face id, or tiny, the default.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="The method; see the settings below.")] = None,
    preset: Annotated[str | None, typer.Option(metavar="P", help="Named settings; see below.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be given many times.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch until the run ends. Ctrl-C leaves it running.")] = False,
    json: Json = False,
) -> None:
    """Start a run in a worker of its own, which goes on when this command or the terminal ends."""
    from workbench.cli.watch import watch
    from workbench.launch import launch
    from workbench.runs.process import status

    given = {"pairs": pairs, "model": model, "method": method}
    values = {key: value for key, value in given.items() if value is not None}
    config = build_config(values, preset=preset, settings=settings or [])
    folder = launch(workspace_of(context), config)
    note(f"Started {folder.id}")
    if wait:
        watch(folder)
    else:
        note(f"It goes on by itself. Watch it: workbench logs {folder.id} --follow")
    state = folder.state()
    now = status(folder, state)
    if json:
        print_json(_result(folder, state, now))
    elif wait:
        _print_result(folder, state, now)
    if wait and now in ("failed", "lost"):
        raise typer.Exit(1)


def runs(context: typer.Context, json: Json = False) -> None:
    """List the runs, newest first."""
    from workbench.runs.catalog import Catalog

    found = Catalog(workspace_of(context).runs).summaries()
    if json:
        print_json([_summary(each.folder, each.config, each.state, each.status) for each in found])
        return
    if not found:
        note("No runs yet. Start one: workbench train --pairs NAME")
        return
    rows = []
    for each in found:
        one = _summary(each.folder, each.config, each.state, each.status)
        step = f"{one['step']}/{one['total_steps']}" if one["total_steps"] else "\u2013"
        numbers = [_number(one[name]) for name in ("loss", "margin", "accuracy")]
        rows.append([each.id, each.status, str(one["method"] or "?"), str(one["model"] or "?"), step, *numbers])
    header = ["run", "status", "method", "model", "step", "loss", "margin", "accuracy"]
    print_table(header, rows, right=[4, 5, 6, 7])


def show(context: typer.Context, run: Run, json: Json = False) -> None:
    """Show what a run was asked, what it found before the first step, and how it went."""
    from workbench.config import to_toml
    from workbench.runs.process import status

    folder = _folder(context, run)
    record, state = folder.record(), folder.state()
    now = status(folder, state)
    template = folder.adapter / "chat_template.jinja"
    if json:
        print_json(
            _result(folder, state, now)
            | {
                "created": record.created.isoformat(),
                "config": record.config.model_dump(mode="json"),
                "sources": dict(record.sources),
                "versions": dict(record.versions),
                "started": _facts(state),
                "warnings": [f"{each.title}: {each.message}" for each in state.warnings],
                "checkpoints": [each.path for each in state.checkpoints],
                "chat_template": template.read_text("utf-8") if template.is_file() else None,
            }
        )
        return
    _print_result(folder, state, now)
    for warning in state.warnings:
        print(safe(f"\nWarning: {warning.title}\n  {warning.message}"))
    facts = _facts(state)
    if facts:
        print("\nBefore the first step")
        for name, value in facts.items():
            print(safe(f"  {name.replace('_', ' '):<22}{value}"))
    print("\nSettings")
    print(safe(to_toml(record.config)).rstrip())
    if template.is_file():
        print("\nChat template")
        print(safe(template.read_text("utf-8")).rstrip())


def logs(
    context: typer.Context,
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the worker ends.")] = False,
) -> None:
    """Print what a run's worker printed."""
    from workbench.cli.watch import follow_log

    folder = _folder(context, run)
    follow_log(folder, follow=follow)


def stop(
    context: typer.Context,
    run: Run,
    wait: Annotated[bool, typer.Option("--wait", help="Come back when it has ended.")] = False,
    json: Json = False,
) -> None:
    """Ask a run to end after the step it is at, with a checkpoint and the adapter saved."""
    from workbench.runs.process import alive, request_stop, status

    folder = _folder(context, run)
    request_stop(folder)
    note(f"{folder.id} stops after the step it is at.")
    while wait and alive(folder):
        time.sleep(0.2)
    state = folder.state()
    if json:
        print_json(_result(folder, state, status(folder, state)))


def delete(
    context: typer.Context,
    run: Run,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run with its adapter and checkpoints. A running one is refused."""
    from workbench.runs.process import alive

    folder = _folder(context, run)
    if alive(folder):
        raise WorkbenchError("The run is running", f"{folder.id} has a worker.", f"First: workbench stop {folder.id}")
    if not yes and not typer.confirm(f"Delete {safe(folder.id)} with its adapter and checkpoints?", err=True):
        raise typer.Exit(1)
    try:
        shutil.rmtree(folder.path)
    except OSError as error:
        raise WorkbenchError("The run could not be deleted", str(error), "Check the folder's permissions.") from error
    note(f"Deleted {folder.id}")


def _folder(context: typer.Context, run: str) -> RunFolder:
    from workbench.runs.folder import RunFolder

    return RunFolder(workspace_of(context).run_folder(run))


def _settings_help() -> str:
    """Every setting with its default, and every preset, for `train --help`."""
    lines = ["\b", "Settings (--set KEY=VALUE):"]
    for name, field in RunConfig.model_fields.items():
        if name == "pairs":
            continue
        default = field.get_default(call_default_factory=True)
        shown = ",".join(str(each) for each in default) if isinstance(default, list) else str(default)
        lines += [f"  {name} = {shown}", f"      {field.description}"]
    lines += ["", "\b", "Presets:"]
    for name, preset in PRESETS.items():
        values = " ".join(f"{key}={value}" for key, value in preset.values.items())
        lines += [f"  {name}", f"      {preset.summary}", *([f"      {values}"] if values else [])]
    return "\n".join(lines)


def _result(folder: RunFolder, state: RunState, status: Status) -> dict[str, Any]:
    """What `train --json` prints; metrics are those of the last step and the last evaluation."""
    from workbench.runs.events import Failed, Finished, Stopped
    from workbench.runs.process import cause_of_loss

    ended = state.end if isinstance(state.end, Finished | Stopped) else None
    result: dict[str, Any] = {
        "id": folder.id,
        "status": status,
        "steps": state.step,
        "pairs_per_second": _mean_speed(state),
        "peak_memory_bytes": ended.peak_memory_bytes if ended else None,
        "seconds": ended.seconds if ended else None,
        "changed": ended.changed if ended else None,
        "train": _finite(state.steps[-1].metrics) if state.steps else {},
        "eval": _finite(state.evals[-1].metrics) if state.evals else {},
        "eval_before": _finite(state.evals[0].metrics) if state.evals else {},
    }
    if isinstance(state.end, Failed):
        result["error"] = {"title": state.end.title, "message": state.end.message, "hint": state.end.hint}
    elif status == "lost":
        result["error"] = {"title": "The worker is lost", "message": cause_of_loss(folder), "hint": ""}
    return result


def _print_result(folder: RunFolder, state: RunState, status: Status) -> None:
    from workbench.runs.process import last_words

    result = _result(folder, state, status)
    print(safe(f"{folder.id}: {status} at step {state.step} of {state.total_steps or '?'}"))
    error = result.get("error")
    if error:
        print(safe("\n".join(f"  {part}" for part in error.values() if part)))
        for line in last_words(folder) if status == "lost" else ():
            print(safe(f"  | {line}"))
    if result["eval"]:
        names = ["loss", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected"]
        before, after = result["eval_before"], result["eval"]
        rows = [[name, _number(before.get(name)), _number(after.get(name))] for name in names]
        print_table(["held-out pairs", "before", "after"], rows, right=[1, 2])
    speed, memory = result["pairs_per_second"], result["peak_memory_bytes"]
    if speed and memory:
        print(f"{speed:.2f} pairs/s, {memory / 1e9:.2f} GB at most, adapter: {folder.adapter}")


def _summary(folder: RunFolder, config: RunConfig | None, state: RunState, status: Status) -> dict[str, Any]:
    latest = _finite(state.steps[-1].metrics) if state.steps else {}
    return {
        "id": folder.id,
        "status": status,
        "method": config.method if config else None,
        "model": Path(config.model).name if config else None,
        "pairs": config.pairs if config else [],
        "step": state.step,
        "total_steps": state.total_steps,
        "loss": latest.get("loss"),
        "margin": latest.get("rewards/margins"),
        "accuracy": latest.get("rewards/accuracies"),
        "eval": _finite(state.evals[-1].metrics) if state.evals else {},
    }


def _facts(state: RunState) -> dict[str, Any]:
    from dataclasses import asdict

    if state.started is None:
        return {}
    return {name: value for name, value in asdict(state.started).items() if name not in ("time", "step")}


def _mean_speed(state: RunState) -> float | None:
    """Pairs a second over the whole run: all steps have as many pairs, but for the last of an epoch."""
    times = [1 / each.pairs_per_second for each in state.steps if each.pairs_per_second > 0]
    return len(times) / sum(times) if times else None


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: null stands for every number that is none."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _number(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.4f}"
