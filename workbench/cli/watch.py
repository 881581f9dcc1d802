"""Looking on while a run goes, on stderr; leaving does not end it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from workbench.cli.context import note
from workbench.runs.events import Event, EventReader, Phase, Started, Step, Warned
from workbench.runs.folder import RunFolder
from workbench.runs.process import alive
from workbench.runs.state import TERMINAL, RunState, fold
from workbench.text import one_line, safe

_PACE = 0.25


def watch(folder: RunFolder) -> RunState:
    """Shows a run's progress until its worker is gone. Ctrl-C says that the run goes on, then is raised again."""
    try:
        return _watch_bar(folder) if sys.stderr.isatty() else _watch_lines(folder)
    except KeyboardInterrupt:
        note(f"\n{folder.id} goes on by itself. To end it: workbench stop {folder.id}")
        raise


def follow_log(folder: RunFolder, *, follow: bool) -> None:
    """Prints the worker's log, made safe; with `follow` until the worker is gone."""
    place = 0
    while True:
        going = follow and alive(folder)
        try:
            with folder.log.open("rb") as log:
                log.seek(place)
                text = log.read()
        except FileNotFoundError:
            text = b""
        whole = text if not going else text[: text.rfind(b"\n") + 1]
        place += len(whole)
        sys.stdout.write(safe(whole.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")))
        sys.stdout.flush()
        if not going:
            return
        time.sleep(_PACE)


def _batches(folder: RunFolder) -> Iterator[list[Event]]:
    """What is new, again and again, until the worker is gone or has said its last word."""
    reader = EventReader(folder.events)
    while True:
        going = alive(folder)
        events = list(reader.read())
        yield events
        if not going or any(fold([each]).status in TERMINAL for each in events):
            return
        time.sleep(_PACE)


def _watch_bar(folder: RunFolder) -> RunState:
    state = RunState()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with Progress(*columns, TimeRemainingColumn(compact=True), console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=None, figures="")
        for events in _batches(folder):
            state = fold(events, state)
            for event in events:
                if isinstance(event, Warned):
                    progress.console.print(
                        safe(f"Warning: {event.title}. {event.message}"), markup=False, highlight=False
                    )
            _update(progress, task, state)
    return state


def _update(progress: Progress, task: TaskID, state: RunState) -> None:
    figures = ""
    if state.steps:
        latest = state.steps[-1]
        parts = [f"step {state.step}/{state.total_steps}", f"loss {latest.metrics.get('loss', 0.0):.4f}"]
        if "rewards/margins" in latest.metrics:
            parts.append(f"margin {latest.metrics['rewards/margins']:.3f}")
        figures = "  ".join([*parts, f"{state.pairs_per_second or 0.0:.1f} pairs/s"])
    progress.update(
        task,
        description=one_line(state.phase, 34),
        total=state.total_steps or None,
        completed=state.step,
        figures=figures,
    )


def _watch_lines(folder: RunFolder) -> RunState:
    """One line a phase and about ten over the steps: for logs and pipes."""
    state, shown = RunState(), 0
    for events in _batches(folder):
        state = fold(events, state)
        for event in events:
            if isinstance(event, Phase):
                note(event.name)
            elif isinstance(event, Started):
                note(
                    f"{event.train_pairs} pairs train, {event.holdout_pairs} are held out; {event.dropped} dropped, "
                    f"{event.truncated} truncated, {event.identical} identical; {event.total_steps} steps"
                )
            elif isinstance(event, Warned):
                note(f"Warning: {event.title}. {event.message}")
            elif isinstance(event, Step) and (
                event.step - shown >= state.total_steps / 10 or event.step == state.total_steps
            ):
                shown = event.step
                loss, margin = event.metrics.get("loss", 0.0), event.metrics.get("rewards/margins", 0.0)
                pace = f"{event.pairs_per_second:.1f} pairs/s"
                note(f"step {event.step}/{state.total_steps}  loss {loss:.4f}  margin {margin:.3f}  {pace}")
    return state
