"""What a run looks like in words, line by line: pure functions from its state to `Content`."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from workbench.runs.events import Eval, Finished, Killed, Step, Stopped
from workbench.runs.quantities import quantity
from workbench.runs.state import RunState, Status
from workbench.text import cut, one_line
from workbench.tui import figures
from workbench.tui.feed import Run

TRAINING = "training"
"""The phase in which steps are made."""

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


def name_of(run: Run) -> str:
    """The name that the user gave the run, else its id. Safe to show."""
    return one_line(run.labels.name or run.id)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, …"""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def heading(run: Run, width: int) -> Content:
    """Sign, name, tags, method, model and data sets of the run."""
    text, color = SIGNS[run.status]
    name = Content.assemble((f"{text} ", color), (name_of(run), "bold"))
    parts: list[tuple[str, str | Content]] = [("", name)]
    if run.labels.archived:
        parts.append(("", Content.styled("archived", "$secondary")))
    if run.labels.tags:
        tags = " ".join(f"#{one_line(tag)}" for tag in run.labels.tags)
        parts.append(("", Content.styled(cut(tags, 30), "$accent")))
    if run.config is not None:
        parts.append(("", f"{run.config.method} · {cut(model_of(run), 36)}"))
        parts.append(("on", cut(one_line(", ".join(run.config.pairs)), 40)))
    if run.labels.name:
        parts.append(("", Content.styled(one_line(run.id), "$secondary")))
    if run.labels.note:
        parts.append(("", Content.styled(one_line(run.labels.note), "$secondary")))
    return fit(parts, width)


def progress(run: Run, width: int, now: float) -> Content:
    """How far the run is, at what pace, and how long it will take; how long it took where it has ended."""
    state = run.state
    end = state.end
    if isinstance(end, Finished | Stopped) and run.status in ("finished", "stopped"):
        steps = f"{state.step:,} of {state.total_steps:,} steps in {figures.duration(end.seconds)}"
        parts: list[tuple[str, str | Content]] = [
            ("", _word(run)),
            ("", steps if state.total_steps else "before the first step"),
            *_resuming(run),
            ("", pace(state)),
            ("peak memory", figures.memory(end.peak_memory_bytes)),
            ("adapter weights moved", figures.share(end.changed)),
        ]
        return fit(parts, width)
    if run.going and not run.stopping and (state.step == 0 or state.started is None):
        return fit(_waiting(run, now), width)
    if state.started is None:
        since = figures.duration((state.last_event or 0.0) - (state.first_event or 0.0))
        while_ = one_line(state.phase) or "starting"
        return fit([("", _word(run)), ("while", while_), ("after", since), *_remaining(run), *_resuming(run)], width)
    fraction = state.step / state.total_steps if state.total_steps else 0.0
    parts = [
        ("", _word(run)),
        ("step", f"{state.step:,}/{state.total_steps:,}"),
        ("", ""),
        ("", f"{fraction * 100:.0f}%"),
        *_remaining(run),
        *_resuming(run),
        ("", pace(state)),
    ]
    room = width - fields(parts).cell_length
    parts[2] = ("", bar(fraction, min(max(room, 10), 48), SIGNS[run.status][1]))
    return fit(parts, width)


def _word(run: Run) -> Content:
    if isinstance(run.state.end, Killed) and run.status == "stopped":
        return Content.styled("killed", SIGNS[run.status][1])
    return Content.styled("stopping" if run.stopping else run.status, SIGNS[run.status][1])


def _waiting(run: Run, now: float) -> list[tuple[str, str | Content]]:
    """What a run waits for that has not made a step."""
    color = SIGNS[run.status][1]
    if run.status != "queued":
        phase = "paused" if run.status == "paused" else f"{one_line(run.state.phase) or 'starting'} …"
        since = run.state.last_event
        return [("", Content.styled(phase, color)), ("", figures.duration(now - since) if since is not None else "")]
    if run.place is None:
        return [("", Content.styled("starting …", color))]
    told = f"{ordinal(run.place)} in line" + (", behind" if run.ahead else "")
    return [("", Content.styled("queued", color)), (told, one_line(run.ahead)), ("", "< > move it · p cancels it")]


def _remaining(run: Run) -> list[tuple[str, str | Content]]:
    state = run.state
    if run.stopping:
        saving: list[tuple[str, str | Content]] = [("", "saves after this step"), ("p", "kills it now")]
        if run.seconds_to_kill is None:
            return saving
        left = figures.duration(run.seconds_to_kill)
        return [("", Content.assemble(("killed in ", "$warning"), (left, "bold $warning"))), *saving]
    if run.status == "paused":
        return [("", "space continues")]
    if run.status != "running" or state.seconds_left is None:
        return []
    if state.phase not in ("", TRAINING):
        return [("", f"{one_line(state.phase)} …")]  # A worker that resumes has no pace yet; at the end one saves.
    return [("", f"{figures.rough(state.seconds_left)} left")]


def _resuming(run: Run) -> list[tuple[str, str | Content]]:
    if run.status not in ("stopped", "failed", "lost"):
        return []
    key = Content.styled("r", "bold $accent")
    if run.resumes_from is None:
        return [("", Content.assemble(key, (" starts it again", "$secondary")))]
    return [("", Content.assemble(key, (f" resumes after step {run.resumes_from:,}", "$foreground")))]


def pace(state: RunState) -> str:
    """How fast the run is, in pairs a second."""
    speed = state.pairs_per_second
    return f"{figures.value(speed)} pairs/s" if speed is not None else ""


def numbers(state: RunState, width: int, machine: str = "") -> Content:
    """What the latest step tells beside its curves: tokens a second, memory, epoch, accuracy and the like."""
    step, evaluation = (state.steps or (None,))[-1], (state.evals or (None,))[-1]
    parts: list[tuple[str, str | Content]] = []
    if step is not None:
        speed = state.tokens_per_second
        if speed:
            parts.append(("", f"{speed:,.0f} tokens/s"))
        if machine:
            parts.append(("", machine))
        elif step.memory_bytes:
            parts.append(("memory", figures.memory(step.memory_bytes)))
        parts.append(("epoch", f"{step.epoch:.2f}"))
    accuracy = quantity(step.metrics, "accuracy") if step is not None else None
    held_out = quantity(evaluation.metrics, "accuracy") if evaluation is not None else None
    if accuracy is not None or held_out is not None:
        shown = figures.value(accuracy)
        parts.append(("accuracy", shown if held_out is None else f"{shown} · {figures.value(held_out)} held out"))
    for label, name in (("grad norm", "grad_norm"), ("learning rate", "learning_rate")):
        number = metric(step, name)
        if number is not None:
            parts.append((label, figures.value(number)))
    return fit(parts, width) if parts else Content("")


def metric(event: Step | Eval | None, name: str) -> float | None:
    """The value that an event has under a name, None where either is missing."""
    return event.metrics.get(name) if event is not None else None
