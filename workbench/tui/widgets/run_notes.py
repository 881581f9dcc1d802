"""What to know about a run, in words: what went in, warnings, and how it ended badly."""

from __future__ import annotations

from textual.content import Content

from workbench.methods import RATIOS
from workbench.runs.events import Eval, Failed, Killed, Step, Warned
from workbench.runs.state import RunState
from workbench.text import cut, one_line, safe
from workbench.tui import figures
from workbench.tui.feed import Run
from workbench.tui.widgets.run_lines import SIGNS, metric, wrap

_SAME = 1e-2
"""Rewards up to this size before the first update are rounding."""


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
        ("adapter", f"{figures.count(trained)} of {figures.count(total)} ({figures.share(trained / max(total, 1))})"),
        *(_beginning(run.state) if run.config is None or run.config.method in RATIOS else []),
        ("reference", cut(one_line(started.reference), min(width - 12, 76))),
    ]
    return wrap(parts, width, most)


def _left_out(label: str, pairs: int) -> tuple[str, str | Content]:
    return label, Content.styled(f"▲ {pairs:,}", "$warning") if pairs else "0"


def _beginning(state: RunState) -> list[tuple[str, str | Content]]:
    """Before the first update model and reference are one: the margin is 0, and the sigmoid loss ln 2."""
    first: Eval | Step | None = next((each for each in state.evals if each.step == 0), None)
    first = first or next((each for each in state.steps[:1] if each.step == 1), None)
    margin, loss = metric(first, "rewards/margins"), metric(first, "loss")
    if margin is None or loss is None:
        return []
    if abs(margin) <= _SAME:
        return [("first loss", Content.assemble((figures.value(loss), "$foreground"), (" ✔", "$success")))]
    told = f"{figures.value(loss)} ✘ margin {figures.value(margin)}, not 0"
    return [("first loss", Content.styled(told, "$error"))]


def alerts(run: Run, width: int, most: int) -> list[Content]:
    """The newest alerts, a line each, the newest first; then what else is wrong with the run's files."""
    told = run.state.warnings
    lines = [
        Content.assemble(
            ("▲ ", "bold $warning"),
            (one_line(each.title), "bold $warning"),
            (f"  step {each.step:,}" if each.step else "", "$warning"),
            ("  ", ""),
            (one_line(each.message), "$secondary"),
        )
        for each in reversed(told[-most:])
    ]
    if lines:
        key = Content.assemble(
            "  ", ("h", "bold $accent"), (f" all {len(told)}" if len(told) > 1 else " more", "$secondary")
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


def alerts_in_full(told: tuple[Warned, ...]) -> Content:
    """Every alert with its step, reason and remedy, the newest first, to be wrapped."""
    parts = []
    for each in reversed(told):
        lines = [
            Content.assemble(
                (f"▲ {one_line(each.title)}", "bold $warning"),
                (f"   step {each.step:,}" if each.step else "", "$secondary"),
            ),
            Content.styled(safe(each.message).rstrip(), "$foreground"),
        ]
        if each.remedy:
            lines.append(Content.assemble(("→ ", "$accent"), (safe(each.remedy).rstrip(), "$foreground")))
        parts.append(Content("\n").join(lines))
    return Content("\n\n").join(parts)


def ending(run: Run, last_lines: list[str]) -> Content | None:
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
