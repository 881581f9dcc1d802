"""A whole comparison on the screen: one frozen value in, nothing out but clicks."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from workbench.compare.comparison import Comparison
from workbench.text import one_line
from workbench.tui.widgets.answer_view import AnswerView
from workbench.tui.widgets.bars import Bars
from workbench.tui.widgets.begin_line import BeginLine
from workbench.tui.widgets.columns_bar import ColumnsBar
from workbench.tui.widgets.generation import GenerationView, ShareView
from workbench.tui.widgets.headline import Headline
from workbench.tui.widgets.look import ViewOptions
from workbench.tui.widgets.prompt_view import PromptView

_TALL = 32
"""Lines from which on digits are big, and generations have a place of their own."""
_TALLER = 42
"""Lines from which on there are more bars."""
_ANSWERS = 2


class ComparisonView(Vertical):
    """Columns, prompt, headline, bars, answers and generations, from the top down."""

    DEFAULT_CSS = """
    ComparisonView { height: 1fr; }
    ComparisonView > .body { height: 1fr; padding: 0 1; }
    ComparisonView #prompt { height: auto; max-height: 3; margin-top: 1; scrollbar-size-vertical: 1; }
    ComparisonView.-tall #prompt { max-height: 6; }
    ComparisonView Headline { margin-top: 1; }
    ComparisonView Bars { margin-top: 1; }
    ComparisonView.-tall Bars { height: 9; }
    ComparisonView.-taller Bars { height: 13; }
    ComparisonView #answers { height: auto; border-top: solid $border; }
    ComparisonView.-tall #answers { margin-top: 1; }
    ComparisonView.-tall AnswerView { margin-bottom: 1; }
    ComparisonView #generation { height: 1fr; display: none; margin-top: 1; }
    ComparisonView.-tall #generation { display: block; border-top: solid $border; margin-top: 0; }
    ComparisonView.-speaking #generation { display: block; }
    ComparisonView.-speaking.-short Bars { display: none; }
    ComparisonView #generation-title { height: 1; color: $secondary; }
    ComparisonView BeginLine { margin-top: 1; }
    ComparisonView.-presenting {
        #answers, #generation-title { display: none; }
        #prompt { max-height: 8; text-style: bold; }
        #generation { display: block; height: 1fr; min-height: 6; border-top: solid $border; }
        Bars { height: 1fr; }
    }
    """

    def compose(self) -> ComposeResult:
        """The parts; generations stand last where there is room, else in the bars' place."""
        yield ColumnsBar()
        with Vertical(classes="body"):
            yield VerticalScroll(PromptView(), id="prompt", can_focus=False)
            yield Headline()
            yield BeginLine()
            yield Bars()
            with Vertical(id="answers"):
                for _ in range(_ANSWERS):
                    yield AnswerView()
            with Vertical(id="generation"):
                yield Static(id="generation-title", markup=False)
                yield ShareView()
                yield GenerationView()

    def on_mount(self) -> None:
        """Fits the parts to the height there is."""
        self._comparison, self._look = Comparison(), ViewOptions()
        self.show(self._comparison, self._look)

    def on_resize(self) -> None:
        """Fits the parts to the height there is."""
        tall = self.size.height >= _TALL
        self.set_class(self.size.height >= _TALLER, "-taller")
        if tall != self.has_class("-tall") or not (self.has_class("-tall") or self.has_class("-short")):
            self.set_class(tall, "-tall")
            self.set_class(not tall, "-short")
            for answer in self.query(AnswerView):
                answer.set_class(tall, "-tall")
            self.show(self._comparison, self._look)

    def show(self, comparison: Comparison, look: ViewOptions = ViewOptions()) -> None:  # noqa: B008 (it is frozen)
        """Shows `comparison` in the manner of `look`."""
        self._comparison, self._look = comparison, look
        self.set_class(look.speaking, "-speaking")
        self.set_class(look.presenting, "-presenting")
        self.query_one(ColumnsBar).show(comparison)
        self.query_one(PromptView).show(comparison.prompt, comparison.aligned)
        headline = self.query_one(Headline)
        headline.big = look.presenting or self.has_class("-tall")
        headline.show(comparison, look.hint)
        thick = look.presenting and self.has_class("-tall")
        self.query_one(Bars).show(comparison, cursor=look.cursor, thick=thick, few_words=look.presenting)
        self._show_answers()
        self.query_one("#generation-title", Static).update(one_line(look.title))
        self.query_one(ShareView).show(comparison)
        self.query_one(GenerationView).show(comparison)

    def _show_answers(self) -> None:
        """The active answer, and the other one in view where there is room."""
        comparison = self._comparison
        shown = comparison.shown[:_ANSWERS] if self.has_class("-tall") else comparison.shown
        if comparison.answer is not None and (comparison.answer not in shown or not self.has_class("-tall")):
            shown = (comparison.answer,)
        views = list(self.query(AnswerView))
        for number, view in enumerate(views):
            view.show(comparison, shown[number] if number < len(shown) else None, self._look)
        self.query_one("#answers").display = bool(shown) and not self._look.presenting
