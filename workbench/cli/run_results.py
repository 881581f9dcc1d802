"""What the commands say of a run: as JSON for scripts, as text for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from workbench.cli.context import DASH
from workbench.console import note, print_json, print_table, say
from workbench.text import quoted

if TYPE_CHECKING:
    from workbench.runs import catalog
    from workbench.runs.folder import RunFolder
    from workbench.runs.state import RunState, Status


def accompany(folder: RunFolder, *, wait: bool, json: bool) -> None:
    """After a worker was started: watches it where asked to, and prints what came of it. Exits 1 where it failed."""
    from workbench.cli.watch import watch
    from workbench.runs.process import status

    _tell_of_queue(folder)
    if wait:
        watch(folder)
    else:
        note(f"It goes on by itself. Watch it: workbench logs {quoted(folder.id)} --follow")
    state = folder.state()
    now = status(folder, state)
    if json:
        print_json(result(folder, state, now))
    elif wait:
        print_result(folder, state, now)
    if wait and now in ("failed", "lost"):
        raise typer.Exit(1)


def result(folder: RunFolder, state: RunState, status: Status) -> dict[str, Any]:
    """What `train --json` prints; metrics are those of the last step and the last evaluation."""
    from workbench.runs.events import Failed, Finished, Killed, Stopped
    from workbench.runs.process import cause_of_loss

    ended = state.end if isinstance(state.end, Finished | Stopped) else None
    document: dict[str, Any] = {
        "id": folder.id,
        "status": status,
        "steps": state.step,
        "pairs_per_second": state.mean_pairs_per_second,
        "peak_memory_bytes": ended.peak_memory_bytes if ended else None,
        "seconds": ended.seconds if ended else None,
        "changed": ended.changed if ended else None,
        "train": finite(state.steps[-1].metrics) if state.steps else {},
        "eval": finite(state.evals[-1].metrics) if state.evals else {},
        "eval_before": finite(state.evals[0].metrics) if state.evals else {},
    }
    if status == "lost":
        again = "" if state.status == "finished" else f"Start it again: workbench resume {quoted(folder.id)}"
        document["error"] = {"title": "The worker is lost", "message": cause_of_loss(folder), "hint": again}
    elif isinstance(state.end, Failed):
        document["error"] = {"title": state.end.title, "message": state.end.message, "hint": state.end.hint}
    elif isinstance(state.end, Killed):
        document["error"] = {"title": "The worker was ended by force", "message": state.end.message, "hint": ""}
    return document


def print_result(folder: RunFolder, state: RunState, status: Status) -> None:
    """`result` for a person."""
    from workbench.runs.process import last_words

    document = result(folder, state, status)
    say(f"{folder.id}: {status} at step {state.step} of {state.total_steps or '?'}")
    error = document.get("error")
    if error:
        say("\n".join(f"  {part}" for part in error.values() if part))
        for line in last_words(folder) if status == "lost" else ():
            say(f"  | {line}")
    if document["eval"]:
        from workbench.runs.quantities import QUANTITIES, quantities

        before, after = document["eval_before"], document["eval"]
        names = [name for quantity in quantities(after) for name in QUANTITIES[quantity].metrics if name in after]
        rows = [[name, number(before.get(name)), number(after.get(name))] for name in names]
        print_table(["held-out pairs", "before", "after"], rows, right=[1, 2])
    speed, memory = document["pairs_per_second"], document["peak_memory_bytes"]
    if speed and memory:
        say(f"{speed:.2f} pairs/s, {memory / 1e9:.2f} GB at most, adapter: {folder.adapter}")


def summary(run: catalog.Run) -> dict[str, Any]:
    """What `runs --json` prints of a run."""
    from workbench.runs.quantities import quantity

    config, state, labels = run.config, run.state, run.labels
    latest = finite(state.steps[-1].metrics) if state.steps else {}
    return {
        "id": run.id,
        "status": run.status,
        "place": run.place,
        "name": labels.name,
        "note": labels.note,
        "tags": list(labels.tags),
        "archived": labels.archived,
        "created": run.created.isoformat() if run.created else None,
        "method": config.method if config else None,
        "model": Path(config.model).name if config else None,
        "pairs": config.pairs if config else [],
        "step": state.step,
        "total_steps": state.total_steps,
        "loss": latest.get("loss"),
        "margin": quantity(latest, "margin"),
        "accuracy": quantity(latest, "accuracy"),
        "reward": quantity(latest, "reward"),
        "train": latest,
        "eval": finite(state.evals[-1].metrics) if state.evals else {},
    }


def value_of(run: dict[str, Any], key: str) -> Any:
    """A summary's value by its name: its own (`loss`), `eval.X` or `train.X`; None where it has none."""
    group, dot, name = key.partition(".")
    if dot and group in ("train", "eval"):
        return run[group].get(name)
    return run.get(key, run["eval"].get(key, run["train"].get(key)))


def keys_of(runs: Sequence[dict[str, Any]]) -> list[str]:
    """The names that `value_of` knows for at least one of these summaries."""
    own = [key for key in runs[0] if key not in ("pairs", "tags", "note", "train", "eval")] if runs else []
    metrics = {f"{group}.{name}" for run in runs for group in ("eval", "train") for name in run[group]}
    return [*own, *sorted(metrics)]


def number(value: float | None) -> str:
    """A metric as tables show it."""
    return DASH if value is None else f"{value:.4f}"


def finite(metrics: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: null stands for every number that is none."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _tell_of_queue(folder: RunFolder) -> None:
    from workbench.runs.lease import queue_of

    queue = queue_of(folder)
    ahead = queue.ahead_of(folder.path.resolve()) if queue else []
    if queue and ahead:
        note(f"It waits for its turn on {queue.device}, after {', '.join(path.name for path in ahead)}.")
