"""Breaks styled text into lines of terminal cells. Pure, and quick enough to run at every move of a cursor."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells

Run = tuple[str, str]
"""(style name, text)."""

Line = list[Run]

_PIECES = re.compile(r"\n|[^\S\n]+|\S+")


def width_of(line: Iterable[Run]) -> int:
    """How many terminal cells a line takes."""
    return sum(map(_cells, (text for _, text in line)))


def padded(line: Line, width: int) -> Line:
    """The line filled with blanks to `width` cells."""
    return [*line, ("", " " * max(0, width - width_of(line)))]


def wrap(runs: Iterable[Run], width: int) -> list[Line]:
    """The text of `runs` (made safe already) in lines of at most `width` cells.

    Newlines and the indentation of a line stay; lines break at white space, and words wider than a line anywhere.
    Pieces of a word that are styled differently stay together.
    """
    filler = _Filler(max(2, width))
    for style, text in runs:
        for piece in _PIECES.findall(text):
            if piece == "\n":
                filler.end_line()
            elif piece.isspace():
                filler.end_word()
                filler.space = (style, piece)
            else:
                filler.add(style, piece)
    filler.end_line()
    return filler.lines


class _Filler:
    """The line being filled, the word being put together, and the white space between the two."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[Line] = []
        self.space: Run | None = None
        self._line: Line = []
        self._used = 0
        self._word: Line = []
        self._word_width = 0

    def add(self, style: str, piece: str) -> None:
        self._word.append((style, piece))
        self._word_width += _cells(piece)

    def end_word(self) -> None:
        if not self._word:
            return
        space = min(_cells(self.space[1]), self.width) if self.space else 0
        if self._used + space + self._word_width > self.width and self._used:
            self._break()
            space = 0
        if self.space and space:
            self._line.append((self.space[0], self.space[1][:space]))
            self._used += space
        for style, piece in self._word:
            self._put(style, piece)
        self._word, self._word_width, self.space = [], 0, None

    def end_line(self) -> None:
        self.end_word()
        self.space = None
        self._break()

    def _put(self, style: str, piece: str) -> None:
        if self._used + _cells(piece) > self.width:
            if self.width - self._used > 1:
                head = _chop(piece, self.width - self._used)[0]
                self._line.append((style, head))
                piece = piece[len(head) :]
            self._break()
            *full, piece = _chop(piece, self.width) or [""]
            self.lines.extend([(style, part)] for part in full)
        if piece:
            self._line.append((style, piece))
            self._used += _cells(piece)

    def _break(self) -> None:
        self.lines.append(self._line)
        self._line, self._used = [], 0


def _chop(text: str, width: int) -> list[str]:
    if text.isascii():
        return [text[start : start + width] for start in range(0, len(text), width)]
    return chop_cells(text, width)


def _cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
