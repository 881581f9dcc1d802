"""The conversation of a pair and its two responses, scrollable."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.pairs.pair import Pair
from workbench.tui.widgets.pair_layout import Layout, Marks, lay_out


class PairText(ScrollView, can_focus=False):
    """Lines of a pair, laid out for the width there is; only those on the screen are painted."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"pair-text--{name}"
        for name in ("text", "dim", "role", "rule", "chosen", "rejected", "added", "removed", "plus", "minus")
    }
    DEFAULT_CSS = """
    PairText {
        padding: 0 0 0 1; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: scroll;
        & > .pair-text--dim { color: $secondary; }
        & > .pair-text--role { color: $accent; }
        & > .pair-text--rule { color: $border; }
        & > .pair-text--chosen { color: $success; text-style: bold; }
        & > .pair-text--rejected { color: $error; text-style: bold; }
        & > .pair-text--added { color: $success; }
        & > .pair-text--removed { color: $error; }
        & > .pair-text--plus { color: $success; text-style: bold; }
        & > .pair-text--minus { color: $error; text-style: bold; }
    }
    """

    # Without Textual's `layout=True`: another pair would lay out, and then paint, every scrollbar of the screen again.
    virtual_size: Reactive[Size] = Reactive(Size(0, 0))

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._pair: Pair | None = None
        self._marks: Marks | None = None
        self._tokens: tuple[int, int] | None = None
        self._layout: Layout | None = None
        self._styles_of: dict[str, Style] = {}

    def show(self, pair: Pair | None, marks: Marks | None, tokens: tuple[int, int] | None = None) -> None:
        """Shows a pair, scrolled so that its last user turn and the beginning of the responses can be seen."""
        another = pair is None or self._pair is None or pair.id != self._pair.id
        self._pair, self._marks, self._tokens = pair, marks, tokens
        self._lay_out()
        if another:
            self.scroll_to(y=self._start(), animate=False, immediate=True)

    def on_resize(self) -> None:
        """Lays the pair out for the new width."""
        self._lay_out()
        self.scroll_to(y=self._start(), animate=False, immediate=True)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines that are to be painted, in the colours of the moment."""
        base = self.rich_style
        self._styles_of = {
            name.removeprefix("pair-text--"): base + self.get_component_rich_style(name, partial=True)
            for name in self.COMPONENT_CLASSES
        }
        self._styles_of[""] = base
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of the pair."""
        line = round(self.scroll_y) + y
        lines = self._layout.lines if self._layout else []
        runs = lines[line] if line < len(lines) else []
        strip = Strip([Segment(text, self._styles_of[name]) for name, text in runs])
        return strip.adjust_cell_length(self.size.width, self._styles_of[""])

    def _lay_out(self) -> None:
        width = max(4, self.size.width - 1)
        self._layout = lay_out(self._pair, width, self._marks, self._tokens) if self._pair else None
        self.virtual_size = Size(width, len(self._layout.lines) if self._layout else 0)
        self.refresh()

    def watch_virtual_size(self, size: Size) -> None:
        """Gives the scrollbar its new length; it is always there, as to come or go it would lay the screen out anew."""
        self.vertical_scrollbar.window_virtual_size = size.height

    def _start(self) -> int:
        if self._layout is None:
            return 0
        third = self.size.height // 3
        return (
            max(min(self._layout.question, self._layout.responses), self._layout.responses - third)
            if (self._layout.responses > third)
            else 0
        )
