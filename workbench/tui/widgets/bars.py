"""The likeliest next tokens, base beside aligned, as bars; and the line in which a prefix is forced before them."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Input, Static

from workbench import figures
from workbench.compare.comparison import Comparison
from workbench.compare.measures import NextTokenRow, visible_rows
from workbench.text import cut, editable, one_line
from workbench.tui.widgets.fields import LineField
from workbench.tui.widgets.lines import Lines
from workbench.tui.widgets.token_strip import spelled

_NUMBER = 6
_CHANGE = 9
_WIDEST_TOKEN, _NARROWEST_TOKEN = 22, 11
_WIDEST_BAR = 60
_AROUND = 2
"""Lines above and below the bars: the names, and how wide the columns spread."""


class Bars(Lines):
    """One token a line: its name, a bar and a probability a column, and how its log-odds moved.

    Below them, the entropy of both columns and how far apart they are.
    """

    DEFAULT_CSS = "Bars { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self._comparison = Comparison()
        self._seen: tuple[object, ...] = ()
        self._rows: list[NextTokenRow] = []
        self._cursor: int | None = None
        self._thick = self._few_words = False

    def show(
        self, comparison: Comparison, *, cursor: int | None = None, thick: bool = False, few_words: bool = False
    ) -> None:
        """Shows what the columns might say at the position inspected; one row may be under a `cursor`.

        `thick`: two lines a row, for people who sit far away. `few_words`: the bars alone.
        """
        seen = (comparison.inspected, comparison.columns, comparison.current, cursor, thick, few_words)
        if seen != self._seen:
            self._seen, self._comparison, self._rows, self._cursor = seen, comparison, comparison.rows, cursor
            self._thick, self._few_words = thick, few_words
            self.visible = bool(self._rows)
            self.redraw()

    @property
    def row(self) -> NextTokenRow | None:
        """The row under the cursor."""
        rows = visible_rows(self._rows, self._room())
        return rows[min(self._cursor, len(rows) - 1)] if rows and self._cursor is not None else None

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """All rows and what is around them."""
        del container, viewport, width
        return len(self._rows) * (2 if self._thick else 1) + _AROUND

    def lines(self, width: int) -> list[Content]:
        """The header, as many rows as there is room for, and the spread."""
        comparison = self._comparison
        names = tuple(column.name for column in (comparison.base, comparison.aligned) if column is not None)
        title = comparison.inspected.title if comparison.inspected is not None else ""
        rows = visible_rows(self._rows, self._room())
        cursor = None if self._cursor is None else min(self._cursor, len(rows) - 1)
        shown = bar_lines(title, names, rows, width, cursor=cursor, thick=self._thick)
        spread = None if self._few_words else spread_line(comparison, width)
        return [*shown, spread] if spread is not None else shown

    def on_resize(self) -> None:
        """Other rows may fit."""
        self.redraw()

    def _room(self) -> int:
        return max(self.content_size.height - _AROUND, 0) // (2 if self._thick else 1)


def bar_lines(
    title: str,
    names: tuple[str, ...],
    rows: list[NextTokenRow],
    width: int,
    *,
    cursor: int | None = None,
    thick: bool = False,
) -> list[Content]:
    """The header and a line a row, or two, at most `width` cells wide."""
    token = max([_NARROWEST_TOKEN, cell_len(title) + 1, *(cell_len(spelled(row.text)) + 4 for row in rows)])
    token = min(token, _WIDEST_TOKEN, width // 3)
    both = len(names) > 1
    room = width - token - (_CHANGE + 3 if both else 0)
    size = max(3, min(_WIDEST_BAR, room // len(names or (" ",)) - _NUMBER - 3))
    header = [(_padded(one_line(title), token), "$secondary")]
    for number, name in enumerate(names):
        style = "bold $accent" if number else "bold $foreground"
        header.append((_padded(one_line(name), size + _NUMBER + 3), style))
    if both:
        header.append(("Δ log-odds".rjust(_CHANGE + 3), "$secondary"))
    lines = [Content.assemble(*header).truncate(width)]
    for number, row in enumerate(rows):
        lines.append(_row_line(row, token, size, under_cursor=number == cursor).truncate(width))
        if thick:
            lines.append(_second_line(row, token, size).truncate(width))
    return lines


def spread_line(comparison: Comparison, width: int) -> Content | None:
    """Entropy of base and aligned, and how far apart they are; None until that is known."""
    if comparison.spread is None:
        return None
    entropies, distance = comparison.spread
    told = " → ".join(figures.nats(each) for each in entropies)
    parts = [("entropy ", "$secondary"), (told, ""), (" nats", "$secondary")]
    if distance is not None and comparison.aligned is not None:
        names = f"   KL({one_line(comparison.aligned.name, 24)} ‖ {one_line(comparison.base.name, 24)}) "
        parts += [(names, "$secondary"), (figures.nats(distance), ""), (" nats", "$secondary")]
    return Content.assemble(*parts).truncate(width, ellipsis=True)


def _row_line(row: NextTokenRow, token: int, size: int, *, under_cursor: bool) -> Content:
    mark = "▸" if row.in_response else " "
    name = _padded(f"{mark} {spelled(row.text)}", token)
    style = "bold $background on $accent" if under_cursor else "bold $foreground" if row.in_response else "$foreground"
    parts: list[tuple[str, str]] = [(name.rstrip(), style), (" " * (len(name) - len(name.rstrip())), "")]
    parts += _measured(row.base, size, "$secondary")
    if row.aligned is not None and row.change is not None:
        parts += _measured(row.aligned, size, "$accent")
        sign = figures.direction(row.change)
        color = {"▲": "$success", "▼": "$error"}.get(sign, "$secondary")
        parts.append((f"{sign} {figures.nats_change(row.change)}".rjust(_CHANGE + 3), color))
    return Content.assemble(*parts)


def _second_line(row: NextTokenRow, token: int, size: int) -> Content:
    gap = " " * (_NUMBER + 3)
    parts = [(" " * token, ""), (_bar(row.base, size), "$secondary"), (gap, "")]
    if row.aligned is not None:
        parts.append((_bar(row.aligned, size), "$accent"))
    return Content.assemble(*parts)


def _measured(logprob: float, size: int, color: str) -> list[tuple[str, str]]:
    return [(_bar(logprob, size), color), (f" {figures.share(math.exp(min(logprob, 0.0))):>{_NUMBER - 1}}   ", "")]


def _bar(logprob: float, size: int) -> str:
    return figures.share_bar(math.exp(min(logprob, 0.0)), size)


def _padded(text: str, width: int) -> str:
    shown = cut(text, width - 1)
    return shown + " " * (width - cell_len(shown))


class PrefixLine(Horizontal):
    """Hidden until it is opened. What is typed is looked at as it stands; ↑↓ and enter take a token of the bars."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "say('take')", "Take the token", priority=True),
        Binding("down", "say('down')", "Next token", priority=True, show=False),
        Binding("up", "say('up')", "Token before", priority=True, show=False),
        Binding("tab", "say('go on')", "Let the columns go on", priority=True),
        Binding("escape", "say('close')", "Back", priority=True),
    ]
    DEFAULT_CSS = """
    PrefixLine {
        height: 1; display: none; padding: 0 1; background: $panel;
        &.-shown { display: block; }
        Static { width: auto; height: 1; }
        #begins { color: $accent; text-style: bold; padding: 0 1 0 0; }
        #how { color: $secondary; padding: 0 0 0 2; }
        LineField, LineField:focus {
            width: 1fr; height: 1; border: none; padding: 0; background: $panel; background-tint: $panel 0%;
        }
    }
    """

    class Typed(Message):
        """The answer is to begin with this text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class KeyPressed(Message):
        """A key that is no text."""

        def __init__(self, what: Literal["take", "down", "up", "go on", "close"]) -> None:
            super().__init__()
            self.what = what

    def __init__(self) -> None:
        super().__init__()
        self._written = ""

    def compose(self) -> ComposeResult:
        """Label, text, keys."""
        yield Static("the answer begins", id="begins", markup=False)
        yield LineField(placeholder="type, or take tokens")
        yield Static("↑↓ enter takes · tab goes on · esc", id="how", markup=False)

    def open(self) -> None:
        """Shows the line, empty, and types into it."""
        self.add_class("-shown")
        self.write("")
        self.query_one(LineField).focus()

    def close(self) -> None:
        """Hides it."""
        self.remove_class("-shown")
        self.screen.set_focus(None)

    def write(self, text: str) -> None:
        """Shows `text`, without asking about it."""
        field = self.query_one(LineField)
        self._written = editable(text, one_line=True)
        field.value = self._written
        field.cursor_position = len(field.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Asks about what was typed."""
        event.stop()
        if event.value != self._written:
            self._written = event.value
            self.post_message(self.Typed(self.query_one(LineField).content))

    def action_say(self, what: Literal["take", "down", "up", "go on", "close"]) -> None:
        """Hands the key on."""
        self.post_message(self.KeyPressed(what))
