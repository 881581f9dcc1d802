"""A line for tags, with those that are known offered below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList

from workbench.pairs.as_text import tags_from_text, tags_to_text
from workbench.text import one_line
from workbench.tui.widgets.fields import LineField

_OFFERED = 6


class TagField(Vertical):
    """Tags parted by commas; `known` ones that go on as the last begins are below it, and tab writes one out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Write the tag out", priority=True),
        Binding("down", "move(1)", "Next tag", priority=True, show=False),
        Binding("up", "move(-1)", "Previous tag", priority=True, show=False),
    ]
    DEFAULT_CSS = """
    TagField {
        height: auto;
        LineField, LineField:focus { background: $panel; border: none; height: 1; padding: 0 1; }
        OptionList {
            height: 6; border: none; padding: 0; margin-bottom: 1; background: $surface; scrollbar-size-vertical: 0;
        }
    }
    """

    def __init__(self, tags: Sequence[str], known: Sequence[str]) -> None:
        super().__init__()
        self._tags, self._known = tags, known
        self._offered: list[str] = []

    def compose(self) -> ComposeResult:
        """Line and offers."""
        line = LineField()
        line.value = f"{tags_to_text(self._tags)}, " if self._tags else ""
        line.select_on_focus = False
        yield line
        offers = OptionList(compact=True, markup=False)
        offers.can_focus = False
        yield offers

    def on_mount(self) -> None:
        """Begins at the end of the line."""
        self._offer()

    @property
    def tags(self) -> tuple[str, ...]:
        """What was typed."""
        return tags_from_text(self.query_one(LineField).value)

    def on_input_changed(self) -> None:
        """Offers what goes on as the last tag begins."""
        self._offer()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Writes out what was clicked on."""
        event.stop()
        self._take(event.option_index)

    def action_move(self, by: int) -> None:
        """Moves to another offer."""
        offers = self.query_one(OptionList)
        if self._offered:
            offers.highlighted = ((offers.highlighted or 0) + by) % len(self._offered)

    def action_complete(self) -> None:
        """Writes the offer out."""
        self._take(self.query_one(OptionList).highlighted)

    def _take(self, number: int | None) -> None:
        if number is None or number >= len(self._offered):
            return
        line = self.query_one(LineField)
        before, comma, _ = line.value.rpartition(",")
        line.value = f"{before}{comma}{' ' if comma else ''}{tags_to_text([self._offered[number]])}, "
        line.cursor_position = len(line.value)

    def _offer(self) -> None:
        before, _, begun = self.query_one(LineField).value.rpartition(",")
        there, begun = tags_from_text(before), begun.strip().casefold()
        fitting = [tag for tag in self._known if tag not in there and begun in tag.casefold()]
        fitting.sort(key=lambda tag: not tag.casefold().startswith(begun))
        self._offered = fitting[:_OFFERED]
        offers = self.query_one(OptionList)
        offers.clear_options()
        offers.add_options(Content.styled(one_line(tag, 60), "$secondary") for tag in self._offered)
        offers.highlighted = 0 if self._offered else None
