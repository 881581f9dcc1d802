"""Tokens as text: what a single token says, and the text of tokens as they come."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tokenizers import decoders
from transformers import PreTrainedTokenizerBase

from workbench.compare.messages import Token

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_UNFINISHED = "\ufffd"
_WINDOW = 8
"""Tokens back from which text is decoded."""


class TokenText:
    """The text of single tokens of one tokenizer; joined, they are the text that the tokens stand for.

    Bytes that are no UTF-8 by themselves, as where a character is cut in two, are spelled out in angle brackets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
        self._byte_level = isinstance(decoder, decoders.ByteLevel)
        self._added = {int(token): added for token, added in tokenizer.added_tokens_decoder.items()}
        self._known: dict[int, Token] = {}

    def __call__(self, token: int) -> str:
        """The text of one token."""
        return self.token(token).text

    def token(self, token: int) -> Token:
        """One token: its text, its bytes where they are no text, and whether it is a control token."""
        if token not in self._known:
            self._known[token] = self._told(token)
        return self._known[token]

    def _told(self, token: int) -> Token:
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if not isinstance(piece, str):
            return Token(id=token, text=f"\u27e8{token}\u27e9")  # embedding rows beyond the vocabulary
        if token in self._added:
            return Token(id=token, text=piece, special=bool(self._added[token].special))
        if self._byte_level and all(character in _BYTE_OF for character in piece):
            return _of_bytes(token, bytes(_BYTE_OF[character] for character in piece))
        if match := _BYTE.fullmatch(piece):
            return _of_bytes(token, bytes([int(match[1], 16)]))
        if "\u2581" in piece:
            return Token(id=token, text=piece.replace("\u2581", " "))
        return Token(id=token, text=piece if self._byte_level else str(self._tokenizer.decode([token])))


class TextStream:
    """Turns tokens that come one by one into text, holding back characters that are not whole yet.

    The text begins after the tokens `before`, which decide whether it begins with a space.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(before[-_WINDOW:])
        self._base = 0
        self._shown = str(tokenizer.decode(self._ids, skip_special_tokens=True)) if before else ""
        self.text = ""

    def add(self, token: int) -> str:
        """The text that `token` completes; empty where a character is still cut."""
        self._ids.append(token)
        return self._advance(final=False)

    def end(self) -> str:
        """What was held back."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        # Decoding from a few tokens back keeps the cost of a token constant and the spaces between words right.
        window = str(self._tokenizer.decode(self._ids[self._base :], skip_special_tokens=True))
        if window.endswith(_UNFINISHED) and not final:
            return ""
        fresh = window[len(self._shown) :]
        self.text += fresh
        if len(self._ids) - self._base > 4 * _WINDOW:
            self._base = len(self._ids) - _WINDOW
            window = str(self._tokenizer.decode(self._ids[self._base :], skip_special_tokens=True))
        self._shown = window
        return fresh


def _of_bytes(token: int, data: bytes) -> Token:
    try:
        return Token(id=token, text=data.decode())
    except UnicodeDecodeError:
        text = "".join(
            f"\u27e8{ord(character) - 0xDC00:02X}\u27e9" if 0xDC80 <= ord(character) <= 0xDCFF else character
            for character in data.decode(errors="surrogateescape")
        )
        return Token(id=token, text=text, data=data.hex())


def _byte_alphabet() -> dict[str, int]:
    """The byte that each letter of byte-level BPE stands for (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + number): byte for number, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
