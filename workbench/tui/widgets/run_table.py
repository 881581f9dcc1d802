"""The table of runs: a line each, sorted by a column, one of them highlighted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message

from workbench.tui.feed import Run
from workbench.tui.widgets.quiet_lines import QuietLines
from workbench.tui.widgets.run_columns import fitting, header, row

_MARGIN = 1
"""Cells before the first column: the sign of the highlighted run stands there."""


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
        self._sort, self._upwards = "date", False

    def fill(self, runs: Sequence[Run], sort: str, *, upwards: bool) -> None:
        """Shows these runs in this order, which is that of a column; the highlight stays on its run."""
        at = self._index()
        grown = len(runs) != len(self._runs)
        self._runs, self._sort, self._upwards = list(runs), sort, upwards
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

    def _redraw(self) -> None:
        height, at = self._height(), self._index()
        if height < 1:
            return
        self._top = min(max(self._top, at - height + 1), at, max(len(self._runs) - height, 0))
        columns = fitting(self._runs, self._columns_width(), self._sort)
        last = min(self._top + height, len(self._runs))
        extra = f"{self._top + 1}–{last} of {len(self._runs)}" if last - self._top < len(self._runs) else ""
        lines = [Content(" " * _MARGIN) + header(columns, self._sort, upwards=self._upwards, extra=extra)]
        for run in self._runs[self._top : last]:
            here = run.id == self.current
            line = Content.assemble(("▌" if here else " ", "$accent"), row(run, columns))
            if here:
                line = line.pad_right(max(self.content_size.width - line.cell_length, 0))
                line = line.stylize_before("on $block-cursor-background")
            lines.append(line)
        self.show(lines)

    def on_resize(self) -> None:
        """Fits the columns to the new width."""
        self._redraw()

    def on_click(self, event: events.Click) -> None:
        """Highlights a run, opens the highlighted one, or sorts by a column."""
        place = event.get_content_offset(self)
        if place is None:
            return
        if place.y == 0:
            x = _MARGIN
            for column, width in fitting(self._runs, self._columns_width(), self._sort):
                if x <= place.x < x + width + 2:
                    self.post_message(self.SortAsked(column.key))
                x += width + 2
            return
        index = self._top + place.y - 1
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
