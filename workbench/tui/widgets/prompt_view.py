"""A prompt, turn by turn, each with its role before it."""

from __future__ import annotations

from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message

from workbench.compare.messages import Column, Prompt, Turn
from workbench.text import one_line, safe
from workbench.tui.widgets.lines import Lines

_ROLE = 11


class PromptView(Lines):
    """Roles dim at the left, their words wrapped beside them. A column's own system message comes first."""

    DEFAULT_CSS = "PromptView:hover { background: $surface; }"

    class Clicked(Message):
        """The prompt is to be changed."""

    def __init__(self) -> None:
        super().__init__()
        self._turns: list[tuple[str, str, bool]] = []

    def show(self, prompt: Prompt, column: Column | None) -> None:
        """Shows a prompt, and the system message that `column` puts before it."""
        turns = [Turn(role="text", content=prompt)] if isinstance(prompt, str) else prompt
        shown = [(turn.role, turn.content, False) for turn in turns]
        if column is not None and column.system:
            shown.insert(0, ("+ system", column.system, True))
        if shown != self._turns:
            self._turns = shown
            self.redraw()
            self.call_after_refresh(self._show_end)

    def lines(self, width: int) -> list[Content]:
        """Every turn, wrapped."""
        shown: list[Content] = []
        for role, words, added in self._turns:
            style = "$secondary" if added else "$foreground"
            label = one_line(role, _ROLE - 2).ljust(_ROLE)
            for part in wrapped(words, width - _ROLE):
                shown.append(Content.assemble((label, "$secondary"), part.stylize(style)))
                label = " " * _ROLE
        return shown

    def _show_end(self) -> None:
        """The last turn is the one that is answered."""
        if isinstance(self.parent, VerticalScroll):
            self.parent.scroll_end(animate=False)

    def on_click(self, event: Click) -> None:
        """Asks for a change."""
        event.stop()
        self.post_message(self.Clicked())


def wrapped(text: str, width: int) -> list[Content]:
    """Untrusted text in lines of at most `width` cells."""
    lines = safe(text).strip("\n").split("\n")
    return [part for line in lines for part in Content(line).wrap(max(width, 1), overflow="fold")]
