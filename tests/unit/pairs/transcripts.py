"""Conversations as hh-rlhf writes them."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.pairs.pair import Message


def to_transcript(turns: Sequence[Message]) -> str:
    """The transcript that `from_transcript` read `turns` from.

    Exactly so, but that a transcript which began with "Human:" now begins with the customary two newlines, and that a
    marker with nothing after it gets its customary space. Raises ValueError for tools' turns, which have no marker.
    """
    speakers = {"user": "Human", "assistant": "Assistant"}
    parts = []
    for number, turn in enumerate(turns):
        if turn.role == "system" and number == 0:
            parts.append(turn.content)
        elif turn.role in speakers:
            parts.append(f"\n\n{speakers[turn.role]}: {turn.content}")
        else:
            raise ValueError(f"a transcript has no marker for a {turn.role} turn")
    return "".join(parts)
