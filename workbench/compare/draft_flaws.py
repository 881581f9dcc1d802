"""What is wrong with a model's answer as one to train on: it breaks off, loops, babbles, refuses like the other."""

from __future__ import annotations

import re
from collections.abc import Collection

from workbench.behaviours.behaviour import REFUSING

BREAKS_OFF, REPEATS, BABBLES, REFUSES = "breaks off", "repeats itself", "babbles", "refuses"

_ABBREVIATIONS = ("Mr", "Mrs", "Ms", "Dr", "Prof", "St", "vs", "e.g", "i.e", "approx")
_END = re.compile(r"[.!?…][\"'”’)\]*_`]*(?=\s|$)|[。！？]")
"""A sentence's end, with the quotation marks and brackets that close there."""
_NO_END = re.compile(
    rf"(?:^|[\s(])(?:{'|'.join(map(re.escape, _ABBREVIATIONS))}|[A-Z])\.$|(?:^|\n)\s*(?:\d{{1,3}}|[a-z])\.$"
)
"""Full stops that end no sentence: those of abbreviations, of initials, and of the numbers of a list."""
_FENCE = "```"


def to_last_sentence(text: str) -> str:
    """A text that a limit cut off, back to the end of its last whole sentence; empty where it has none.

    A block of code is whole or goes as a whole.
    """
    end = begin = 0
    parts = text.split(_FENCE)
    for number, part in enumerate(parts):
        after = begin + len(part)
        if number % 2 == 0:
            ends = (begin + match.end() for match in _END.finditer(part))
            end = max((each for each in ends if not _NO_END.search(text[:each])), default=end)
        elif number < len(parts) - 1:
            end = after + len(_FENCE)
        begin = after + len(_FENCE)
    return text[:end]


def flaw_of(shows: Collection[str], other: Collection[str], wanted: str = "") -> str:
    """What speaks against an answer, by the behaviours that it shows and those that the pair's other answer shows;
    empty for nothing. `wanted`: a behaviour that it has to show.

    Where the other refuses, this one should comply: two refusals are no preference.
    """
    if "cut" in shows:
        return BREAKS_OFF
    if "repeating" in shows:
        return REPEATS
    if "babbling" in shows:
        return BABBLES
    if REFUSING in shows and REFUSING in other:
        return REFUSES
    return f"is not {wanted}" if wanted and wanted not in shows else ""
