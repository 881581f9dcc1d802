"""A widget that is a list of lines made for its width, as high as they are many."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.geometry import Size
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget


class Lines(Widget):
    """Subclasses give `lines`, each at most `width` cells wide, and call `redraw` when they would differ.

    Only the lines in sight are rendered.
    """

    DEFAULT_CSS = "Lines { width: 1fr; height: auto; text-wrap: nowrap; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._drawn: tuple[int, list[Content]] | None = None

    def lines(self, width: int) -> list[Content]:
        """What to show in `width` cells."""
        del width
        return []

    def count(self, width: int) -> int:
        """How many lines there are in `width` cells."""
        return len(self._fitted(width))

    def line(self, width: int, number: int) -> Content:
        """One of them."""
        return self._fitted(width)[number]

    def redraw(self) -> None:
        """Has `lines` asked anew."""
        width = self.content_size.width
        before, self._drawn = self.content_size.height, None
        self.refresh(layout=self.count(width) != before)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many as there are lines."""
        del container, viewport
        return self.count(width)

    def render_line(self, y: int) -> Strip:
        """One line, or a blank one below the last."""
        width = self.content_size.width
        if y >= self.count(width):
            return Strip.blank(width, self.rich_style)
        strips = Visual.to_strips(self, self.line(width, y), width, 1, self.visual_style)
        return strips[0] if strips else Strip.blank(width, self.rich_style)

    def _fitted(self, width: int) -> list[Content]:
        if self._drawn is None or self._drawn[0] != width:
            self._drawn = (width, self.lines(width))
        return self._drawn[1]


class MadeLines(Lines):
    """Lines that a function makes for a width."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._make: Callable[[int], list[Content]] = lambda _: []

    def show(self, make: Callable[[int], list[Content]]) -> None:
        """Shows what `make` gives for a width in cells."""
        self._make = make
        self.redraw()

    def lines(self, width: int) -> list[Content]:
        """What was made."""
        return self._make(width)
