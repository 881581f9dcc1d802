"""Tokens as text: what a single token says, and the text of tokens as they come."""

from __future__ import annotations

import re

from tokenizers import decoders
from transformers import PreTrainedTokenizerBase

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_UNFINISHED = "\ufffd"


class TokenText:
    """The text of single tokens of one tokenizer; joined, they are the text that the tokens stand for.

    Bytes that are no UTF-8 by themselves, as where a character is cut in two, are spelled out in angle brackets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
        self._byte_level = isinstance(decoder, decoders.ByteLevel)
        self._added = {int(token) for token in tokenizer.added_tokens_decoder}
        self._known: dict[int, str] = {}

    def __call__(self, token: int) -> str:
        """The text of one token."""
        if token not in self._known:
            self._known[token] = self._text(token)
        return self._known[token]

    def _text(self, token: int) -> str:
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if not isinstance(piece, str):
            return f"\u27e8{token}\u27e9"  # embedding rows beyond the vocabulary
        if token in self._added:
            return piece
        if self._byte_level and all(character in _BYTE_OF for character in piece):
            return _spelled(bytes(_BYTE_OF[character] for character in piece))
        if match := _BYTE.fullmatch(piece):
            return _spelled(bytes([int(match[1], 16)]))
        if "\u2581" in piece:
            return piece.replace("\u2581", " ")
        return piece if self._byte_level else str(self._tokenizer.decode([token]))


class TextStream:
    """Turns tokens that come one by one into text, holding back characters that are not whole yet."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._base = 0
        self._shown = ""
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
        if len(self._ids) - self._base > 32:
            self._base = len(self._ids) - 8
            window = str(self._tokenizer.decode(self._ids[self._base :], skip_special_tokens=True))
        self._shown = window
        return fresh


def _spelled(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "".join(
            chr(ord(character))
            if not 0xDC80 <= ord(character) <= 0xDCFF
            else f"\u27e8{ord(character) - 0xDC00:02X}\u27e9"
            for character in data.decode(errors="surrogateescape")
        )


def _byte_alphabet() -> dict[str, int]:
    """The byte that each letter of byte-level BPE stands for (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
