"""Tokens put together to text: characters that several tokens share are rendered once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class TokenLike(Protocol):
    """What a token is here: `Token`, `TokenScore` and `TokenCandidate` all are."""

    @property
    def text(self) -> str:
        """What it says, odd bytes spelled out."""

    @property
    def data(self) -> str:
        """Its bytes in hexadecimal, where they are no text by themselves."""


@dataclass(frozen=True, slots=True)
class TextSpan:
    """Text that the tokens number `first` to `last` (both counted) say together; most often one token does."""

    text: str
    first: int
    last: int


def text_spans(tokens: Sequence[TokenLike]) -> list[TextSpan]:
    """The tokens in order, those whose bytes only together are text as one piece.

    Bytes that never become text stay pieces of their own, spelled out as the tokens have them.
    """
    spans: list[TextSpan] = []
    position = 0
    while position < len(tokens):
        last, text = _joined(tokens, position) if tokens[position].data else (position, tokens[position].text)
        spans.append(TextSpan(text, position, last))
        position = last + 1
    return spans


def text_of(tokens: Sequence[TokenLike]) -> str:
    """What the tokens say, as one text."""
    return "".join(piece.text for piece in text_spans(tokens))


_LONGEST = 64
"""Tokens after which a character that is not whole yet is given up: scripts may chain, broken bytes must not."""


def _joined(tokens: Sequence[TokenLike], first: int) -> tuple[int, str]:
    """The last token with which those from `first` on are text, and that text; else the first one by itself."""
    data = b""
    for last in range(first, min(len(tokens), first + _LONGEST)):
        if not tokens[last].data:
            break
        data += bytes.fromhex(tokens[last].data)
        try:
            return last, data.decode()
        except UnicodeDecodeError as error:
            if "unexpected end" not in error.reason:
                break
    return first, tokens[first].text
