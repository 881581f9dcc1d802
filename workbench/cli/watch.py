"""Looking on while a run goes, on stderr; leaving does not end it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from workbench.console import ProgressBar, note, say
from workbench.figures import plural
from workbench.runs.events import (
    Continued,
    Event,
    EventReader,
    Killed,
    Paused,
    Phase,
    Queued,
    Resumed,
    Started,
    Step,
    Warned,
    decode,
)
from workbench.runs.folder import RunFolder
from workbench.runs.lease import place
from workbench.runs.process import alive, recorded
from workbench.runs.quantities import headline
from workbench.runs.state import TERMINAL, RunState, fold
from workbench.text import quoted

_PACE = 0.25


def watch(folder: RunFolder) -> RunState:
    """Shows a run's progress until its worker is gone. Ctrl-C says that the run goes on, then is raised again.

    What earlier workers of the run told is not shown again.
    """
    try:
        return _watch_bar(folder) if sys.stderr.isatty() else _watch_lines(folder)
    except KeyboardInterrupt:
        note(f"\n{folder.id} goes on by itself. To end it: workbench stop {quoted(folder.id)}")
        raise


def follow_log(folder: RunFolder, *, follow: bool) -> None:
    """Prints the worker's log, made safe; with `follow` until the worker is gone."""
    offset = 0
    while True:
        going = follow and alive(folder)
        try:
            with folder.log.open("rb") as log:
                log.seek(offset)
                text = log.read()
        except FileNotFoundError:
            text = b""
        whole = text if not going else text[: text.rfind(b"\n") + 1]
        offset += len(whole)
        say(whole.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n"), end="")
        if not going:
            return
        time.sleep(_PACE)


def _looks(folder: RunFolder) -> Iterator[tuple[RunState, list[Event]]]:
    """The run's state and what its worker told since the last look, until it is gone or has said its last word."""
    reader = EventReader(folder.events)
    events = list(reader.read())
    state = fold(events)
    new = events[_earlier(folder) :]
    heard = bool(new)  # The state may be that of an earlier worker until then.
    while True:
        yield state, new
        if not alive(folder) or (heard and state.status in TERMINAL):
            break
        time.sleep(_PACE)
        new = list(reader.read())
        state, heard = fold(new, state), heard or bool(new)
    new = list(reader.read())  # What came between the last look and the worker's end.
    yield fold(new, state), new


def _earlier(folder: RunFolder) -> int:
    """How many events earlier workers told."""
    size = recorded(folder).get("events")
    if not isinstance(size, int) or not folder.events.exists():
        return 0
    with folder.events.open("rb") as file:
        return sum(decode(line.decode("utf-8", "replace")) is not None for line in file.read(size).split(b"\n"))


def _waits(folder: RunFolder) -> str:
    number = place(folder)
    return f"waits for its turn: number {number}" if number else "starting"


def _watch_bar(folder: RunFolder) -> RunState:
    state = RunState()
    with ProgressBar("starting") as bar:
        for state, new in _looks(folder):
            for event in new:
                if isinstance(event, Warned | Killed):
                    bar.line(_line(event))
            _update(bar, folder, state)
    return state


def _update(bar: ProgressBar, folder: RunFolder, state: RunState) -> None:
    figures = ""
    if state.steps:
        latest = state.steps[-1]
        parts = [f"step {state.step}/{state.total_steps}", *_headline(latest)]
        figures = "  ".join([*parts, f"{state.pairs_per_second or 0.0:.1f} pairs/s"])
    doing = _waits(folder) if state.status == "queued" else "paused" if state.status == "paused" else state.phase
    bar.update(doing, state.step, state.total_steps or None, figures)


def _headline(step: Step) -> list[str]:
    return [f"{label} {value:.4f}" for label, value in headline(step.metrics)]


def _watch_lines(folder: RunFolder) -> RunState:
    """One line for what happens and about ten over the steps: for logs and pipes."""
    state, shown, waited = RunState(), 0, ""
    for state, new in _looks(folder):
        for event in new:
            if isinstance(event, Resumed):
                shown = event.step
            if isinstance(event, Step):
                if event.step - shown < state.total_steps / 10 and event.step != state.total_steps:
                    continue
                shown = event.step
            text = _line(event, state.total_steps)
            if text:
                note(text)
        if state.status == "queued" and any(isinstance(event, Queued) for event in new):
            waited = "starting"  # Said whenever its place is another one.
        if waited and state.status == "queued" and (waits := _waits(folder)) not in (waited, "starting"):
            waited = waits
            note(waits)
    return state


def _line(event: Event, total_steps: int = 0) -> str:
    """What a person needs to know of an event; empty where that is nothing."""
    match event:
        case Queued():
            return f"waits for {event.device}"
        case Phase():
            return event.name
        case Resumed():
            return f"goes on after step {event.step}" if event.checkpoint else "starts again"
        case Started():
            return (
                f"{plural(event.train_pairs, 'pair trains', 'pairs train')}, {event.holdout_pairs} held out; "
                f"{event.dropped} dropped, {event.truncated} truncated, {event.identical} identical; "
                f"{plural(event.total_steps, 'step')}"
                + (f", shared by {event.processes} processes" if event.processes > 1 else "")
            )
        case Step():
            pace = f"{event.pairs_per_second:.1f} pairs/s"
            return "  ".join([f"step {event.step}/{total_steps}", *_headline(event), pace])
        case Warned():
            return f"Warning: {event.title}. {event.message} {event.remedy}".rstrip()
        case Paused():
            return f"paused after step {event.step}"
        case Continued():
            return "goes on"
        case Killed():
            return event.message
        case _:
            return ""
