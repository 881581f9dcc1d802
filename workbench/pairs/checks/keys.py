"""What two texts share that say the same: keys that are equal where the texts are, their form set aside."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from workbench.pairs.pair import Text
from workbench.pairs.split import group_key

_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789")
_SIGNS = bytes(code for code in range(128) if code not in _WORD)
_ROUGH = 50
_BEGINNING = 24
_SPACES = b" \t\n\r\v\f"
# What typists' programs put in: taking it out leaves most texts plain ASCII, which folds twenty times as fast.
_TYPOGRAPHIC = tuple(
    (sign.encode(), plain)
    for sign, plain in (
        ("\u2019", b"'"),
        ("\u2018", b"'"),
        ("\u201c", b'"'),
        ("\u201d", b'"'),
        ("\u2013", b"-"),
        ("\u2014", b"-"),
        ("\u2026", b"..."),
        ("\u00a0", b" "),
    )
)


def prompt_key(joined: str, prompt: Callable[[], Text], *, system: bool) -> bytes:
    """A key that is the same for prompts whose `split.group_key` is the same, at a tenth of the cost.

    `joined` is the text of all turns, `system` whether one of them is a system message; `prompt` is asked for where
    they do not do. Different prompts have the same key only where nothing but signs and the places of white space tell
    them apart: `group_key` decides then.
    """
    folded = b"" if system else _plain(joined)
    if folded and folded.isascii():
        return folded.lower().translate(None, _SIGNS)
    return _plain(group_key(prompt())).translate(None, _SIGNS)


def same_words(text: str) -> bytes:
    """The text but for case, white space and typographic signs (curly quotes, long dashes, compatibility forms)."""
    plain = _plain(text)
    if not plain.isascii():
        folded = unicodedata.normalize("NFKC", text).casefold()
        plain = _plain("".join(folded.split()))
    return plain.lower().translate(None, _SPACES)


def beginning(text: str) -> bytes:
    """The first letters of `same_words`, at a fraction of its cost."""
    head = text[: 2 * _BEGINNING]
    if head.isascii():
        letters = head.encode().lower().translate(None, _SPACES)
        # The last letter is left off where more follow: an accent could follow that changes it.
        if len(letters) > _BEGINNING or len(head) == len(text):
            return letters[:_BEGINNING]
    return same_words(text)[:_BEGINNING]


def rough_key(text: str) -> tuple[bytes, bytes]:
    """The beginning and the end of `same_words`: equal where that is, and quicker to have of a long text."""
    if len(text) > 4 * _ROUGH:
        begin, end = same_words(text[: 2 * _ROUGH]), same_words(text[-2 * _ROUGH :])
        if len(begin) > _ROUGH < len(end):
            return begin[: _ROUGH // 2], end[-_ROUGH // 2 :]
    whole = same_words(text)
    return whole[: _ROUGH // 2], whole[-_ROUGH // 2 :]


def _plain(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    if not text.isascii():
        for sign, plain in _TYPOGRAPHIC:
            encoded = encoded.replace(sign, plain)
    return encoded
