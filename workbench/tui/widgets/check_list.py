"""A list of names to mark any number of, each with a note beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from workbench.text import cut, one_line, safe

_NAME_WIDTH = 26


class CheckList(OptionList):
    """Names with marks that can be told apart without colours. Names and notes may be untrusted."""

    DEFAULT_CSS = """
    CheckList {
        height: auto; max-height: 4; border: none; padding: 0; background: $panel; scrollbar-size-vertical: 1;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    CheckList:focus { border: none; background-tint: $foreground 3%; }
    CheckList > .option-list--option { padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "select", "Mark", show=False)]

    class Changed(Message):
        """Another set of names is marked."""

    def __init__(self, names: Sequence[str], marked: Sequence[str], *, id: str) -> None:  # noqa: A002
        super().__init__(markup=False, compact=True, id=id)
        self._names, self._marked = list(names), set(marked)
        self._notes: dict[str, tuple[str, str]] = {}
        self._weights: dict[str, str] = {}
        self.add_options([Option(self._line(name)) for name in self._names])

    def on_focus(self) -> None:
        """There is always a name that space marks."""
        if self.highlighted is None:
            self.action_first()

    @property
    def marked(self) -> list[str]:
        """The marked names, in the order of the list."""
        return [name for name in self._names if name in self._marked]

    def note(self, name: str, text: str, style: str = "$secondary") -> None:
        """Puts a note of one line beside a name."""
        self._notes[name] = safe(text), style
        self._refresh_line(self._names.index(name))

    def mark_with(self, weights: Mapping[str, str]) -> None:
        """Writes how often each of these counts behind its name, and nothing behind the others."""
        self._weights, before = dict(weights), self._weights
        for index, name in enumerate(self._names):
            if before.get(name) != weights.get(name):
                self._refresh_line(index)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Marks the name, or takes the mark away."""
        event.stop()
        self._marked ^= {self._names[event.option_index]}
        self._refresh_line(event.option_index)
        self.post_message(self.Changed())

    def _refresh_line(self, index: int) -> None:
        self.replace_option_prompt_at_index(index, self._line(self._names[index]))

    def _line(self, name: str) -> Content:
        mark = ("[✔] ", "$success") if name in self._marked else ("[ ] ", "$secondary")
        weight = f" ×{one_line(self._weights[name], 8)}" if self._weights.get(name) else ""
        shown = cut(one_line(name), _NAME_WIDTH - cell_len(weight))
        gap = " " * (_NAME_WIDTH + 2 - cell_len(shown + weight))
        return Content.assemble(mark, shown, (weight, "$accent"), gap, self._notes.get(name, ""))
