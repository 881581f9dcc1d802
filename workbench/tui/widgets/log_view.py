"""The last lines of a worker's log, followed as it grows."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.text import safe

_TAIL_BYTES = 64 * 1024


def tail(path: Path, most: int) -> list[str]:
    """The last `most` lines of the file, safe to show; none where it does not exist.

    A progress bar rewrites its line with carriage returns: only what stood there last is kept.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(size - _TAIL_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = text.replace("\r\n", "\n").split("\n")
    if size > _TAIL_BYTES:
        lines = lines[1:]
    shown = [safe(line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in lines]
    while shown and not shown[-1]:
        shown.pop()
    return shown[-most:]


class LogView(VerticalScroll):
    """Shows lines and stays at the end of them, unless the user scrolled up."""

    DEFAULT_CSS = """
    LogView { height: 1fr; padding: 0 1; background: $surface; scrollbar-size-vertical: 1; }
    LogView Static { width: 100%; }
    """

    def __init__(self) -> None:
        super().__init__(id="log")
        self._lines: list[str] = []

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static("", markup=False)

    def show(self, lines: list[str]) -> None:
        """Shows these lines, which must be safe already."""
        if lines == self._lines and lines:
            return
        self._lines = lines
        at_end = self.scroll_offset.y >= self.max_scroll_y
        text = Content("\n".join(lines)) if lines else Content.styled("Nothing in worker.log yet.", "$secondary")
        self.query_one(Static).update(text)
        if at_end:
            self.call_after_refresh(self.scroll_end, animate=False)
