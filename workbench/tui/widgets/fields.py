"""What dialogs are made of: fields to edit untrusted text in, and lists to choose from.

What a terminal would obey is shown as a symbol, and saved as it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, OptionList, TextArea
from textual.widgets.option_list import Option

from workbench.text import cut, editable, edited, one_line, safe


class TextField(TextArea):
    """Some lines of text. `content` is the text as it is on disk, `text` as it is shown."""

    def __init__(self, content: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(editable(content), id=id, soft_wrap=True, tab_behavior="focus", compact=True)

    @property
    def content(self) -> str:
        """The text, edited or not."""
        return edited(self.text)

    def on_resize(self) -> None:
        """Paints the lines as they now wrap: a TextArea wraps them anew and leaves the old ones on the screen."""
        self.refresh()

    def on_paste(self, event: events.Paste) -> None:
        """Makes pasted text safe to show before it goes in."""
        event.text = editable(event.text)


class LineField(Input):
    """One line of text. `content` is the text as it is on disk, `value` as it is shown."""

    def __init__(self, content: str = "", *, placeholder: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__(editable(content, one_line=True), placeholder=placeholder, id=id, compact=True)

    @property
    def content(self) -> str:
        """The text, edited or not."""
        return edited(self.value)

    def on_paste(self, event: events.Paste) -> None:
        """Makes pasted text safe to show before it goes in."""
        event.text = editable(" ".join(event.text.splitlines()), one_line=True)


class PathField(LineField):
    """The name of a file; → writes out what is offered."""

    def __init__(self, content: str = "", *, placeholder: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__(content, placeholder=placeholder, id=id)
        self.suggester = _Files()

    @property
    def path(self) -> Path | None:
        """What was typed, "~" and all; None where that is nothing."""
        typed = self.content.strip()
        return Path(typed).expanduser() if typed else None


class _Files(Suggester):
    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The first name in the folder that goes on as `value` does; a folder's ends with a slash."""
        folder, slash, begun = value.rpartition("/")
        try:
            with os.scandir(Path(folder + slash).expanduser() if folder + slash else ".") as found:
                names = sorted(
                    each.name + ("/" if each.is_dir() else "") for each in found if each.name.startswith(begun)
                )
        except (OSError, ValueError):
            return None
        fitting = [name for name in names if name.isprintable() and not (name.startswith(".") and not begun)]
        return f"{folder}{slash}{fitting[0]}" if fitting else None


class Options(OptionList):
    """As wide as the dialog and as high as its lines; j and k move the cursor too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
    ]
    DEFAULT_CSS = """
    Options { height: auto; padding: 0; margin-bottom: 1; }
    Options, Options:focus { border: none; background: $surface; }
    Options > .option-list--option { text-wrap: nowrap; text-overflow: ellipsis; }
    """


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
