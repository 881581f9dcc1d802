"""The pair under the cursor: which it is, its text with the differences marked, and what will be learnt from it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult, RenderResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region, Size
from textual.reactive import Reactive, reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from workbench import figures
from workbench.pairs.checks.roles import order_fault
from workbench.pairs.diff import Span, word_diff
from workbench.pairs.pair import Message, Pair, Text, plain
from workbench.pairs.readable import has_more, readable, readable_turn, tool_names
from workbench.text import cut, one_line, safe
from workbench.tui.background import background
from workbench.tui.widgets.pair_table import Known, lengths, status_of

SIDE_BY_SIDE = 72
"""The fewest cells in which chosen and rejected stand beside each other; in fewer, one below the other."""

_LACKING = "none yet: r drafts it, e writes it"
Side = Literal["chosen", "rejected"]
_ROLE = 11
_RULE = " │ "
# A text of megabytes would hold up every move of the cursor; nobody reads that much of it here.
_SHOWN = 60_000

_SIGN_STYLES = {"+": "plus", "−": "minus"}
_ONLY_STYLES = {"+": "added", "−": "removed"}

Run = tuple[str, str]
"""(style name, text)."""
TextLine = list[Run]
Marks = tuple[list[Span], list[Span]]
"""The differences between chosen and rejected, as `word_diff` tells them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The lines of a pair; the line where the last user turn begins, and the one where the responses do."""

    lines: list[TextLine]
    question: int
    responses: int


def lay_out(
    pair: Pair, width: int, marks: Marks | None, tokens: tuple[int, int] | None = None, *, folded: bool = True
) -> Layout:
    """The pair in lines of at most `width` cells. Without `marks`, differences are not shown; lengths are in `tokens`
    (of chosen and rejected) where these are given, else in words. `folded`: reasoning, calls and other fields of turns
    take a line each."""
    lines: list[TextLine] = []
    if "tools" in pair.extra and (names := tool_names(pair.extra)):
        lines.append([("role", f"{'tools':<{_ROLE}}"), ("dim", cut(one_line(", ".join(names)), max(1, width - _ROLE)))])
    question = 0
    turns = _turns(pair.prompt)
    last_user = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=len(turns) - 1)
    for index, turn in enumerate(turns):
        if index == last_user:
            question = len(lines)
        style = "text" if index == last_user else "dim"
        texts = wrap([(style, _shown(readable_turn(turn, folded=folded)))], max(1, width - _ROLE))
        for number, text in enumerate(texts):
            label = turn.role if number == 0 else ""
            lines.append([("role", f"{label:<{_ROLE}}"), *text])
    lines.append([])
    responses = len(lines)
    spans = (None, None) if marks is None or pair.lacks else marks
    chosen, rejected = _heads(pair, tokens)
    good, bad = _answer(pair, "chosen", spans[0], "+", folded), _answer(pair, "rejected", spans[1], "−", folded)
    if width >= SIDE_BY_SIDE:
        left = (width - len(_RULE)) // 2
        right = width - len(_RULE) - left
        sides = (
            [chosen, *wrap(good, left)],
            [rejected, *wrap(bad, right)],
        )
        lines += [[*padded(one or [], left), ("rule", _RULE), *(other or [])] for one, other in zip_longest(*sides)]
    else:
        lines += [chosen, *wrap(good, width), []]
        lines += [rejected, *wrap(bad, width)]
    return Layout(lines, question, responses)


def wrap(runs: Iterable[Run], width: int) -> list[TextLine]:
    """The text of `runs` (made safe already) in lines of at most `width` cells; indentation and empty lines stay."""
    # Textual breaks plain text: a word whose parts are styled differently stays together.
    lines = Content.assemble(*((text, style) for style, text in runs)).wrap(max(2, width), overflow="fold")
    return [[(str(span.style), line.plain[span.start : span.end]) for span in line.spans] for line in lines]


def padded(line: TextLine, width: int) -> TextLine:
    """The line filled with blanks to `width` cells."""
    return [*line, ("", " " * max(0, width - sum(cell_len(text) for _, text in line)))]


def _turns(prompt: Text) -> tuple[Message, ...]:
    return (Message("prompt", prompt),) if isinstance(prompt, str) else prompt


def _heads(pair: Pair, tokens: tuple[int, int] | None) -> tuple[TextLine, TextLine]:
    chosen, rejected = lengths(pair, tokens)
    unit = "token" if tokens else "word"
    delta = rejected - chosen
    sign = "+" if delta > 0 else "−" if delta < 0 else "±"
    change = "" if pair.lacks else f" ({sign}{abs(delta):,})"
    extent = {"chosen": figures.plural(chosen, unit), "rejected": figures.plural(rejected, unit) + change}
    extent |= dict.fromkeys(pair.lacks, "to be drafted")
    return (
        [("chosen", "✔ chosen"), ("dim", f"  {extent['chosen']}")],
        [("rejected", "✘ rejected"), ("dim", f"  {extent['rejected']}")],
    )


def _answer(pair: Pair, side: Side, spans: list[Span] | None, sign: str, folded: bool) -> list[Run]:
    """A response in styled runs; where there is none yet, what to do about it."""
    if side in pair.lacks:
        return [("dim", _LACKING)]
    return list(_runs(readable(pair.chosen if side == "chosen" else pair.rejected, folded=folded), spans, sign))


def _runs(text: str, spans: list[Span] | None, sign: str) -> Iterator[Run]:
    """A response in styled runs; each stretch that the other response lacks begins with `sign`."""
    if spans is None or sum(len(span.text) for span in spans) > _SHOWN:
        yield "text", _shown(text)
        return
    begun = ""
    for number, span in enumerate(spans):
        following = spans[number + 1].text if number + 1 < len(spans) else ""
        text, begun = begun + span.text, ""
        if span.kind == "same":
            # A word that begins alike is a different word: the sign goes before it, not into it.
            if text[-1].isalnum() and following and not following[0].isspace():
                begun = text.split()[-1]
                text = text.removesuffix(begun)
            yield "text", safe(text)
            continue
        words_of = text.lstrip()
        yield "text", safe(text[: len(text) - len(words_of)])
        if words_of:
            yield _SIGN_STYLES[sign], sign
            yield _ONLY_STYLES[sign], safe(words_of)


def _shown(text: str) -> str:
    more = len(text) - _SHOWN
    return safe(text) if more <= 0 else f"{safe(text[:_SHOWN])}… and {more:,} more characters"


class PairText(ScrollView, can_focus=False):
    """Lines of a pair, laid out for the width there is; only those on the screen are painted."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"pair-text--{name}"
        for name in ("text", "dim", "role", "rule", "chosen", "rejected", "added", "removed", "plus", "minus")
    }
    DEFAULT_CSS = """
    PairText {
        padding: 0 0 0 1; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: scroll;
        & > .pair-text--dim { color: $secondary; }
        & > .pair-text--role { color: $accent; }
        & > .pair-text--rule { color: $border; }
        & > .pair-text--chosen { color: $success; text-style: bold; }
        & > .pair-text--rejected { color: $error; text-style: bold; }
        & > .pair-text--added { color: $success; }
        & > .pair-text--removed { color: $error; }
        & > .pair-text--plus { color: $success; text-style: bold; }
        & > .pair-text--minus { color: $error; text-style: bold; }
    }
    """

    # Without Textual's `layout=True`: another pair would lay out, and then paint, every scrollbar of the screen again.
    virtual_size: Reactive[Size] = Reactive(Size(0, 0))

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._pair: Pair | None = None
        self._marks: Marks | None = None
        self._tokens: tuple[int, int] | None = None
        self._folded = True
        self._layout: Layout | None = None
        self._styles_of: dict[str, Style] = {}

    def show(
        self, pair: Pair | None, marks: Marks | None, tokens: tuple[int, int] | None = None, *, folded: bool = True
    ) -> None:
        """Shows a pair, scrolled so that its last user turn and the beginning of the responses can be seen."""
        another = pair is None or self._pair is None or pair.id != self._pair.id
        self._pair, self._marks, self._tokens, self._folded = pair, marks, tokens, folded
        self._lay_out()
        if another:
            self.scroll_to(y=self._start(), animate=False, immediate=True)

    def on_resize(self) -> None:
        """Lays the pair out for the new width."""
        self._lay_out()
        self.scroll_to(y=self._start(), animate=False, immediate=True)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines that are to be painted, in the colours of the moment."""
        base = self.rich_style
        self._styles_of = {
            name.removeprefix("pair-text--"): base + self.get_component_rich_style(name, partial=True)
            for name in self.COMPONENT_CLASSES
        }
        self._styles_of[""] = base
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of the pair."""
        line = round(self.scroll_y) + y
        lines = self._layout.lines if self._layout else []
        runs = lines[line] if line < len(lines) else []
        strip = Strip([Segment(text, self._styles_of[name]) for name, text in runs])
        return strip.adjust_cell_length(self.size.width, self._styles_of[""])

    def _lay_out(self) -> None:
        width = max(4, self.size.width - 1)
        self._layout = (
            lay_out(self._pair, width, self._marks, self._tokens, folded=self._folded) if self._pair else None
        )
        self.virtual_size = Size(width, len(self._layout.lines) if self._layout else 0)
        self.refresh()

    def watch_virtual_size(self, size: Size) -> None:
        """Gives the scrollbar its new length; it is always there, as to come or go it would lay the screen out anew."""
        self.vertical_scrollbar.window_virtual_size = size.height

    def _start(self) -> int:
        if self._layout is None:
            return 0
        third = self.size.height // 3
        return (
            max(min(self._layout.question, self._layout.responses), self._layout.responses - third)
            if (self._layout.responses > third)
            else 0
        )


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
        status = status_of(self.pair)
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
        if self.pair.alone is not None:
            judged = "good" if self.pair.alone else "bad"
            return Content.styled(
                f"judged {judged} alone: kto trains on it · for pairs, r drafts a {self.pair.lacks[0]} answer",
                "$secondary",
            )
        if self.pair.lacks:
            lacking = " and ".join(f"a {side} answer" for side in self.pair.lacks)
            return Content.styled(f"to be drafted: it lacks {lacking} · r drafts it · e writes it", "$secondary")
        return Content.assemble(
            ("the model will prefer: ", "$secondary"),
            (f"“{one_line(readable(self.pair.chosen, folded=True)[:_QUOTED])}”", "$success"),
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
        self._folded = True

    def show(self, pair: Pair | None, known: Known | None = None) -> None:
        """Shows a pair and what is `known` of it."""
        self._pair, self._known = pair, known
        title = self.query_one(_Title)
        title.known, title.pair = known, pair
        self.query_one(_Preference).pair = pair
        if pair is None:
            self.query_one(PairText).show(None, None)
            return
        texts = readable(pair.chosen, folded=self._folded), readable(pair.rejected, folded=self._folded)
        if texts not in self._marks and max(map(len, texts)) <= _AT_ONCE:
            self._remember(texts, word_diff(*texts))
        self._show_text(pair, self._marks.get(texts))
        if texts not in self._marks:
            self._compare(pair, texts)

    def _show_text(self, pair: Pair, marks: Marks | None) -> None:
        tokens = self._known.tokens if self._known else None
        self.query_one(PairText).show(pair, marks, tokens, folded=self._folded)

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

    def fold(self) -> bool:
        """Opens reasoning, calls and other fields of turns, or folds them to a line each; whether the pair has any."""
        if self._pair is None or not has_more(self._pair):
            return False
        self._folded = not self._folded
        self.show(self._pair, self._known)
        return True

    def scroll_text(self, lines: int) -> None:
        """Scrolls the text of the pair."""
        self.query_one(PairText).scroll_relative(y=lines, animate=False)


_LABEL = "the model will prefer: "
_OVER = " over "


def doubt(pair: Pair) -> str:
    """Why training on the pair would teach nothing, or something else than it says; empty where it would not."""
    empty = [part for part in ("prompt", "chosen", "rejected") if not plain(getattr(pair, part)).strip()]
    if empty:
        return f"empty: {' and '.join(empty)}"
    if plain(pair.chosen).split() == plain(pair.rejected).split():
        return "chosen and rejected are the same: nothing would be learnt"
    fault = order_fault(pair)
    return f"turns out of order: {fault}" if fault else ""


class Preference(Widget):
    """Two lines: what the model will prefer over what, and what is to be said against that."""

    DEFAULT_CSS = "Preference { height: 2; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }"

    pair: reactive[Pair | None] = reactive(None)

    def render(self) -> RenderResult:
        """The lines in the width there is; both quotations begin shortly before the texts part."""
        if self.pair is None:
            return ""
        sides = (self.pair.chosen, self.pair.rejected)
        chosen, rejected = (" ".join(readable(text, folded=True).split()) for text in sides)
        room = max(8, (self.size.width - len(_LABEL) - len(_OVER) - 4) // 2)
        begin = _parting(chosen, rejected, room // 2)
        said = doubt(self.pair)
        return Content.assemble(
            (_LABEL, "$secondary"),
            (f"“{_quoted(chosen, begin, room)}”", "$success"),
            (_OVER, "$secondary"),
            (f"“{_quoted(rejected, begin, room)}”", "$error"),
            "\n",
            (f"▲ {said}" if said else "", "$warning"),
        )


def _quoted(text: str, begin: int, room: int) -> str:
    return cut(("…" if begin else "") + one_line(text[begin : begin + _QUOTED]), room)


def _parting(one: str, other: str, room: int) -> int:
    """Where to begin both texts so that the place where they part is in view: 0 where it is within `room`."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if same <= room or one == other:
        return 0
    return one.rfind(" ", 0, max(1, same - room // 3)) + 1
