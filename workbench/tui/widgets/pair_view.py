"""The pair under the cursor: a rule that says which it is, its text, and what the model will learn from it."""

from __future__ import annotations

import asyncio

from rich.cells import cell_len
from textual.app import ComposeResult, RenderResult
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from workbench.pairs.diff import word_diff
from workbench.pairs.pair import Pair, plain
from workbench.text import cut, one_line
from workbench.tui.background import background
from workbench.tui.widgets.pair_cells import SIGNS, Known
from workbench.tui.widgets.pair_layout import Marks
from workbench.tui.widgets.pair_text import PairText

_COLOURS = {"new": "$secondary", "accepted": "$success", "dropped": "$error", "flagged": "$warning"}
_QUOTED = 400
_REMEMBERED = 200
# Characters up to which two texts are compared before they are shown; it takes a few milliseconds. Longer ones are
# shown first and compared in a thread.
_AT_ONCE = 12_000


class _Title(Widget):
    """A rule with the pair's number, status and findings at its left, its side, tags and note at its right."""

    DEFAULT_CSS = "_Title { height: 1; padding: 0 1; color: $border; }"

    pair: reactive[Pair | None] = reactive(None)
    known: reactive[Known | None] = reactive(None)

    def render(self) -> RenderResult:
        """The rule in the width there is."""
        width = self.size.width
        if self.pair is None or self.known is None:
            return Content("─" * width)
        status = f"{SIGNS[self.pair.status]} {self.pair.status}"
        finding = one_line(self.known.finding)
        left = f"── {self.known.number}  {status} " + (f" {finding} " if finding else "")
        split = self.pair.split or ""
        tags = one_line(" ".join(f"#{tag}" for tag in self.pair.tags))
        note = one_line(f"✎ {self.pair.note[:_QUOTED]}") if self.pair.note else ""
        about = cut("  ".join(part for part in (split, tags, note) if part), max(0, width - cell_len(left) - 6))
        rule = "─" * max(0, width - cell_len(left) - (cell_len(about) + 4 if about else 0))
        return Content.assemble(
            "── ",
            (str(self.known.number), "$foreground"),
            "  ",
            (status, _COLOURS[self.pair.status]),
            " ",
            (f" {finding} " if finding else "", "$warning"),
            rule,
            (f" {about} ", "$foreground") if about else "",
            "──" if about else "",
        )


class _Preference(Widget):
    """What the model will learn from the pair, in words."""

    DEFAULT_CSS = "_Preference { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }"

    pair: reactive[Pair | None] = reactive(None)

    def render(self) -> RenderResult:
        """One line."""
        if self.pair is None:
            return ""
        if self.pair.status == "dropped":
            return Content.styled("dropped: the model will not see this pair", "$secondary")
        return Content.assemble(
            ("the model will prefer: ", "$secondary"),
            (f"“{one_line(plain(self.pair.chosen)[:_QUOTED])}”", "$success"),
        )


class PairView(Vertical):
    """The pair under the cursor."""

    DEFAULT_CSS = """
    PairView {
        PairText { height: 1fr; }
    }
    """

    def compose(self) -> ComposeResult:
        """Title, text, and the line about what will be learnt."""
        yield _Title()
        yield PairText()
        yield _Preference()

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._pair: Pair | None = None
        self._known: Known | None = None
        self._marks: dict[tuple[str, str], Marks] = {}

    def show(self, pair: Pair | None, known: Known | None = None) -> None:
        """Shows a pair and what is `known` of it."""
        self._pair, self._known = pair, known
        title = self.query_one(_Title)
        title.known, title.pair = known, pair
        self.query_one(_Preference).pair = pair
        if pair is None:
            self.query_one(PairText).show(None, None)
            return
        texts = plain(pair.chosen), plain(pair.rejected)
        if texts not in self._marks and max(map(len, texts)) <= _AT_ONCE:
            self._remember(texts, word_diff(*texts))
        self._show_text(pair, self._marks.get(texts))
        if texts not in self._marks:
            self._compare(pair, texts)

    def _show_text(self, pair: Pair, marks: Marks | None) -> None:
        self.query_one(PairText).show(pair, marks, self._known.tokens if self._known else None)

    @background("diff", doing="comparing the responses", exclusive=True)
    async def _compare(self, pair: Pair, texts: tuple[str, str]) -> None:
        marks = await asyncio.to_thread(word_diff, *texts)
        self._remember(texts, marks)
        if self._pair is pair:
            self._show_text(pair, marks)

    def _remember(self, texts: tuple[str, str], marks: Marks) -> None:
        if len(self._marks) >= _REMEMBERED:
            self._marks.clear()
        self._marks[texts] = marks

    def scroll_text(self, lines: int) -> None:
        """Scrolls the text of the pair."""
        self.query_one(PairText).scroll_relative(y=lines, animate=False)
