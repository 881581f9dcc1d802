"""What to know about a run, in words: what went in, warnings, and how it ended badly."""

from __future__ import annotations

from textual.content import Content

from workbench.runs.events import Eval, Failed, Step, Warned
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
        *_beginning(run.state),
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


def warnings(told: tuple[Warned, ...], width: int, most: int) -> list[Content]:
    """The newest warnings, a line each, newest last; the first line tells of those left out."""
    lines = [
        Content.assemble(
            ("▲ ", "$warning"),
            (f"step {each.step:,}  " if each.step else "", "$secondary"),
            (one_line(each.title), "$foreground"),
            ("  ", ""),
            (one_line(each.message), "$secondary"),
        ).truncate(width, ellipsis=True)
        for each in told[-most:]
    ]
    hidden = len(told) - len(lines)
    if hidden > 0 and lines:
        lines[0] = Content.styled(f"▲ {hidden + 1} earlier warnings", "$secondary")
    return lines


def ending(run: Run, last_lines: list[str]) -> Content | None:
    """Why the run failed or was lost, what to do, and its last words; None for a run that did not end so."""
    end = run.state.end
    if run.status == "failed" and isinstance(end, Failed):
        title, message, hint = end.title, end.message, end.hint
    elif run.status == "lost":
        title, message, hint = "The worker is gone", run.trouble, ""
    else:
        return None
    text, color = SIGNS[run.status]
    lines = [Content.styled(f"{text} {one_line(title)}", f"bold {color}")]
    if message:
        lines.append(Content.styled(safe(message).rstrip(), "$foreground"))
    if hint:
        lines.append(Content.styled(safe(hint).rstrip(), "$secondary"))
    if last_lines:
        lines.append(Content.styled("\nlast lines of worker.log", "$secondary"))
        lines.extend(Content.styled(f"  {line}", "$secondary") for line in last_lines)
    return Content("\n").join(lines)
