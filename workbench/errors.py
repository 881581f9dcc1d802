"""The one error type that a user ever sees."""

from __future__ import annotations


class WorkbenchError(Exception):
    """A failure told in three parts: what happened, why, and what to do about it.

    `title` is one line; `message` names the file, line and field; `hint` is the way out.
    """

    def __init__(self, title: str, message: str = "", hint: str = "") -> None:
        super().__init__(title, message, hint)
        self.title = title
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(part for part in (self.title, self.message, self.hint) if part)
