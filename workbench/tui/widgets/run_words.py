"""A run in words, line by line: pure functions from what is known of it to `Content`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from workbench import figures
from workbench.figures import duration, ordinal, rough, size
from workbench.runs.catalog import Run
from workbench.runs.events import Eval, Failed, Finished, Killed, Step, Stopped, Warned
from workbench.runs.machine import Gpu
from workbench.runs.quantities import QUANTITIES, quantity
from workbench.runs.state import RunState, Status
from workbench.text import cut, one_line, safe

if TYPE_CHECKING:
    from workbench.evidence.document import Evidence


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

_SAME = 1e-2
"""Rewards up to this size before the first update are rounding."""
_VERDICTS = {
    True: ("✔", "holds", "$success"),
    False: ("✘", "does not hold", "bold $error"),
    None: ("?", "cannot be said", "$warning"),
}


def bar(fraction: float, width: int, color: str = "$accent") -> Content:
    """A progress bar of `width` cells. The track is drawn too, so that it can be told without colours."""
    filled, empty = figures.progress_bar(fraction, width)
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
    """Sign, name, tags, method, model and data sets of the run."""
    text, color = SIGNS[run.status]
    name = Content.assemble((f"{text} ", color), (run.name, "bold"))
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
        steps = f"{state.step:,} of {state.total_steps:,} steps in {duration(end.seconds)}"
        parts: list[tuple[str, str | Content]] = [
            ("", _word(run)),
            ("", steps if state.total_steps else "before the first step"),
            *_resuming(run),
            ("", pace(state)),
            ("peak memory", size(end.peak_memory_bytes)),
            ("adapter weights moved", figures.percent(end.changed)),
        ]
        return fit(parts, width)
    if run.going and not run.stopping and (state.step == 0 or state.started is None):
        return fit(_waiting(run, now), width)
    if state.started is None:
        since = duration((state.last_event or 0.0) - (state.first_event or 0.0))
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
        return [("", Content.styled(phase, color)), ("", duration(now - since) if since is not None else "")]
    if run.place is None:
        return [("", Content.styled("starting …", color))]
    position = f"{ordinal(run.place)} in line" + (", behind" if run.ahead else "")
    return [("", Content.styled("queued", color)), (position, one_line(run.ahead)), ("", "< > move it · p cancels it")]


def _remaining(run: Run) -> list[tuple[str, str | Content]]:
    state = run.state
    if run.stopping:
        saving: list[tuple[str, str | Content]] = [("", "saves after this step"), ("p", "kills it now")]
        if run.seconds_to_kill is None:
            return saving
        left = duration(run.seconds_to_kill)
        return [("", Content.assemble(("killed in ", "$warning"), (left, "bold $warning"))), *saving]
    if run.status == "paused":
        return [("", "space continues")]
    if run.status != "running" or state.seconds_left is None:
        return []
    if state.phase not in ("", TRAINING):
        return [("", f"{one_line(state.phase)} …")]  # A worker that resumes has no pace yet; at the end one saves.
    return [("", f"{rough(state.seconds_left)} left")]


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


def numbers(state: RunState, width: int, gpu: Gpu | None = None) -> Content:
    """What the latest step tells beside its curves: tokens a second, memory, epoch, accuracy and the like."""
    step = state.steps[-1] if state.steps else None
    metrics, held_out = step.metrics if step else {}, state.evals[-1].metrics if state.evals else {}
    parts: list[tuple[str, str | Content]] = []
    if step is not None:
        speed = state.tokens_per_second
        if speed:
            parts.append(("", f"{speed:,.0f} tokens/s"))
        if gpu is not None:
            busy = f" · {figures.percent(gpu.utilization)}" if gpu.utilization is not None else ""
            parts.append(("", f"GPU {size(gpu.total - gpu.free)} of {size(gpu.total)}{busy}"))
        elif step.memory_bytes:
            parts.append(("memory", size(step.memory_bytes)))
        parts.append(("epoch", f"{step.epoch:.2f}"))
    trained, tested = quantity(metrics, "accuracy"), quantity(held_out, "accuracy")
    if trained is not None or tested is not None:
        shown = figures.value(trained)
        parts.append(("accuracy", shown if tested is None else f"{shown} · {figures.value(tested)} held out"))
    for name in ("grad", "rate"):
        number = quantity(metrics, name)
        if number is not None:
            parts.append((QUANTITIES[name].short, figures.value(number)))
    return fit(parts, width) if parts else Content("")


def facts(run: Run, width: int, most: int) -> list[Content]:
    """What was known before the first step: pairs used and left out, reference and its check, parameters."""
    started = run.state.started
    if started is None:
        return []
    trained, total = started.trainable_parameters, started.total_parameters
    parts: list[tuple[str, str | Content]] = [
        ("pairs", f"{started.train_pairs:,} train · {started.holdout_pairs:,} held out"),
        _left_out("dropped", started.dropped),
        _left_out("truncated", started.truncated),
        _left_out("identical", started.identical),
        ("adapter", f"{figures.count(trained)} of {figures.count(total)} ({figures.percent(trained / max(total, 1))})"),
        *(_beginning(run.state) if run.config is None or run.config.facts.log_ratios else []),
        ("reference", cut(one_line(started.reference), min(width - 12, 76))),
    ]
    if started.checkpointing not in ("", "none"):
        parts.append(("computed twice", f"{started.checkpointing} of the layers"))
    return wrap(parts, width, most)


def _left_out(label: str, pairs: int) -> tuple[str, str | Content]:
    return label, Content.styled(f"▲ {pairs:,}", "$warning") if pairs else "0"


def _beginning(state: RunState) -> list[tuple[str, str | Content]]:
    """Before the first update model and reference are one: the margin is 0, and the sigmoid loss ln 2."""
    first: Eval | Step | None = next((event for event in state.evals if event.step == 0), None)
    first = first or next((event for event in state.steps[:1] if event.step == 1), None)
    margin = quantity(first.metrics, "margin") if first else None
    loss = quantity(first.metrics, "loss") if first else None
    if margin is None or loss is None:
        return []
    if abs(margin) <= _SAME:
        return [("first loss", Content.assemble((figures.value(loss), "$foreground"), (" ✔", "$success")))]
    wrong = f"{figures.value(loss)} ✘ margin {figures.value(margin)}, not 0"
    return [("first loss", Content.styled(wrong, "$error"))]


def alerts(run: Run, width: int, most: int) -> list[Content]:
    """The newest alerts, a line each, the newest first; then what else is wrong with the run's files."""
    warnings = run.state.warnings
    lines = [
        Content.assemble(
            ("▲ ", "bold $warning"),
            (one_line(warning.title), "bold $warning"),
            (f"  step {warning.step:,}" if warning.step else "", "$warning"),
            ("  ", ""),
            (one_line(warning.message), "$secondary"),
        )
        for warning in reversed(warnings[-most:])
    ]
    if lines:
        key = Content.assemble(
            "  ", ("h", "bold $accent"), (f" all {len(warnings)}" if len(warnings) > 1 else " more", "$secondary")
        )
        lines[0] = lines[0].truncate(width - key.cell_length, ellipsis=True) + key
    if run.damaged:
        count = "A line" if run.damaged == 1 else f"{run.damaged:,} lines"
        verb = "is" if run.damaged == 1 else "are"
        lines.append(
            Content.styled(
                f"▲ {count} of events.jsonl cannot be read and {verb} left out: a point or so is missing.", "$warning"
            )
        )
    return [line.truncate(width, ellipsis=True) for line in lines]


