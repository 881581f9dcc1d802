"""The table of runs: its columns, its order, its filter, a line a run, one of them highlighted."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Input

from workbench import figures
from workbench.figures import ordinal, rough
from workbench.runs.catalog import Run
from workbench.runs.events import Eval, Failed, Step
from workbench.runs.quantities import QUANTITIES
from workbench.text import cut, one_line
from workbench.tui.widgets.quiet_lines import QuietLines
from workbench.tui.widgets.run_words import SIGNS, bar, model_of
from workbench.tui.widgets.search_line import SearchLine

Value = float | str | None

_DATES = (re.compile(r"^$"), re.compile(r"^\d{4}-(?=\d\d-\d\d-\d{4}-.)"), re.compile(r"^\d{4}-\d\d-\d\d-\d{4}-(?=.)"))
"""What is left out of the ids where they are too wide: nothing, the year, the whole date."""
_DAY = 86400.0
_GAP = 2
_MARGIN = 1
"""Cells before the first column: the sign of the highlighted run stands there."""
_NAME, _LONGEST_NAME = 18, 48


@dataclass(frozen=True, slots=True)
class RunColumn:
    """`value` is what runs are sorted by, None for a run that has none; `shown` is what is seen of it.

    `name` is the title where there is room, `width` the cells it takes, and `narrow` those on a narrow screen, where
    they differ. `upwards`: it is sorted so at first, as words are, and what is better when it is small.
    """

    key: str
    title: str
    name: str
    width: int
    value: Callable[[Run], Value]
    shown: Callable[[Run, int], Content]
    right: bool = True
    narrow: int = 0
    upwards: bool = False


def final(run: Run, metric: str) -> float | None:
    """The last value of a metric: on held-out pairs where there are any, else in training.

    Where training no longer has a finite value, there is nothing left to be proud of: that one counts.
    """
    latest: list[Eval | Step] = [*run.state.evals[-1:], *run.state.steps[-1:]]
    values = [event.metrics[metric] for event in latest if metric in event.metrics]
    return next((value for value in values if not math.isfinite(value)), values[0] if values else None)


def final_of(run: Run, quantity: str) -> float | None:
    """`final` of a quantity, whatever name the run's method has for it."""
    values = (final(run, metric) for metric in QUANTITIES[quantity].metrics)
    return next((value for value in values if value is not None), None)


def _loss(run: Run) -> float | None:
    """None for methods whose loss is about zero whatever happens."""
    return None if run.config is not None and run.config.facts.online else final(run, "loss")


def chosen_moved(run: Run) -> float | None:
    """By how many nats the held-out chosen answers moved from the first evaluation to the last."""
    logps = [
        evaluation.metrics["logps/chosen"] for evaluation in run.state.evals if "logps/chosen" in evaluation.metrics
    ]
    return logps[-1] - logps[0] if len(logps) > 1 else None


def metrics_of(runs: Sequence[Run]) -> list[str]:
    """Every metric that some run has a last value of, in the order of the alphabet."""
    latest: list[Eval | Step] = []
    for run in runs:
        latest += [*run.state.evals[-1:], *run.state.steps[-1:]]
    return sorted({name for event in latest for name in event.metrics})


def metric_column(metric: str) -> RunColumn:
    """A column for any metric that has none of its own."""
    title = cut(one_line(metric.removeprefix("rewards/").removeprefix("logps/")), 12)
    return RunColumn(metric, title, one_line(metric), max(7, cell_len(title)), *_valued(partial(final, metric=metric)))


def _valued(
    of: Callable[[Run], float | None], told: Callable[[float], str] = figures.value
) -> tuple[Callable[[Run], Value], Callable[[Run, int], Content]]:
    """A column's value and how it is shown: as a number."""

    def shown(run: Run, width: int) -> Content:
        del width
        value = of(run)
        if value is None:
            return Content("")
        return Content.styled(told(value), "$foreground" if math.isfinite(value) else "$error")

    return of, shown


