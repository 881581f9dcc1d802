"""The tokens of an answer in running text, each coloured and signed by how its log-probability moved."""

from __future__ import annotations

from dataclasses import dataclass

from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.geometry import Region
from textual.message import Message

from workbench.compare.messages import ScoredColumn
from workbench.compare.tokens import deltas
from workbench.tui.widgets.lines import Lines
from workbench.tui.widgets.token_layout import Line, Piece, is_special, lay_out, line_of, token_at

STRONG, WEAK = 1.0, 0.1
"""Nats from which on a token's change is told loudly (▲ ▼), or softly (▵ ▿)."""


def sign(change: float) -> str:
    """▲ ▼ for a change of over a nat, ▵ ▿ for one of over a tenth, nothing for less."""
    if abs(change) < WEAK:
        return ""
    loud = abs(change) >= STRONG
    return ("▲" if loud else "▵") if change > 0 else ("▼" if loud else "▿")


class TokenStrip(Lines):
    """Neighbouring tokens differ a little in background, so that their bounds show. One may be under the cursor."""

    DEFAULT_CSS = "TokenStrip { width: 1fr; }"

    @dataclass
    class Picked(Message):
        """The token with this number was clicked on."""

        token: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._tokens: list[str] = []
        self._changes: list[float] = []
        self._cursor: int | None = None
        self._layout: tuple[int, list[Line]] | None = None

    def show(self, base: ScoredColumn | None, aligned: ScoredColumn | None, cursor: int | None) -> None:
        """Shows the tokens of an answer; `cursor` is the number of the one that is walked to."""
        tokens = [token.text for token in base.tokens] if base else []
        changes = deltas(aligned, base) if base and aligned else [0.0] * len(tokens)
        if (tokens, changes) != (self._tokens, self._changes):
            self._tokens, self._changes, self._layout = tokens, changes, None
        elif cursor == self._cursor:
            return
        self._cursor = cursor
        self.redraw()
        self.call_after_refresh(self._show_cursor)

    def count(self, width: int) -> int:
        """How many lines the tokens take."""
        return len(self._laid(width))

    def line(self, width: int, number: int) -> Content:
        """One of them, styled."""
        return Content.assemble(*(part for piece in self._laid(width)[number] for part in self._styled(piece)))

    def on_click(self, event: Click) -> None:
        """Picks the token under the pointer."""
        offset = event.get_content_offset(self)
        token = token_at(self._laid(self.content_size.width), offset.x, offset.y) if offset else None
        if token is not None:
            event.stop()
            self.post_message(self.Picked(token))

    def _laid(self, width: int) -> list[Line]:
        if self._layout is None or self._layout[0] != width:
            signs = [sign(change) for change in self._changes]
            self._layout = (width, lay_out(self._tokens, signs, max(width, 4)))
        return self._layout[1]

    def _styled(self, piece: Piece) -> list[tuple[str, str]]:
        change = self._changes[piece.token]
        color = "$foreground" if abs(change) < WEAK else "$success" if change > 0 else "$error"
        weight = "bold " if abs(change) >= STRONG else ""
        if is_special(self._tokens[piece.token]):
            color = "$secondary" if abs(change) < WEAK else f"{color} 60%"
        space, text = ("", piece.text) if not piece.text.startswith(" ") else (" ", piece.text[1:])
        if piece.token == self._cursor:
            return [(space, ""), (text + piece.sign, "bold $background on $accent")]
        ground = " on $panel" if piece.token % 2 else " on $surface"
        return [(space, ""), (text, f"{weight}{color}{ground}"), (piece.sign, f"{color}{ground}")]

    def _show_cursor(self) -> None:
        if self._cursor is not None and isinstance(self.parent, VerticalScroll):
            line = line_of(self._laid(self.content_size.width), self._cursor)
            self.parent.scroll_to_region(Region(0, line, 1, 1), animate=False)
