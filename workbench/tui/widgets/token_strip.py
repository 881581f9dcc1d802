"""The tokens of an answer in running text, each coloured and signed by how it moved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.geometry import Region
from textual.message import Message

from workbench.compare.measures import Shift, deltas, shifts
from workbench.compare.messages import ScoredColumn
from workbench.compare.token_text import text_spans
from workbench.text import safe
from workbench.tui.widgets.lines import Lines

_SPECIAL = re.compile(r"<\|[^\s|]+\|>|</?[a-z_]+>|\[/?[A-Z_]+\]|<(?:start|end)_of_[a-z]+>")


@dataclass(frozen=True, slots=True)
class TokenFragment:
    """What is shown of one token on one line. `token` is its number, `sign` the marks after its text."""

    token: int
    text: str
    sign: str = ""

    @property
    def width(self) -> int:
        """In cells."""
        return cell_len(self.text) + cell_len(self.sign)


TokenLine = tuple[TokenFragment, ...]


def is_special(text: str) -> bool:
    """Whether a token's text is that of a control token, such as <|end|> or </s>."""
    return _SPECIAL.fullmatch(text) is not None


def spelled(text: str) -> str:
    """A token by itself, safe to show: white space at its ends is · ⏎ ⇥."""
    text = text.replace("\r\n", "\n").replace("\n", "⏎").replace("\t", "⇥")
    core = text.strip(" ")
    if not core:
        return "·" * len(text)
    start = text.index(core[0])
    return safe("·" * start + core + "·" * (len(text) - start - len(core)))


def flowing(text: str) -> str:
    """A token in its text, safe to show: one leading space stays a space, all other white space is visible."""
    if len(text) > 1 and text[0] == " " and text[1] not in " \n\t\r":
        return " " + spelled(text[1:])
    return spelled(text)


def lay_out(tokens: Sequence[str], signs: Sequence[str], width: int) -> list[TokenLine]:
    """Lines of at most `width` cells. A line ends after a token with a line break in it."""
    lines: list[TokenLine] = []
    line: list[TokenFragment] = []
    used = 0
    for word in _words(tokens, signs):
        size = sum(piece.width for piece in word)
        if used and used + size > width:
            lines.append(tuple(line))
            line, used = [], 0
        for piece in word:
            for part in _broken(piece if used else _unindented(piece), width):
                if used and used + part.width > width:
                    lines.append(tuple(line))
                    line, used = [], 0
                line.append(part)
                used += part.width
        if any("\n" in tokens[piece.token] for piece in word):
            lines.append(tuple(line))
            line, used = [], 0
    if line:
        lines.append(tuple(line))
    return lines


def token_at(lines: Sequence[TokenLine], x: int, y: int) -> int | None:
    """The number of the token at cell `x` of line `y`; None where none is."""
    if not 0 <= y < len(lines) or x < 0:
        return None
    for piece in lines[y]:
        x -= piece.width
        if x < 0:
            return piece.token
    return None


def line_of(lines: Sequence[TokenLine], token: int) -> int:
    """The line on which a token begins."""
    return next((y for y, line in enumerate(lines) if any(piece.token == token for piece in line)), 0)


def _words(tokens: Sequence[str], signs: Sequence[str]) -> list[list[TokenFragment]]:
    """Tokens grouped to what should stay on one line: a word begins with white space, or after a line break."""
    words: list[list[TokenFragment]] = []
    fresh = True
    for number, (token, sign) in enumerate(zip(tokens, signs, strict=True)):
        piece = TokenFragment(number, flowing(token), sign)
        if fresh or token[:1].isspace() or is_special(token):
            words.append([])
        words[-1].append(piece)
        fresh = "\n" in token
    return words


def _unindented(piece: TokenFragment) -> TokenFragment:
    return TokenFragment(piece.token, piece.text.removeprefix(" "), piece.sign)


def _broken(piece: TokenFragment, width: int) -> list[TokenFragment]:
    """A piece that is wider than a line in parts; the sign stays with the last one."""
    if piece.width <= width:
        return [piece]
    parts, text, used = [], "", 0
    for character in piece.text:
        size = cell_len(character)
        if used + size > max(width, 2) and text:
            parts.append(TokenFragment(piece.token, text))
            text, used = "", 0
        text, used = text + character, used + size
    if used + cell_len(piece.sign) > width:
        return [*parts, TokenFragment(piece.token, text), TokenFragment(piece.token, "", piece.sign)]
    return [*parts, TokenFragment(piece.token, text, piece.sign)]


STRONG, WEAK = 1.0, 0.1
"""Nats from which on a token's change is told loudly (▲ ▼), or softly (▵ ▿)."""
LEGENDS = {False: "▲▼ 1 nat  ▵▿ 0.1", True: "○ base's 2nd or 3rd choice  ● beyond"}
"""What the signs mean, by whether they tell shifts."""