def _quantity(
    key: str, width: int, of: Callable[[Run], float | None] | None = None, *, upwards: bool = False
) -> RunColumn:
    """The column of a quantity; see `runs.quantities`."""
    about, value = QUANTITIES[key], of or partial(final_of, quantity=key)
    told = figures.difference if about.zero else figures.value
    return RunColumn(key, about.short, about.title, width, *_valued(value, told), upwards=upwards)


def _status(run: Run, width: int) -> Content:
    text, color = SIGNS[run.status]
    return Content.styled(f"{text} {'stopping' if run.stopping else run.status}"[:width], color)


def _names(left_out: re.Pattern[str]) -> Callable[[Run, int], Content]:
    def shown(run: Run, width: int) -> Content:
        name = cut(_without(run, left_out), width)
        return Content.styled(name, "$secondary" if run.labels.archived else "$foreground")

    return shown


def _without(run: Run, left_out: re.Pattern[str]) -> str:
    return run.name if run.labels.name else left_out.sub("", run.name)


def _alerts(run: Run, width: int) -> Content:
    count = len(run.state.warnings)
    return Content.styled(f"▲ {count}"[:width], "$warning") if count else Content("")


def _progress(run: Run, width: int) -> Content:
    state = run.state
    total = state.total_steps
    if run.status == "queued":
        return Content.styled(f"{ordinal(run.place)} in line" if run.place else "queued", "$secondary")
    if run.status not in ("running", "paused"):
        whole = total and state.step < total
        text = f"{state.step:,}/{total:,}" if whole else f"{state.step:,}" if state.step else ""
        return Content.styled(text, "$secondary")
    if state.step == 0 or not total:
        return Content.styled(cut(one_line(state.phase) or "starting", width), "$secondary")
    percent = f"{state.step / total * 100:>3.0f}%"
    left = f" {rough(state.seconds_left)}" if state.seconds_left is not None else ""
    if width < 14:
        return Content.assemble((percent, "$foreground"), (left.replace(" min", "m"), "$secondary"))
    return Content.assemble(
        bar(state.step / total, width - 5 - (9 if width >= 22 else 0), SIGNS[run.status][1]),
        (f" {percent}", "$foreground"),
        (f"{left:<9}" if width >= 22 else "", "$secondary"),
    )


def _moved(run: Run, width: int) -> Content:
    del width
    moved = chosen_moved(run)
    if moved is None:
        return Content("")
    return Content.styled(
        f"{'▲' if moved >= 0 else '▼'} {figures.signed_value(moved)}", "$success" if moved >= 0 else "$error"
    )


def _speed(run: Run, width: int) -> Content:
    del width
    return Content.styled(figures.value(run.state.pairs_per_second), "$secondary") if run.state.steps else Content("")


def _date(run: Run, width: int) -> Content:
    if run.created is None:
        return Content("")
    form = "%m-%d %H:%M" if width > 6 else "%H:%M" if time.time() - run.created.timestamp() < _DAY else "%m-%d"
    return Content.styled(f"{run.created:{form}}", "$secondary")


def _begun(run: Run) -> float | None:
    return run.created.timestamp() if run.created else None


def _model(run: Run, width: int) -> Content:
    return Content.styled(cut(model_of(run), width), "$secondary")


def _tags(run: Run, width: int) -> Content:
    return Content.styled(cut(one_line(" ".join(f"#{tag}" for tag in run.labels.tags)), width), "$accent")


