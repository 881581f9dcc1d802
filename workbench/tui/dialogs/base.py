"""What all dialogs share."""

from __future__ import annotations

from typing import Literal, TypeVar

from textual.await_complete import AwaitComplete
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList

T = TypeVar("T")


class Dialog(ModalScreen[T]):
    """A dialog that answers once. Its keys do nothing before its widgets are there, and nothing after the answer."""

    def __init__(self) -> None:
        super().__init__()
        self._answered = False
        self._answer: T | None = None

    @property
    def answered(self) -> bool:
        """Whether it was dismissed; it may still be on the screen for a moment."""
        return self._answered

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Closes the dialog with an answer; a second time does nothing. Below another dialog it waits for that one."""
        again, self._answered = self._answered, True
        if not again:
            self._answer = result
            # Textual would take away the dialog on top, whichever that is.
            if self.app.screen_stack[-1:] == [self]:
                return super().dismiss(result)
        return AwaitComplete()

    def on_screen_resume(self) -> None:
        """Closes, where it was dismissed below another dialog."""
        if self._answered:
            super().dismiss(self._answer)

    def action_scroll(self, lines: int) -> None:
        """Scrolls what is too long for the dialog."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_move(self, way: Literal["down", "up"]) -> None:
        """Moves to another of the choices while a line has the focus."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if way == "down" else options.action_cursor_up()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No action works on widgets that are not there yet, or not any more."""
        del action, parameters
        return self.is_mounted and not self._answered
