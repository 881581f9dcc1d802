"""A widget of lines that sends to the terminal only the cells that changed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style as RichStyle
from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget


class QuietLines(Widget):
    """Shows the lines handed in with `show`; as high as they are many, unless CSS says otherwise.

    Textual repaints a whole widget where something in it changed. Over a slow link that is most of what a live
    screen costs, so this one compares the new lines with the old, cell by cell.
    """

    DEFAULT_CSS = "QuietLines { width: 1fr; height: auto; }"

    def __init__(self, *, name: str | None = None, id: str | None = None) -> None:  # noqa: A002
        super().__init__(name=name, id=id)
        self.content_lines: list[Content] = []
        self._strips: list[Strip] = []
        self._drawn_for: tuple[object, ...] | None = None

    def show(self, lines: Sequence[Content]) -> None:
        """Shows these lines, each without line breaks."""
        if lines == self.content_lines:
            return
        before, self.content_lines = len(self.content_lines), list(lines)
        if self._drawn_for is None or self._drawn_for != self._key():
            self._drawn_for = None
            self.refresh(layout=before != len(lines))
            return
        old, self._strips = self._strips, self._drawn()
        if before != len(lines):
            self.refresh(layout=True)
            return
        changed = []
        for y, (was, now) in enumerate(zip(old, self._strips, strict=True)):
            if was != now and (span := _changed(was, now)):
                # Textual writes whole segments: they are cut where the change begins and ends.
                self._strips[y] = Strip.join(now.divide([span[0], span[1], now.cell_length]))
                changed.append(Region(span[0], y, span[1] - span[0], 1))
        if changed:
            self.refresh(*changed)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many as there are lines."""
        del container, viewport, width
        return len(self.content_lines)

    def render_line(self, y: int) -> Strip:
        """One line, or a blank one below the last."""
        if self._drawn_for is None or self._drawn_for != self._key():
            self._drawn_for, self._strips = self._key(), self._drawn()
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.content_size.width, self.visual_style.rich_style)

    def _key(self) -> tuple[object, ...]:
        return self.content_size.width, self.visual_style, self.app.theme

    def _drawn(self) -> list[Strip]:
        width, style = self.content_size.width, self.visual_style
        blank = Strip.blank(width, style.rich_style)
        drawn = []
        for line in self.content_lines:
            strips = Visual.to_strips(self, line.truncate(width), width, 1, style)
            drawn.append(strips[0].adjust_cell_length(width, style.rich_style) if strips else blank)
        return drawn


def _changed(was: Strip, now: Strip) -> tuple[int, int] | None:
    """The first cell that differs and the one after the last; None where all are the same."""
    before, after = _cells(was), _cells(now)
    if len(before) != len(after):
        return 0, len(after)
    differ = [x for x, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    if not differ:
        return None
    first, last = differ[0], differ[-1] + 1
    if any(len(cell) > 1 for cells in (before, after) for cell, _ in cells[first:last]):
        return 0, len(after)  # Where a line is cut, marks go with the letter that follows theirs.
    # A character that is two cells wide is never cut in two.
    while first > 0 and after[first][0] == "":
        first -= 1
    while last < len(after) and after[last][0] == "":
        last += 1
    return first, last


def _cells(strip: Strip) -> list[tuple[str, RichStyle | None]]:
    """Character and style of every cell; the second cell of a wide character has none."""
    cells: list[tuple[str, RichStyle | None]] = []
    before = ""
    for text, style, _ in strip:
        if text.isascii() and not before:
            cells.extend((letter, style) for letter in text)
            continue
        for letter in text:
            width = cell_len(letter)
            if width:
                cells.append((before + letter, style))
                before = ""
                cells.extend([("", style)] * (width - 1))
            elif cells:
                cells[-1] = (cells[-1][0] + letter, style)
            else:
                before += letter
    return cells