_COLUMNS = (
    RunColumn("status", "status", "status", 10, lambda run: run.status, _status, right=False, upwards=True),
    RunColumn("name", "run", "name", _NAME, lambda run: run.name.lower(), _names(_DATES[0]), right=False, upwards=True),
    RunColumn("alerts", "", "alerts", 3, lambda run: len(run.state.warnings), _alerts, right=False),
    RunColumn("progress", "steps", "steps", 24, lambda run: run.state.step, _progress, right=False, narrow=10),
    _quantity("loss", 6, _loss, upwards=True),
    _quantity("reward", 7),
    _quantity("margin", 7),
    _quantity("accuracy", 5),
    RunColumn("chosen", "chosen Δ", "chosen moved, in nats", 9, chosen_moved, _moved),
    _quantity("kl", 6, upwards=True),
    RunColumn("speed", "pairs/s", "pairs/s", 8, lambda run: run.state.pairs_per_second, _speed),
    RunColumn("date", "started", "started", 11, _begun, _date, narrow=6),
    RunColumn("model", "model", "model", 20, model_of, _model, right=False, upwards=True),
    RunColumn("tags", "tags", "tags", 16, lambda run: " ".join(run.labels.tags), _tags, right=False, upwards=True),
)
"""From left to right."""
_MATTER = (
    "status", "name", "progress", "alerts", "reward", "margin", "chosen", "accuracy", "date", "loss", "kl", "speed",
)  # fmt: skip
"""What there is room for first."""
_OFFERED = (
    "date", "name", "status", "progress", "loss", "margin", "accuracy", "chosen", "kl", "speed", "alerts", "model",
    "tags", "reward",
)  # fmt: skip
"""In the order in which they are offered for sorting."""
_BY_KEY = {column.key: column for column in _COLUMNS}


def column(key: str) -> RunColumn:
    """The column with this key; any other key is a metric."""
    return _BY_KEY.get(key) or metric_column(key)


def sortable(runs: Sequence[Run]) -> list[RunColumn]:
    """What the runs can be sorted by: the columns, then every metric that has none."""
    metrics = metrics_of(runs)
    keys = [key for key in _OFFERED if key != "reward" or "reward" in metrics]
    shown = {metric for key in _BY_KEY if key in QUANTITIES for metric in QUANTITIES[key].metrics}
    return [column(key) for key in (*keys, *(metric for metric in metrics if metric not in shown))]


@dataclass(frozen=True, slots=True)
class Listing:
    """Which runs the table shows: in the order of the column `sort`, those that `query` finds, `archived` ones too."""

    sort: str = "date"
    upwards: bool = False
    archived: bool = False
    query: str = ""

    def of(self, runs: Sequence[Run]) -> list[Run]:
        """Those of the runs that are shown, in their order; they come newest first."""
        shown = [run for run in runs if (self.archived or not run.labels.archived) and matches(run, self.query)]
        return (
            shown if (self.sort, self.upwards) == ("date", False) else arrange(shown, self.sort, upwards=self.upwards)
        )

    def sorted_by(self, key: str) -> Listing:
        """By this column; by the one it is sorted by already, the other way around."""
        upwards = not self.upwards if key == self.sort else column(key).upwards
        return replace(self, sort=key, upwards=upwards)


def fitting(runs: Sequence[Run], width: int, sort: str) -> list[tuple[RunColumn, int]]:
    """The columns that `width` cells have room for with the width of each; that of `sort` is always among them."""
    wanted = [*_MATTER, "model", *(["tags"] if any(run.labels.tags for run in runs) else [])]
    if not any(run.state.warnings for run in runs):
        wanted.remove("alerts")
    for some in ("kl", "reward"):
        if not any(final_of(run, some) is not None for run in runs):
            wanted.remove(some)
    if sort not in wanted[:3] and sort != "date":
        wanted = [*wanted[:3], sort, *(key for key in wanted[3:] if key != sort)]
    narrow = width < 116
    picked: dict[str, int] = {}
    room = width
    for key in wanted:
        candidate = column(key)
        takes = (candidate.narrow if narrow and candidate.narrow else candidate.width) + _GAP
        if takes <= room:
            picked[key], room = takes - _GAP, room - takes
    order = [*_BY_KEY, *(key for key in picked if key not in _BY_KEY)]
    columns = {key: column(key) for key in order if key in picked}
    room += _GAP  # The last column needs none after it.
    if "name" in picked:
        # All ids lose the same, or they could not be compared.
        for left_out in _DATES:
            longest = max((cell_len(_without(run, left_out)) for run in runs), default=0)
            if longest <= min(picked["name"] + room, _LONGEST_NAME):
                break
        columns["name"] = replace(columns["name"], shown=_names(left_out))
        picked["name"] = max(picked["name"], min(longest, picked["name"] + room, _LONGEST_NAME))
    return [(column, picked[key]) for key, column in columns.items()]