_SHIFT_SIGNS: dict[Shift | None, str] = {"unshifted": "", "marginal": "○", "shifted": "●", None: ""}
_SHIFT_COLORS: dict[Shift | None, str] = {"unshifted": "$foreground", "marginal": "$warning", "shifted": "$error"}
_WORST: list[Shift | None] = ["shifted", "marginal", "unshifted", None]


def change_sign(change: float) -> str:
    """▲ ▼ for a change of over a nat, ▵ ▿ for one of over a tenth, nothing for less."""
    if abs(change) < WEAK:
        return ""
    loud = abs(change) >= STRONG
    return ("▲" if loud else "▵") if change > 0 else ("▼" if loud else "▿")


@dataclass(frozen=True, slots=True)
class TokenCell:
    """What is shown as one: a token, or the tokens `first` to `last` whose bytes are text only together."""

    text: str
    first: int
    last: int
    sign: str = ""
    color: str = "$foreground"
    loud: bool = False
    special: bool = False


def token_cells(base: ScoredColumn, aligned: ScoredColumn | None, *, by_shift: bool, bounds: bool) -> list[TokenCell]:
    """The tokens of an answer. With `bounds`, every token for itself and control tokens too; else the text they make.

    `by_shift`: coloured by the rank that the base gives to what the aligned column would say there, else by how the
    token's log-probability moved.
    """
    tokens = base.tokens
    changes = deltas(aligned, base) if aligned is not None else [0.0] * len(tokens)
    classes = shifts(aligned) if aligned is not None and by_shift else [None] * len(tokens)
    if bounds:
        parts = [(token.text, number, number) for number, token in enumerate(tokens)]
    else:
        parts = [(each.text, each.first, each.last) for each in text_spans(tokens)]
    found = []
    for text, first, last in parts:
        if tokens[first].special and not bounds:
            continue
        if by_shift:
            worst = next(each for each in _WORST if each in classes[first : last + 1])
            told = _SHIFT_SIGNS[worst], _SHIFT_COLORS.get(worst, "$foreground"), worst == "shifted"
        else:
            told = _moved(sum(changes[first : last + 1]))
        found.append(TokenCell(text, first, last, *told, special=tokens[first].special))
    return found


def _moved(change: float) -> tuple[str, str, bool]:
    """Sign, colour, and whether it is told loudly."""
    color = "$foreground" if abs(change) < WEAK else "$success" if change > 0 else "$error"
    return change_sign(change), color, abs(change) >= STRONG


class TokenStrip(Lines):
    """Neighbouring tokens differ a little in background, where their bounds are to show. One is under the cursor."""

    DEFAULT_CSS = "TokenStrip { width: 1fr; }"

    @dataclass
    class Picked(Message):
        """The token with this number was clicked on."""

        token: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._cells: list[TokenCell] = []
        self._cursor: int | None = None
        self._bounds = True
        self._layout: tuple[int, list[TokenLine]] | None = None

    def show(
        self,
        base: ScoredColumn | None,
        aligned: ScoredColumn | None,
        cursor: int | None,
        *,
        by_shift: bool = False,
        bounds: bool = True,
    ) -> None:
        """Shows the tokens of an answer; `cursor` is the number of the one that is walked to. See `cells`."""
        found = token_cells(base, aligned, by_shift=by_shift, bounds=bounds) if base else []
        if (found, bounds) != (self._cells, self._bounds):
            self._cells, self._bounds, self._layout = found, bounds, None
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
        cell = token_at(self._laid(self.content_size.width), offset.x, offset.y) if offset else None
        if cell is not None:
            event.stop()
            self.post_message(self.Picked(self._cells[cell].first))

    def _laid(self, width: int) -> list[TokenLine]:
        if self._layout is None or self._layout[0] != width:
            texts, signs = [cell.text for cell in self._cells], [cell.sign for cell in self._cells]
            self._layout = (width, lay_out(texts, signs, max(width, 4)))
        return self._layout[1]

    def _styled(self, piece: TokenFragment) -> list[tuple[str, str]]:
        cell = self._cells[piece.token]
        color = cell.color
        if cell.special and color == "$foreground":
            color = "$secondary"
        space, text = ("", piece.text) if not piece.text.startswith(" ") else (" ", piece.text[1:])
        if self._under_cursor(cell):
            return [(space, ""), (text + piece.sign, "bold $background on $accent")]
        ground = "" if not self._bounds else " on $panel" if piece.token % 2 else " on $surface"
        return [(space, ""), (text, f"{'bold ' if cell.loud else ''}{color}{ground}"), (piece.sign, color + ground)]

    def _show_cursor(self) -> None:
        number = next((n for n, cell in enumerate(self._cells) if self._under_cursor(cell)), None)
        if number is not None and isinstance(self.parent, VerticalScroll):
            line = line_of(self._laid(self.content_size.width), number)
            self.parent.scroll_to_region(Region(0, line, 1, 1), animate=False)

    def _under_cursor(self, cell: TokenCell) -> bool:
        return self._cursor is not None and cell.first <= self._cursor <= cell.last
