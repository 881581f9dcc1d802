"""One line about the token that is walked to."""

from __future__ import annotations

from textual.content import Content

from workbench.compare import formatting
from workbench.compare.measures import shifts
from workbench.compare.messages import ScoredColumn
from workbench.text import cut
from workbench.tui.widgets.token_layout import spelled

_SHORTEST_NAME = 6


def token_line(base: ScoredColumn, aligned: ScoredColumn | None, place: int, width: int) -> Content:
    """Which token of how many, its rank and log-probability in base and aligned, and whether the place shifted."""
    token = base.tokens[place]
    gap = "   " if width >= 90 else "  "
    head = Content.styled(f"token {place + 1} of {len(base.tokens)} ", "$secondary")
    ranks, logprobs, change = f"{token.rank:,}", formatting.nats(token.logprob), Content("")
    if aligned is not None:
        other = aligned.tokens[place]
        ranks += f" → {other.rank:,}"
        logprobs += f" → {formatting.nats(other.logprob)}"
        change = _change(other.logprob - token.logprob, gap + (shifts(aligned)[place] or ""))
    tail = Content.assemble(
        (f"{gap}rank ", "$secondary"), (ranks, "bold"), (f"{gap}log-prob ", "$secondary"), (logprobs, "bold"), change
    )
    room = max(_SHORTEST_NAME, width - head.cell_length - tail.cell_length)
    name = cut(f"“{spelled(token.text)}”", room)
    return Content.assemble(head, (name, "bold $accent"), tail).truncate(width, ellipsis=True)


def _change(nats: float, shift: str) -> Content:
    sign = formatting.direction(nats)
    color = {"▲": "$success", "▼": "$error"}.get(sign, "$secondary")
    return Content.assemble((f"  {sign} {formatting.signed(nats)}", color), (shift, "$secondary"))
