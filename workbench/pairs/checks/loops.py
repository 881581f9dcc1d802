"""Texts that say the same over and over, as of a model caught in a loop."""

from __future__ import annotations

_WORDS, _GRAM, _SHARE = 20, 4, 0.5


def repeats(text: str) -> bool:
    """Whether half of a text's runs of four words, or more, stood in it before."""
    words = text.lower().split()
    if len(words) < _WORDS:
        return False
    runs = [tuple(words[start : start + _GRAM]) for start in range(len(words) - _GRAM + 1)]
    return len(set(runs)) <= _SHARE * len(runs)