def header(columns: Sequence[tuple[RunColumn, int]], sort: str, *, upwards: bool, extra: str = "") -> Content:
    """The titles; that of the column that the runs are sorted by has an arrow. `extra` stands beside "run"."""
    cells = []
    for column, width in columns:
        title = f"{column.title} {extra}" if column.key == "name" and extra else column.title
        room = width - 1 if column.key == sort else width
        title = title if cell_len(title) <= room else title[:room].rstrip()
        if column.key == sort:
            text = Content.styled(f"{title}{'▴' if upwards else '▾'}", "$accent")
        else:
            text = Content.styled(title, "$secondary")
        cells.append(_aligned(text, width, right=column.right))
    return Content(" " * _GAP).join(cells)


def row(run: Run, columns: Sequence[tuple[RunColumn, int]]) -> Content:
    """A run's cells. Where it failed before there was anything to measure, the reason stands in place of figures."""
    reason = "" if run.state.steps or run.state.evals else _reason(run)
    cells = []
    for index, (column, width) in enumerate(columns):
        if reason and column.key not in ("status", "name", "alerts"):
            room = sum(width + _GAP for _, width in columns[index:]) - _GAP
            cells.append(_aligned(Content.styled(one_line(reason), "$foreground"), room, right=False))
            break
        cells.append(_aligned(column.shown(run, width), width, right=column.right))
    return Content(" " * _GAP).join(cells)


def _reason(run: Run) -> str:
    if run.status == "failed" and isinstance(run.state.end, Failed):
        return run.state.end.title
    return run.trouble if run.status == "lost" else ""


def _aligned(text: Content, width: int, *, right: bool) -> Content:
    text = text.truncate(width, ellipsis=True)
    blank = Content(" " * (width - text.cell_length))
    return blank + text if right else text + blank


def arrange(runs: Sequence[Run], sort: str, *, upwards: bool) -> list[Run]:
    """The runs in the order of a column; those that have no value there come last, whichever way it goes."""
    by = column(sort).value
    keyed = [(by(run), run) for run in runs]
    there = [(value, run) for value, run in keyed if value is not None and not _is_nan(value)]
    there.sort(key=lambda pair: pair[0], reverse=not upwards)
    kept = {run.id for _, run in there}
    return [*(run for _, run in there), *(run for _, run in keyed if run.id not in kept)]


def _is_nan(value: float | str) -> bool:
    return isinstance(value, float) and math.isnan(value)


def matches(run: Run, query: str) -> bool:
    """Whether every word of the query is in the run's name, tags, note, data sets, model, method or status."""
    config = run.config
    parts = [run.id, run.labels.name, run.labels.note, run.status, *(f"#{tag}" for tag in run.labels.tags)]
    if config is not None:
        parts += [config.model, config.method, *config.pairs]
    text = " ".join(parts).lower()
    return all(word in text for word in query.lower().split())


