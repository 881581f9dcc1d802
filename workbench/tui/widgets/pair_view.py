"""The pair under the cursor: a rule that says which it is, its text, and what the model will learn from it."""

from __future__ import annotations

from rich.cells import cell_len
from textual import work
from textual.app import ComposeResult, RenderResult
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from workbench.pairs.diff import word_diff
from workbench.pairs.pair import Pair, plain
from workbench.text import cut, one_line
from workbench.tui.widgets.pair_cells import SIGNS
from workbench.tui.widgets.pair_layout import Marks
from workbench.tui.widgets.pair_text import PairText

_COLOURS = {"new": "$secondary", "accepted": "$success", "dropped": "$error", "flagged": "$warning"}
_QUOTED = 400
_REMEMBERED = 200
# Characters up to which two texts are compared before they are shown; it takes a few milliseconds. Longer ones are
# shown first and compared in a thread.
_AT_ONCE = 12_000


class _Title(Widget):
    """A rule with the pair's number and status at its left, tags and note at its right."""

    DEFAULT_CSS = "_Title { height: 1; padding: 0 1; color: $border; }"

    pair: reactive[Pair | None] = reactive(None)
    number: reactive[int] = reactive(0)

    def render(self) -> RenderResult:
        """The rule in the width there is."""
        width = self.size.width
        if self.pair is None:
            return Content("─" * width)
        status = f"{SIGNS[self.pair.status]} {self.pair.status}"
        left = f"── {self.number}  {status} "
        tags = one_line(" ".join(f"#{tag}" for tag in self.pair.tags))
        note = one_line(f"✎ {self.pair.note[:_QUOTED]}") if self.pair.note else ""
        about = cut("  ".join(part for part in (tags, note) if part), max(0, width - cell_len(left) - 6))
        rule = "─" * max(0, width - cell_len(left) - (cell_len(about) + 4 if about else 0))
        return Content.assemble(
            "── ",
            (str(self.number), "$foreground"),
            "  ",
            (status, _COLOURS[self.pair.status]),
            " ",
            rule,
            (f" {about} ", "$foreground") if about else "",
            "──" if about else "",
        )


class PairView(Vertical):
    """The pair under the cursor."""

    DEFAULT_CSS = """
    PairView {
        PairText { height: 1fr; }
        #preference { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def compose(self) -> ComposeResult:
        """Title, text, and the line about what will be learnt."""
        yield _Title()
        yield PairText()
        yield Static("", markup=False, id="preference")

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._pair: Pair | None = None
        self._marks: dict[tuple[str, str], Marks] = {}

    def show(self, pair: Pair | None, number: int = 0) -> None:
        """Shows a pair; `number` is its place in the file, from 1."""
        self._pair = pair
        title = self.query_one(_Title)
        title.number, title.pair = number, pair
        self.query_one("#preference", Static).update(_preference(pair) if pair else "")
        if pair is None:
            self.query_one(PairText).show(None, None)
            return
        texts = plain(pair.chosen), plain(pair.rejected)
        if texts not in self._marks and max(map(len, texts)) <= _AT_ONCE:
            self._remember(texts, word_diff(*texts))
        self.query_one(PairText).show(pair, self._marks.get(texts))
        if texts not in self._marks:
            self._compare(pair, texts)

    @work(thread=True, group="diff", exclusive=True, exit_on_error=False)
    def _compare(self, pair: Pair, texts: tuple[str, str]) -> None:
        marks = word_diff(*texts)
        self.app.call_from_thread(self._compared, pair, texts, marks)

    def _compared(self, pair: Pair, texts: tuple[str, str], marks: Marks) -> None:
        self._remember(texts, marks)
        if self._pair is pair:
            self.query_one(PairText).show(pair, marks)

    def _remember(self, texts: tuple[str, str], marks: Marks) -> None:
        if len(self._marks) >= _REMEMBERED:
            self._marks.clear()
        self._marks[texts] = marks

    def scroll_text(self, lines: int) -> None:
        """Scrolls the text of the pair."""
        self.query_one(PairText).scroll_relative(y=lines, animate=False)


def _preference(pair: Pair) -> Content:
    if pair.status == "dropped":
        return Content.styled("dropped: the model will not see this pair", "$secondary")
    return Content.assemble(
        ("the model will prefer: ", "$secondary"),
        (f"“{one_line(plain(pair.chosen)[:_QUOTED])}”", "$success"),
    )
