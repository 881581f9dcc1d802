"""Fields to edit untrusted text in: what a terminal would obey is shown as a symbol, and saved as it was."""

from __future__ import annotations

from textual import events
from textual.widgets import Input, TextArea

from workbench.text import editable, edited


class TextField(TextArea):
    """Some lines of text. `content` is the text as it is on disk, `text` as it is shown."""

    def __init__(self, content: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(editable(content), id=id, soft_wrap=True, tab_behavior="focus", compact=True)
        self._original = content

    @property
    def content(self) -> str:
        """The text, edited or not."""
        return edited(self.text)

    @property
    def changed(self) -> bool:
        """Whether it differs from what it was."""
        return self.content != self._original

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
