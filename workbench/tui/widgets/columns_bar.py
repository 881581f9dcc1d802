"""The columns of a comparison on one line: click on one to put it beside the base."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click
from textual.message import Message

from workbench.compare import formatting
from workbench.text import one_line
from workbench.tui.widgets.comparison_lines import ComparisonLines

_NAME_LENGTHS = (40, 32, 24, 18, 14, 10, 7)


class ColumnsBar(ComparisonLines):
    """base │ run │ …, the one beside the base marked, each with the probability of the answer in view."""

    DEFAULT_CSS = "ColumnsBar { height: 1; padding: 0 1; background: $panel; }"

    @dataclass
    class Picked(Message):
        """The column with this number was clicked on."""

        column: int

    @dataclass
    class AddClicked(Message):
        """A column is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: list[int] = []

    def lines(self, width: int) -> list[Content]:
        """The one line."""
        for room in _NAME_LENGTHS:
            line = self._line(room)
            if line.cell_length <= width:
                break
        hint = "+ add a column"
        if line.cell_length + cell_len(hint) + 3 <= width:
            line = Content.assemble(line, " " * (width - line.cell_length - cell_len(hint)), (hint, "$secondary"))
        return [line.truncate(width, ellipsis=True)]

    def _line(self, room: int) -> Content:
        """All columns, their names cut to `room` cells."""
        comparison, parts, end = self._comparison, [], 0
        self._ends = []
        for number, column in enumerate(comparison.columns):
            current = number == comparison.current and number > 0
            part = Content.assemble(
                ("▸ " if current else "", "$accent"),
                (one_line(column.name, room), "bold $accent" if current else "bold" if number == 0 else "$secondary"),
                self._chance(number),
                self._system_size(number),
            )
            parts.append(part)
            end += part.cell_length + 3
            self._ends.append(end)
        return Content.styled(" │ ", "$border").join(parts)

    def on_click(self, event: Click) -> None:
        """Picks the column under the pointer, or asks for another at the right end."""
        x = event.get_content_offset(self)
        if x is None:
            return
        number = next((number for number, end in enumerate(self._ends) if x.x < end), None)
        if number is None:
            self.post_message(self.AddClicked())
        elif number:
            self.post_message(self.Picked(number))

    def _chance(self, number: int) -> Content:
        """The answer's probability, where more columns are there than the headline tells of."""
        answer, name = self._comparison.answer, self._comparison.columns[number].name
        scored = answer.under(name) if answer is not None and len(self._comparison.columns) > 2 else None
        if answer is None or scored is None:
            return Content("")
        base = answer.under(self._comparison.base.name)
        sign = formatting.direction(scored.sum - base.sum).strip() if base is not None and number else ""
        color = "$success" if sign == "▲" else "$error"
        return Content.assemble("  ", formatting.probability(scored.sum), (f" {sign}" if sign else "", color))

    def _system_size(self, number: int) -> Content:
        """How many tokens the column's system message costs."""
        column = self._comparison.columns[number]
        cost = self._comparison.costs.get(column.name)
        if cost is None or column.system is None:
            return Content("")
        return Content.styled(f" (+{cost.extra} tokens)", "$secondary")
