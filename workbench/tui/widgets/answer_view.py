"""An answer: what it is and what its tokens add up to, the tokens, and the one walked to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message

from workbench import figures
from workbench.compare.comparison import Answer, Comparison
from workbench.compare.measures import shifts
from workbench.compare.messages import ScoredColumn
from workbench.figures import plural
from workbench.text import cut, one_line, safe
from workbench.tui.widgets.lines import MadeLines
from workbench.tui.widgets.token_strip import LEGENDS, TokenStrip, spelled

_SHORTEST_NAME = 6


def token_line(base: ScoredColumn, aligned: ScoredColumn | None, position: int, width: int) -> Content:
    """Which token of how many, its rank and log-probability in base and aligned, and whether the position shifted."""
    token = base.tokens[position]
    gap = "   " if width >= 90 else "  "
    head = Content.styled(f"token {position + 1} of {len(base.tokens)} ", "$secondary")
    ranks, logprobs, change = f"{token.rank:,}", figures.nats(token.logprob), Content("")
    if aligned is not None:
        other = aligned.tokens[position]
        ranks += f" → {other.rank:,}"
        logprobs += f" → {figures.nats(other.logprob)}"
        change = _change(other.logprob - token.logprob, gap + (shifts(aligned)[position] or ""))
    tail = Content.assemble(
        (f"{gap}rank ", "$secondary"), (ranks, "bold"), (f"{gap}log-prob ", "$secondary"), (logprobs, "bold"), change
    )
    room = max(_SHORTEST_NAME, width - head.cell_length - tail.cell_length)
    name = cut(f"“{spelled(token.text)}”", room)
    return Content.assemble(head, (name, "bold $accent"), tail).truncate(width, ellipsis=True)


def _change(nats: float, shift: str) -> Content:
    sign = figures.direction(nats)
    color = {"▲": "$success", "▼": "$error"}.get(sign, "$secondary")
    return Content.assemble((f"  {sign} {figures.nats_change(nats)}", color), (shift, "$secondary"))


def heading_lines(comparison: Comparison, answer: Answer, width: int, *, by_shift: bool) -> list[Content]:
    """Name, number of tokens, sum, mean and perplexity of an answer in base and aligned; what its signs mean."""
    base, aligned = comparison.scores(answer)
    active = answer == comparison.answer
    parts = [(one_line(answer.label, width // 3), "bold $accent" if active else "bold $foreground")]
    if answer.openings:
        parts.append((f"   an answer begins in one of {plural(len(answer.openings), 'way')}", "$secondary"))
    elif base is not None:
        parts.append((f"   {len(base.tokens)} tokens", "$secondary"))
        for name, written in (("sum", figures.nats), ("mean", figures.nats), ("perplexity", figures.perplexity)):
            values = " → ".join(written(getattr(scored, name)) for scored in (base, aligned) if scored is not None)
            more = [(f"   {name} ", "$secondary"), (values, "")]
            if Content.assemble(*parts, *more).cell_length <= width:
                parts += more
    legend = LEGENDS[by_shift]
    line = Content.assemble(*parts)
    if aligned is not None and active and not answer.openings and line.cell_length + len(legend) + 3 <= width:
        line = Content.assemble(line, " " * (width - line.cell_length - len(legend)), (legend, "$secondary"))
    return [line.truncate(width, ellipsis=True)]


def detail_lines(comparison: Comparison, width: int) -> list[Content]:
    """The token that is walked to."""
    base, aligned = comparison.scores()
    answer = comparison.answer
    if answer is not None and answer.openings:
        ways = Content.styled(" · ", "$secondary").join([Content(safe(f"“{text}”")) for text in answer.openings])
        return [ways.truncate(width, ellipsis=True)]
    if base is None or comparison.position >= len(base.tokens):
        return [Content("")]
    return [token_line(base, aligned, comparison.position, width)]


class AnswerView(Vertical):
    """One of the answers in view; the active one has the cursor and the line about its token."""

    DEFAULT_CSS = """
    AnswerView { height: auto; }
    AnswerView VerticalScroll { height: auto; max-height: 3; scrollbar-size-vertical: 1; }
    AnswerView.-tall VerticalScroll { max-height: 6; }
    """

    @dataclass
    class Picked(Message):
        """A token of this answer was clicked on."""

        answer: Answer
        token: int

    def __init__(self) -> None:
        super().__init__()
        self._answer: Answer | None = None

    def compose(self) -> ComposeResult:
        """Heading, tokens, detail."""
        yield MadeLines(classes="heading")
        yield VerticalScroll(TokenStrip(), can_focus=False)
        yield MadeLines(classes="detail")

    def show(self, comparison: Comparison, answer: Answer | None, *, by_shift: bool, bounds: bool) -> None:
        """Shows `answer`, its tokens as `token_cells` has them; hides itself where there is none."""
        self._answer = answer
        self.display = answer is not None
        if answer is None:
            return
        active = answer == comparison.answer
        base, aligned = comparison.scores(answer)
        self.query_one(".heading", MadeLines).show(partial(heading_lines, comparison, answer, by_shift=by_shift))
        self.query_one(TokenStrip).show(
            base, aligned, comparison.position if active else None, by_shift=by_shift, bounds=bounds
        )
        detail = self.query_one(".detail", MadeLines)
        detail.display = active
        detail.show(partial(detail_lines, comparison))

    @on(TokenStrip.Picked)
    def _token_picked(self, event: TokenStrip.Picked) -> None:
        event.stop()
        if self._answer is not None:
            self.post_message(self.Picked(self._answer, event.token))
