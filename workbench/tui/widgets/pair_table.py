"""The table of pairs. It makes only the lines that are on the screen, so that its size costs nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.pairs.pair import Pair
from workbench.tui.widgets.pair_cells import Cells, Column, cells, columns, heading, parts

_MARK = "▌"
_KEPT_CELLS = 2000


class PairTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Pairs, a line each, with a cursor. `positions` are the places in the data set of the lines shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Next pair", show=False),
        Binding("k,up", "move(-1)", "Previous pair", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("g,home", "end(False)", "First pair", show=False),
        Binding("G,end", "end(True)", "Last pair", show=False),
        Binding("enter", "open", "Open in Compare", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pair-table--head",
        "pair-table--mark",
        "pair-table--cursor",
        "pair-table--hover",
        "pair-table--dim",
        "pair-table--accepted",
        "pair-table--dropped",
        "pair-table--flagged",
    }
    DEFAULT_CSS = """
    PairTable {
        scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: auto;
        & > .pair-table--head { color: $secondary; }
        & > .pair-table--mark { color: $border; }
        & > .pair-table--cursor { background: $block-cursor-background 55%; }
        & > .pair-table--hover { background: $surface; }
        & > .pair-table--dim { color: $secondary; }
        & > .pair-table--accepted { color: $success; }
        & > .pair-table--dropped { color: $error; }
        & > .pair-table--flagged { color: $warning; }
        &:focus > .pair-table--mark { color: $accent; }
        &:focus > .pair-table--cursor { background: $block-cursor-background; }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    """The line that the cursor is on, from 0."""

    class Highlighted(Message):
        """The cursor is on another pair, or the pair under it was replaced."""

        def __init__(self, position: int | None) -> None:
            """`position` is the pair's place in the data set; None where no line is shown."""
            super().__init__()
            self.position = position

        def can_replace(self, message: Message) -> bool:
            """Of several moves in a row, the last is what matters."""
            return isinstance(message, type(self))

    class Opened(Message):
        """Enter, or a double click, on a pair."""

        def __init__(self, position: int) -> None:
            super().__init__()
            self.position = position

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._pair_at: Callable[[int], Pair] | None = None
        self._positions: Sequence[int] = ()
        self._total = 0
        self._columns: list[Column] = []
        self._cells: dict[int, tuple[Pair, Cells]] = {}
        self._hover = -1
        self._base = Style.null()
        self._styles_of: dict[str, Style] = {}

    @property
    def positions(self) -> Sequence[int]:
        """The places in the data set of the lines, from top to bottom."""
        return self._positions

    @property
    def position(self) -> int | None:
        """The place in the data set of the pair under the cursor."""
        return self._positions[self.cursor] if self._positions else None

    def show(
        self, positions: Sequence[int], *, pair_at: Callable[[int], Pair], total: int, keep: int | None = None
    ) -> None:
        """Shows the pairs at `positions` (ascending) of a data set of `total` pairs.

        The cursor goes to the pair at the place `keep`, or to the next one shown after it.
        """
        offset = self.cursor - round(self.scroll_y)
        self._positions, self._pair_at, self._total = positions, pair_at, total
        self._cells.clear()
        self._lay_out()
        line = 0 if keep is None else bisect_left(positions, keep)
        self.set_reactive(PairTable.cursor, self.validate_cursor(line))
        self.scroll_to(y=max(0, self.cursor - offset), animate=False, immediate=True)
        self._keep_in_view()
        self.refresh()
        self.post_message(self.Highlighted(self.position))

    def refresh_pair(self, position: int) -> None:
        """Shows the pair at a place of the data set anew."""
        if position == self.position:
            self._refresh_line(self.cursor)
            self.post_message(self.Highlighted(position))
        else:
            self.refresh()

    def go_to(self, line: int) -> None:
        """Puts the cursor on a line, or the nearest there is."""
        self.cursor = line

    def validate_cursor(self, line: int) -> int:
        """The nearest line that exists."""
        return max(0, min(line, len(self._positions) - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        """Shows the cursor in its new place and tells of it."""
        self._refresh_line(before)
        self._refresh_line(now)
        self._keep_in_view()
        self.post_message(self.Highlighted(self.position))

    def action_move(self, lines: int) -> None:
        """Moves the cursor."""
        self.cursor += lines

    def action_page(self, pages: int) -> None:
        """Moves the cursor by screens."""
        self.cursor += pages * max(1, self.size.height - 2)

    def action_end(self, last: bool) -> None:
        """Moves the cursor to the first or the last line."""
        self.cursor = len(self._positions) - 1 if last else 0

    def action_open(self) -> None:
        """Opens the pair under the cursor."""
        if self.position is not None:
            self.post_message(self.Opened(self.position))

    def on_resize(self) -> None:
        """Fits the columns to the new width."""
        self._lay_out()
        self._keep_in_view()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Shows which line a click would take."""
        self._hover_on(self._line_under(event))

    def on_leave(self) -> None:
        """Shows no such line."""
        self._hover_on(-1)

    def on_click(self, event: events.Click) -> None:
        """Moves the cursor; a double click opens the pair."""
        if 0 <= (line := self._line_under(event)) < len(self._positions):
            self.cursor = line
            if event.chain == 2:
                self.action_open()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines that are to be painted, in the colours of the moment."""
        self._base = self.rich_style
        self._styles_of = {
            name.removeprefix("pair-table--"): self.get_component_rich_style(name, partial=True)
            for name in self.COMPONENT_CLASSES
        }
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """The heading, or the line of a pair."""
        width = self.size.width
        if y == 0:
            head = Segment(f" {heading(self._columns)}", self._base + self._styles_of["head"])
            return Strip([head]).adjust_cell_length(width, self._base)
        line = round(self.scroll_y) + y - 1
        if line >= len(self._positions):
            return Strip.blank(width, self._base)
        return self._line(line, width)

    def _line(self, line: int, width: int) -> Strip:
        position = self._positions[line]
        assert self._pair_at is not None
        pair = self._pair_at(position)
        known = self._cells.get(position)
        if known is None or known[0] is not pair:
            if len(self._cells) > _KEPT_CELLS:
                self._cells.clear()
            known = self._cells[position] = (pair, cells(pair, position + 1))
        style = self._base
        if line == self.cursor:
            style += self._styles_of["cursor"]
        elif line == self._hover:
            style += self._styles_of["hover"]
        dim = style + self._styles_of["dim"]
        styles = {
            "status": style + self._styles_of[_STATUS_STYLES[pair.status]],
            "prompt": dim if pair.status == "dropped" else style,
        }
        mark = Segment(_MARK if line == self.cursor else " ", style + self._styles_of["mark"])
        texts = [Segment(text, styles.get(name, dim)) for name, text in parts(self._columns, known[1])]
        return Strip([mark, *texts]).adjust_cell_length(width, style)

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width or self.size.width
        # A column for the cursor's mark, and one between the last column and the scrollbar.
        self._columns = columns(max(1, width - 2), self._total)
        self.virtual_size = Size(width, len(self._positions) + 1)
        self.refresh()

    def _keep_in_view(self) -> None:
        visible = max(1, self.size.height - 1)
        top = round(self.scroll_y)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + visible:
            self.scroll_to(y=self.cursor - visible + 1, animate=False, immediate=True)

    def _refresh_line(self, line: int) -> None:
        y = line - round(self.scroll_y) + 1
        if 1 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _line_under(self, event: events.MouseEvent) -> int:
        return -1 if event.y < 1 else event.y - 1 + round(self.scroll_y)

    def _hover_on(self, line: int) -> None:
        before, self._hover = self._hover, line
        if before != line:
            self._refresh_line(before)
            self._refresh_line(line)


_STATUS_STYLES = {"new": "dim", "accepted": "accepted", "dropped": "dropped", "flagged": "flagged"}
