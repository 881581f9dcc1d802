"""An answer: what it is and what its tokens add up to, the tokens, and the one walked to."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message

from workbench.compare import formatting
from workbench.compare.comparison import Answer, Comparison
from workbench.text import one_line
from workbench.tui.widgets.comparison_lines import ComparisonLines
from workbench.tui.widgets.lines import Lines
from workbench.tui.widgets.look import ViewOptions
from workbench.tui.widgets.token_line import token_line
from workbench.tui.widgets.token_strip import LEGENDS, TokenStrip


class _Heading(Lines):
    """Name, number of tokens, sum, mean and perplexity in base and aligned."""

    def __init__(self) -> None:
        super().__init__()
        self._comparison, self._answer, self._look = Comparison(), Answer("typed", "", ""), ViewOptions()

    def show(self, comparison: Comparison, answer: Answer, look: ViewOptions) -> None:
        self._comparison, self._answer, self._look = comparison, answer, look
        self.redraw()

    def lines(self, width: int) -> list[Content]:
        base, aligned = self._comparison.scores(self._answer)
        active = self._answer == self._comparison.answer
        parts = [(one_line(self._answer.label, width // 3), "bold $accent" if active else "bold $foreground")]
        if base is not None:
            parts.append((f"   {len(base.tokens)} tokens", "$secondary"))
            for name, written in (
                ("sum", formatting.nats),
                ("mean", formatting.nats),
                ("perplexity", formatting.perplexity),
            ):
                told = " → ".join(written(getattr(each, name)) for each in (base, aligned) if each is not None)
                more = [(f"   {name} ", "$secondary"), (told, "")]
                if Content.assemble(*parts, *more).cell_length <= width:
                    parts += more
        legend = LEGENDS[self._look.by_shift]
        line = Content.assemble(*parts)
        if aligned is not None and active and line.cell_length + len(legend) + 3 <= width:
            line = Content.assemble(line, " " * (width - line.cell_length - len(legend)), (legend, "$secondary"))
        return [line.truncate(width, ellipsis=True)]


class _Detail(ComparisonLines):
    """The token that is walked to."""

    def lines(self, width: int) -> list[Content]:
        base, aligned = self._comparison.scores()
        if base is None or self._comparison.position >= len(base.tokens):
            return [Content("")]
        return [token_line(base, aligned, self._comparison.position, width)]


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
        yield _Heading()
        yield VerticalScroll(TokenStrip(), can_focus=False)
        yield _Detail()

    def show(self, comparison: Comparison, answer: Answer | None, look: ViewOptions) -> None:
        """Shows `answer`; hides itself where there is none."""
        self._answer = answer
        self.display = answer is not None
        if answer is None:
            return
        active = answer == comparison.answer
        base, aligned = comparison.scores(answer)
        self.query_one(_Heading).show(comparison, answer, look)
        self.query_one(TokenStrip).show(
            base, aligned, comparison.position if active else None, by_shift=look.by_shift, bounds=look.bounds
        )
        detail = self.query_one(_Detail)
        detail.display = active
        detail.show(comparison)

    @on(TokenStrip.Picked)
    def _token_picked(self, event: TokenStrip.Picked) -> None:
        event.stop()
        if self._answer is not None:
            self.post_message(self.Picked(self._answer, event.token))
