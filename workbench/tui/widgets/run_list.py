"""The list of runs: a line each, newest first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from workbench.runs.events import Eval, Failed, Step
from workbench.text import cut, one_line
from workbench.tui import figures
from workbench.tui.feed import Run
from workbench.tui.widgets.run_lines import SIGNS, bar, model_of

_YEAR = re.compile(r"^\d{4}-(?=\d\d-\d\d-)")
_WORD = max(len(status) for status in SIGNS)


def rows(runs: Sequence[Run], width: int) -> list[Content]:
    """A line of `width` cells at most for every run, columns aligned."""
    wide = width >= 100
    names = [one_line(run.id if wide else _YEAR.sub("", run.id)) for run in runs]
    models = [model_of(run) for run in runs]
    name_width = min(max(map(cell_len, names), default=0), 44 if wide else 30)
    model_width = min(max(map(cell_len, models), default=0), 30) if wide else 0
    result = []
    for run, name, model in zip(runs, names, models, strict=True):
        text, color = SIGNS[run.status]
        method = f"{run.config.method if run.config else '':<6}" if wide else ""
        left = Content.assemble(
            (f"{text} ", color),
            (f"{run.status:<{_WORD}}  ", color),
            (_padded(name, name_width) + "  ", "$foreground"),
            (method + _padded(model, model_width) + "  " if wide else "", "$secondary"),
        )
        result.append(Content.assemble(left, _outcome(run, width - left.cell_length)).truncate(width, ellipsis=True))
    return result


def _padded(text: str, width: int) -> str:
    text = cut(text, width)
    return text + " " * (width - cell_len(text))


def _outcome(run: Run, width: int) -> Content:
    """What matters about a run in its status: its progress, what it reached, or what went wrong."""
    state = run.state
    if run.status == "running":
        return _going(run, width)
    if run.status == "queued":
        return Content("")
    if run.status == "failed" and isinstance(state.end, Failed):
        return Content.styled(one_line(state.end.title), "$foreground")
    if run.status == "lost":
        return Content.styled(one_line(run.trouble), "$foreground")
    parts = _reached(run)
    if run.status != "finished" and state.total_steps:
        parts.insert(0, Content.styled(f"step {state.step:,}/{state.total_steps:,}", "$secondary"))
    while parts and Content("  ").join(parts).cell_length > width:
        parts.pop()
    return Content("  ").join(parts)


def _going(run: Run, width: int) -> Content:
    state = run.state
    if state.step == 0 or not state.total_steps:
        return Content.styled(one_line(state.phase) or "starting", "$secondary")
    total = f"{state.total_steps:,}"
    step = f"{'step ' if width >= 50 else ''}{state.step:>{len(total)},}/{total} "
    fraction = state.step / state.total_steps
    pace = f"  {figures.value(state.pairs_per_second)} pairs/s" if state.pairs_per_second is not None else ""
    left = f"  {figures.rough(state.seconds_left)} left" if state.seconds_left is not None else ""
    tail = f" {fraction * 100:>3.0f}%"
    for extra in (f"{pace}{left}", left, ""):
        room = width - len(step) - len(tail) - len(extra)
        if room >= 8:
            break
    return Content.assemble(
        (step, "$secondary"), bar(fraction, max(min(room, 24), 4)), (tail, "$foreground"), (extra, "$secondary")
    )


def _reached(run: Run) -> list[Content]:
    """Margin, accuracy and how far the chosen answers moved, on held-out pairs where there are any."""
    latest: Eval | Step | None = (run.state.evals or run.state.steps or (None,))[-1]
    if latest is None:
        return []
    metrics, parts = latest.metrics, []
    for label, name in (("margin", "rewards/margins"), ("acc", "rewards/accuracies")):
        if name in metrics:
            parts.append(
                Content.assemble((f"{label} ", "$secondary"), (f"{figures.value(metrics[name]):>5}", "$foreground"))
            )
    moved = chosen_moved(run)
    if moved is not None:
        up = moved >= 0
        parts.append(
            Content.assemble(
                ("chosen ", "$secondary"),
                (f"{'▲' if up else '▼'} {figures.signed(moved)}", "$success" if up else "$error"),
                (" nats", "$secondary"),
            )
        )
    return parts


def chosen_moved(run: Run) -> float | None:
    """By how many nats the held-out chosen answers moved from the first evaluation to the last."""
    logps = [each.metrics["logps/chosen"] for each in run.state.evals if "logps/chosen" in each.metrics]
    return logps[-1] - logps[0] if len(logps) > 1 else None


class RunList(OptionList):
    """The runs to choose from. Highlighting one shows it, enter opens it."""

    DEFAULT_CSS = """
    RunList {
        height: auto; max-height: 25%; min-height: 1; border: none; padding: 0; background: $background;
        scrollbar-size-vertical: 1;
    }
    RunList:focus { border: none; background: $background; background-tint: $foreground 0%; }
    RunList > .option-list--option { padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "cursor_down", "Next run", show=False),
        Binding("k,up", "cursor_up", "Previous run", show=False),
        Binding("g,home", "first", "Newest run", show=False),
        Binding("G,end", "last", "Oldest run", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
        Binding("enter", "select", "Open"),
    ]

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self._runs: list[Run] = []
        self._width = 0

    def show(self, runs: list[Run]) -> None:
        """Shows these runs; the highlight stays on the run it was on."""
        width = self.scrollable_content_region.width - 2
        if runs == self._runs and width == self._width:
            return
        lines = rows(runs, width)
        if [run.id for run in runs] == [run.id for run in self._runs]:
            for index, line in enumerate(lines):
                if self.get_option_at_index(index).prompt != line:
                    self.replace_option_prompt_at_index(index, line)
        else:
            at = self.current
            self.clear_options()
            self.add_options([Option(line, id=run.id) for run, line in zip(runs, lines, strict=True)])
            self._runs = runs
            self.go_to(at)
        self._runs, self._width = runs, width

    @property
    def current(self) -> str | None:
        """The id of the highlighted run."""
        return self.get_option_at_index(self.highlighted).id if self.highlighted is not None else None

    def go_to(self, run: str | None) -> bool:
        """Highlights the run with this id, else the first one. Whether it was there."""
        index = next((index for index, each in enumerate(self._runs) if each.id == run), None)
        if self._runs:
            self.highlighted = index or 0
        return index is not None

    def on_resize(self) -> None:
        """Fits the lines to the new width."""
        self.show(self._runs)
