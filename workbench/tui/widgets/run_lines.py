"""What a run looks like in words, line by line: pure functions from its state to `Content`."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from workbench.runs.events import Eval, Finished, Step, Stopped
from workbench.runs.state import RunState, Status
from workbench.text import cut, one_line
from workbench.tui import figures
from workbench.tui.feed import Run

SIGNS: dict[Status, tuple[str, str]] = {
    "running": ("●", "$accent"),
    "queued": ("◌", "$secondary"),
    "paused": ("◍", "$warning"),
    "finished": ("✔", "$success"),
    "stopped": ("■", "$secondary"),
    "failed": ("✘", "$error"),
    "lost": ("?", "$warning"),
}
"""Sign and colour of each status; the word always stands beside them."""


def sign(status: Status) -> Content:
    """The sign of a status in its colour."""
    text, color = SIGNS[status]
    return Content.styled(text, color)


def bar(fraction: float, width: int, color: str = "$accent") -> Content:
    """A progress bar of `width` cells. The track is drawn too, so that it can be told without colours."""
    filled, empty = figures.bar(fraction, width)
    return Content.assemble((filled, color), (empty, "$border"))


def fields(pairs: Iterable[tuple[str, str | Content]], gap: str = "   ") -> Content:
    """Dim labels with bright values: "epoch 0.61   learning rate 4e−5"; a label may be empty."""
    parts = []
    for label, text in pairs:
        shown = text if isinstance(text, Content) else Content.styled(text, "$foreground")
        parts.append(Content.assemble((label, "$secondary"), " " if label and text else "", shown))
    return Content(gap).join(parts)


def wrap(parts: list[tuple[str, str | Content]], width: int, most: int) -> list[Content]:
    """The fields on as many lines of `width` cells as they need, at most `most`; those that do not fit are left out."""
    lines: list[list[tuple[str, str | Content]]] = []
    for part in parts:
        if lines and fields([*lines[-1], part]).cell_length <= width:
            lines[-1].append(part)
        elif len(lines) < most:
            lines.append([part])
    return [fields(line) for line in lines]


def fit(parts: list[tuple[str, str | Content]], width: int) -> Content:
    """As many of the fields, from the first, as fit in `width` cells."""
    while len(parts) > 1 and fields(parts).cell_length > width:
        parts = parts[:-1]
    return fields(parts)


def model_of(run: Run) -> str:
    """ "Llama-3.1-8B nf4": the model's short name and its quantization."""
    if run.config is None:
        return ""
    name = one_line(run.config.model.rstrip("/").rsplit("/", 1)[-1])
    return name if run.config.quantization == "none" else f"{name} {run.config.quantization}"


def heading(run: Run, width: int) -> Content:
    """Sign, id, method, model and data sets of the run."""
    text, color = SIGNS[run.status]
    name = Content.assemble((f"{text} ", color), (one_line(run.id), "bold"))
    if run.config is None:
        return name
    parts: list[tuple[str, str | Content]] = [
        ("", name),
        ("", f"{run.config.method} · {cut(model_of(run), 36)}"),
        ("on", cut(one_line(", ".join(run.config.pairs)), 40)),
    ]
    return fit(parts, width)


def progress(run: Run, width: int, now: float) -> Content:
    """How far the run is, at what pace, and how long it will take; how long it took where it has ended."""
    state = run.state
    end = state.end
    if isinstance(end, Finished | Stopped) and run.status in ("finished", "stopped"):
        parts: list[tuple[str, str | Content]] = [
            ("", _word(run)),
            ("", f"{state.step:,} of {state.total_steps:,} steps in {figures.duration(end.seconds)}"),
            ("", _pace(state)),
            ("peak memory", figures.memory(end.peak_memory_bytes)),
            ("adapter weights moved", figures.share(end.changed)),
        ]
        return fit(parts, width)
    if run.status in ("queued", "running") and (state.step == 0 or state.started is None):
        waiting = "waiting for its turn" if run.status == "queued" else one_line(state.phase) or "starting"
        since = figures.duration(now - state.first_event) if state.first_event is not None else ""
        return fields([("", Content.styled(f"{waiting} …", SIGNS[run.status][1])), ("", since)])
    if state.started is None:
        since = figures.duration((state.last_event or 0.0) - (state.first_event or 0.0))
        return fields([("", _word(run)), ("while", one_line(state.phase) or "starting"), ("after", since)])
    fraction = state.step / state.total_steps if state.total_steps else 0.0
    parts = [
        ("", _word(run)),
        ("step", f"{state.step:,}/{state.total_steps:,}"),
        ("", ""),
        ("", f"{fraction * 100:.0f}%"),
        ("", _pace(state)),
        ("", _remaining(run)),
    ]
    room = width - fields(parts).cell_length
    parts[2] = ("", bar(fraction, min(max(room, 10), 60), SIGNS[run.status][1]))
    return fit(parts, width)


def _word(run: Run) -> Content:
    return Content.styled("stopping" if run.stopping else run.status, SIGNS[run.status][1])


def _remaining(run: Run) -> str:
    state = run.state
    if run.stopping:
        return "saving after this step"
    if run.status != "running" or state.seconds_left is None:
        return ""
    return f"{figures.rough(state.seconds_left)} left" if state.step < state.total_steps else one_line(state.phase)


def _pace(state: RunState) -> str:
    pace = state.pairs_per_second
    return f"{figures.value(pace)} pairs/s" if pace is not None else ""


def numbers(state: RunState, width: int) -> Content:
    """The latest accuracy, gradient norm, learning rate and epoch."""
    step, evaluation = (state.steps or (None,))[-1], (state.evals or (None,))[-1]
    parts: list[tuple[str, str | Content]] = []
    accuracy = metric(step, "rewards/accuracies")
    held_out = metric(evaluation, "rewards/accuracies")
    if accuracy is not None or held_out is not None:
        shown = figures.value(accuracy)
        parts.append(("accuracy", shown if held_out is None else f"{shown} · {figures.value(held_out)} held out"))
    for label, name in (("grad norm", "grad_norm"), ("learning rate", "learning_rate")):
        number = metric(step, name)
        if number is not None:
            parts.append((label, figures.value(number)))
    if step is not None:
        parts.append(("epoch", f"{step.epoch:.2f}"))
    return fit(parts, width) if parts else Content("")


def metric(event: Step | Eval | None, name: str) -> float | None:
    """The value that an event has under a name, None where either is missing."""
    return event.metrics.get(name) if event is not None else None