class RunTable(QuietLines, can_focus=True):
    """The runs to choose from. Highlighting one shows it, enter opens it. The order is that of the runs handed in."""

    DEFAULT_CSS = """
    RunTable { height: auto; max-height: 28%; min-height: 2; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g,home", "go(0)", "First run", show=False),
        Binding("G,end", "go(-1)", "Last run", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
    ]

    class Highlighted(Message):
        """Another run is highlighted."""

    class Opened(Message):
        """The highlighted run was clicked on."""

    @dataclass
    class SortAsked(Message):
        """The title of a column was clicked on."""

        key: str

    def __init__(self) -> None:
        super().__init__()
        self.current: str | None = None
        """The id of the highlighted run."""
        self._runs: list[Run] = []
        self._top = 0
        self._listing = Listing()

    def fill(self, runs: Sequence[Run], listing: Listing) -> None:
        """Shows these runs in this order, which is that of `listing`; the highlight stays on its run."""
        at = self._index()
        grown = len(runs) != len(self._runs)
        self._runs, self._listing = list(runs), listing
        if self.current not in {run.id for run in runs}:
            # Where the highlighted run went away, the one that took its place is the next best.
            self.current = runs[min(at, len(runs) - 1)].id if runs else None
            self.post_message(self.Highlighted())
        if grown:
            self.refresh(layout=True)
        self._redraw()

    @property
    def ids(self) -> list[str]:
        """The runs' ids, in their order."""
        return [run.id for run in self._runs]

    def go_to(self, run: str | None) -> bool:
        """Highlights the run with this id. Whether it is there."""
        if run not in self.ids:
            return False
        if run != self.current:
            self.current = run
            self.post_message(self.Highlighted())
            self._redraw()
        return True

    def move(self, steps: int) -> None:
        """Highlights a run further down, or up where negative."""
        if self._runs:
            self.go_to(self._runs[min(max(self._index() + steps, 0), len(self._runs) - 1)].id)

    def action_go(self, index: int) -> None:
        """Highlights the first or the last run."""
        if self._runs:
            self.go_to(self._runs[index].id)

    def action_page(self, pages: int) -> None:
        """Highlights a run a page further."""
        self.move(pages * max(self._height(), 1))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """A line a run below the titles."""
        del container, viewport, width
        return len(self._runs) + 1

    def _index(self) -> int:
        return next((index for index, run in enumerate(self._runs) if run.id == self.current), 0)

    def _height(self) -> int:
        return self.content_size.height - 1

    def _columns_width(self) -> int:
        return self.content_size.width - 2 * _MARGIN

    @on(events.Resize)
    def _redraw(self) -> None:
        height, at = self._height(), self._index()
        if height < 1:
            return
        self._top = min(max(self._top, at - height + 1), at, max(len(self._runs) - height, 0))
        columns = fitting(self._runs, self._columns_width(), self._listing.sort)
        last = min(self._top + height, len(self._runs))
        extra = f"{self._top + 1}–{last} of {len(self._runs)}" if last - self._top < len(self._runs) else ""
        lines = [
            Content(" " * _MARGIN) + header(columns, self._listing.sort, upwards=self._listing.upwards, extra=extra)
        ]
        for run in self._runs[self._top : last]:
            here = run.id == self.current
            line = Content.assemble(("▌" if here else " ", "$accent"), row(run, columns))
            if here:
                line = line.pad_right(max(self.content_size.width - line.cell_length, 0))
                line = line.stylize_before("on $block-cursor-background")
            lines.append(line)
        self.show(lines)

    def on_click(self, event: events.Click) -> None:
        """Highlights a run, opens the highlighted one, or sorts by a column."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            x = _MARGIN
            for column, width in fitting(self._runs, self._columns_width(), self._listing.sort):
                if x <= offset.x < x + width + 2:
                    self.post_message(self.SortAsked(column.key))
                x += width + 2
            return
        index = self._top + offset.y - 1
        if index < len(self._runs) and not self.go_to_or_open(self._runs[index].id):
            self.post_message(self.Opened())

    def go_to_or_open(self, run: str) -> bool:
        """Highlights a run; False where it was highlighted already."""
        return run != self.current and self.go_to(run)

    def on_mouse_scroll_down(self) -> None:
        """Highlights the next run."""
        self.move(1)

    def on_mouse_scroll_up(self) -> None:
        """Highlights the run before."""
        self.move(-1)


class RunSearch(SearchLine):
    """Words that must be in a run's name, tags, note, data sets, model, method or status."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down", "leave", "Back to the runs", priority=True),
        Binding("escape", "clear", "Clear the filter", priority=True),
    ]

    def on_mount(self) -> None:
        """Says what can be typed."""
        self.query_one(Input).placeholder = "words of name, #tag, note, data set, model, status"
