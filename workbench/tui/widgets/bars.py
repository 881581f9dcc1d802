"""The likeliest tokens at one place, base beside aligned, as bars to an eighth of a cell."""

from __future__ import annotations

import math

from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Size

from workbench.compare import figures
from workbench.compare.places import Estimate, Row, visible
from workbench.text import cut, one_line
from workbench.tui.widgets.lines import Lines
from workbench.tui.widgets.token_layout import spelled

_NUMBER = 6
_CHANGE = 9
_WIDEST_TOKEN, _NARROWEST_TOKEN = 22, 11
_WIDEST_BAR = 60


class Bars(Lines):
    """One token a line: its name, a bar and a probability a column, and how its log-odds moved."""

    DEFAULT_CSS = "Bars { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Row] = []
        self._title = ""
        self._names: tuple[str, ...] = ()

    def show(self, title: str, names: tuple[str, ...], rows: list[Row]) -> None:
        """Shows `rows` under the columns' `names`, one or two."""
        if (title, names, rows) != (self._title, self._names, self._rows):
            self._title, self._names, self._rows = title, names, rows
            self.redraw()
            self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """All rows and the header."""
        del container, viewport, width
        return len(self._rows) + 1

    def lines(self, width: int) -> list[Content]:
        """The header, and as many rows as there is room for."""
        rows = visible(self._rows, max(self.content_size.height - 1, 0))
        return bar_lines(self._title, self._names, rows, width)

    def on_resize(self) -> None:
        """Other rows may fit."""
        self.redraw()


def bar_lines(title: str, names: tuple[str, ...], rows: list[Row], width: int) -> list[Content]:
    """The header and a line a row, at most `width` cells wide."""
    token = max([_NARROWEST_TOKEN, cell_len(title) + 1, *(cell_len(spelled(row.text)) + 4 for row in rows)])
    token = min(token, _WIDEST_TOKEN, width // 3)
    both = len(names) > 1
    room = width - token - (_CHANGE + 3 if both else 0)
    size = max(3, min(_WIDEST_BAR, room // len(names or (" ",)) - _NUMBER - 3))
    header = [(_padded(title, token), "$secondary")]
    for number, name in enumerate(names):
        style = "bold $accent" if number else "bold $foreground"
        header.append((_padded(one_line(name), size + _NUMBER + 3), style))
    if both:
        header.append(("Δ log-odds".rjust(_CHANGE + 3), "$secondary"))
    return [
        Content.assemble(*header).truncate(width),
        *(_row_line(row, token, size).truncate(width) for row in rows),
    ]


def _row_line(row: Row, token: int, size: int) -> Content:
    mark = "▸" if row.said else " "
    name = _padded(f"{mark} {spelled(row.text)}", token)
    parts: list[tuple[str, str]] = [(name, "bold $foreground" if row.said else "$foreground")]
    parts += _measured(row.base, size, "$secondary")
    if row.aligned is not None:
        parts += _measured(row.aligned, size, "$accent")
        parts.append((_change(row), _color(row)))
    return Content.assemble(*parts)


def _measured(estimate: Estimate, size: int, color: str) -> list[tuple[str, str]]:
    chance = math.exp(min(estimate.logprob, 0.0)) if estimate.exact else 0.0
    number = figures.share(estimate.logprob)
    number = number if estimate.exact or number.startswith("<") else f"<{number[1:]}"
    return [(figures.bar(chance, size), color if estimate.exact else "$border"), (f" {number:>{_NUMBER - 1}}   ", "")]


def _change(row: Row) -> str:
    change = row.change
    if change is None:
        return "·".rjust(_CHANGE + 3)
    bound = "" if row.base.exact and row.aligned is not None and row.aligned.exact else "≥ " if change > 0 else "≤ "
    told = f"{figures.direction(change)} {bound}{figures.signed(change)}"
    return told.rjust(_CHANGE + 3)


def _color(row: Row) -> str:
    sign = figures.direction(row.change) if row.change is not None else " "
    return {"▲": "$success", "▼": "$error"}.get(sign, "$secondary")


def _padded(text: str, width: int) -> str:
    shown = cut(text, width - 1)
    return shown + " " * (width - cell_len(shown))
