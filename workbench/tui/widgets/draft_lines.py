"""The lines of the dialog that drafts answers."""

from __future__ import annotations

from textual.content import Content

from workbench.compare.ranking import AnswerCandidate, Made, Making
from workbench.text import cut, one_line

_LABEL = 18
_OWN = {"chosen": ("✔ chosen", "$success"), "rejected": ("✘ rejected", "$error")}


def candidate_line(candidate: AnswerCandidate, rank: int | None, width: int) -> Content:
    """Rank, whose answer it is and how often it came, and the answer, on one line."""
    if candidate.side is not None:
        label, color = _OWN[candidate.side]
    else:
        times = f" ×{candidate.count}" if candidate.count > 1 else ""
        mark = " ▲" if candidate.cut else ""
        label, color = one_line(candidate.by, _LABEL - len(times) - len(mark)) + times + mark, "$secondary"
    return _line((f"{rank:>2} " if rank else "   ", "bold $accent"), (label, color), candidate.text, width)


def coming_line(by: str, text: str, width: int) -> Content:
    """A draft that is on its way: its latest words."""
    return _line(("   ", ""), (f"◌ {one_line(by, _LABEL - 2)}", "$secondary"), text, width)


def head_of(candidate: AnswerCandidate) -> str:
    """Whose answer it is, in words."""
    if candidate.side is not None:
        return f"this pair's {candidate.side} answer"
    times = f", {candidate.count} times" if candidate.count > 1 else ""
    limit = " · ▲ cut at a limit: it would teach to stop there" if candidate.cut else ""
    return f"drafted by {one_line(candidate.by, 40)}{times}{limit}"


def outcome(made: Made, making: Making) -> str:
    """What saving comes to, in a line."""
    if not made:
        how = "one pair, the best over the worst" if making == "one" else "the best over each"
        return f"Rank two or more, best first: s saves {how}."
    new = "1 new pair" if len(made.new) == 1 else f"{len(made.new)} new pairs, the first of them"
    return "s saves " + " and ".join([*(["this pair, changed"] if made.edited else []), *([new] if made.new else [])])


def _line(rank: tuple[str, str], label: tuple[str, str], text: str, width: int) -> Content:
    words, color = label
    content = Content.assemble(rank, (cut(words, _LABEL), color))
    gap = " " * (_LABEL + 5 - content.cell_length)
    return Content.assemble(content, gap, one_line(text, max(8, width - _LABEL - 5)))
