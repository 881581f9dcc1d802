"""Lays tokens out in lines: words stay whole, white space is visible where it stands alone, no line is too long."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from workbench.text import safe

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