def alerts_in_full(warnings: tuple[Warned, ...]) -> Content:
    """Every alert with its step, reason and remedy, the newest first, to be wrapped."""
    parts = []
    for warning in reversed(warnings):
        lines = [
            Content.assemble(
                (f"▲ {one_line(warning.title)}", "bold $warning"),
                (f"   step {warning.step:,}" if warning.step else "", "$secondary"),
            ),
            Content.styled(safe(warning.message).rstrip(), "$foreground"),
        ]
        if warning.remedy:
            lines.append(Content.assemble(("→ ", "$accent"), (safe(warning.remedy).rstrip(), "$foreground")))
        parts.append(Content("\n").join(lines))
    return Content("\n\n").join(parts)


def ending(run: Run, last_lines: Sequence[str]) -> Content | None:
    """Why the run failed or was lost, what to do, and its last words; None for a run that did not end so."""
    end = run.state.end
    if run.status == "failed" and isinstance(end, Failed):
        title, message, hint = end.title, end.message, end.hint
    elif run.status == "lost":
        title, message, hint = "The worker is gone", run.trouble, ""
    elif isinstance(end, Killed) and run.status == "stopped":
        title, message, hint = "The worker was killed", end.message, ""
    else:
        return None
    text, color = SIGNS[run.status]
    lines = [Content.styled(f"{text} {one_line(title)}", f"bold {color}")]
    if message:
        lines.append(Content.styled(safe(message).rstrip(), "$foreground"))
    if hint:
        lines.append(Content.styled(safe(hint).rstrip(), "$secondary"))
    lines.extend(
        Content.styled(f"{one_line(name)} is torn and skipped: {one_line(why)}", "$warning") for name, why in run.torn
    )
    if last_lines:
        lines.append(Content.styled("\nlast lines of worker.log", "$secondary"))
        lines.extend(Content.styled(f"  {line}", "$secondary") for line in last_lines)
    return Content("\n").join(lines)


def counted(evidence: Evidence) -> str:
    """How many claims hold, do not, or cannot be judged."""
    holds = [verdict.holds for verdict in evidence.verdicts]
    counts = [(holds.count(True), "hold"), (holds.count(False), "do not hold"), (holds.count(None), "cannot be said")]
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def verdicts_in_full(evidence: Evidence) -> Content:
    """Every verdict with what was found, those that do not hold first; then what got worse by most."""
    order = {False: 0, None: 1, True: 2}
    lines = []
    for verdict, merged in sorted(evidence.beside_merged, key=lambda both: order[both[0].holds]):
        sign, word, style = _VERDICTS[verdict.holds]
        parts = [
            (f"{sign} ", style),
            (one_line(verdict.name), "$foreground"),
            (f"\n  {word}", style),
            (f"  {one_line(verdict.message)}", "$secondary"),
        ]
        if merged is not None:
            sign, word, style = _VERDICTS[merged.holds]
            parts += [(f"\n  merged: {sign} {word}", style), (f"  {one_line(merged.message)}", "$secondary")]
        lines.append(Content.assemble(*parts))
    if evidence.regressions:
        lines.append(Content.styled("\nWhat got worse by most, log-probability before and after", "bold $foreground"))
        lines += [
            Content.assemble(
                (f"{regression.before:8.2f} → {regression.after:.2f}  ", "$foreground"),
                (f"{one_line(regression.response)} · {one_line(regression.prompt, 200)}", "$secondary"),
            )
            for regression in evidence.regressions
        ]
    if evidence.unmeasured:
        lines.append(Content.styled(f"\n▲ {evidence.unmeasured}", "$warning"))
    lines.append(Content.styled(f"\nMeasured {evidence.created} in {evidence.seconds:.0f} s.", "$secondary"))
    return Content("\n").join(lines)
