"""A whole comparison on the screen: one frozen value in, nothing out but clicks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widgets import Static

from workbench import figures
from workbench.compare.comparison import ColumnGeneration, Comparison
from workbench.compare.measures import behaviour_shares
from workbench.compare.messages import Column, Prompt, Turn
from workbench.compare.tuned_runs import settings_told
from workbench.pairs.readable import readable_turn
from workbench.text import one_line, safe
from workbench.tui.widgets.answer_view import AnswerView
from workbench.tui.widgets.bars import Bars, PrefixLine
from workbench.tui.widgets.headline import headline_lines
from workbench.tui.widgets.lines import Lines, MadeLines


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """`hint` says what could be done next, `title` how answers are generated.

    `speaking`: on a low screen, what the columns say takes the place of the bars. `by_shift`: tokens are coloured by
    the class of their shift, not by how their log-probability moved. `bounds`: tokens show where they begin, control
    tokens too. `presenting`: large, and few words. `cursor`: the row of the bars that enter would take.
    """

    hint: str = ""
    title: str = ""
    speaking: bool = False
    by_shift: bool = False
    bounds: bool = True
    presenting: bool = False
    cursor: int | None = None


_SETTINGS = 24
"""Cells for what a column gives to the chat template."""
_NAME_LENGTHS = (40, 32, 24, 18, 14, 10, 7)


class ColumnsBar(Lines):
    """base │ run │ …, the one beside the base marked, each with the probability of the answer in view."""

    DEFAULT_CSS = "ColumnsBar { height: 1; padding: 0 1; background: $panel; }"

    @dataclass
    class Picked(Message):
        """The column with this number was clicked on."""

        column: int

    @dataclass
    class AddClicked(Message):
        """A column is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self._comparison = Comparison()
        self._ends: list[int] = []

    def show(self, comparison: Comparison) -> None:
        """Shows the columns of a comparison."""
        self._comparison = comparison
        self.redraw()

    def lines(self, width: int) -> list[Content]:
        """The one line."""
        for room in _NAME_LENGTHS:
            line = self._line(room)
            if line.cell_length <= width:
                break
        hint = "+ add a column"
        if line.cell_length + cell_len(hint) + 3 <= width:
            line = Content.assemble(line, " " * (width - line.cell_length - cell_len(hint)), (hint, "$secondary"))
        return [line.truncate(width, ellipsis=True)]

    def _line(self, room: int) -> Content:
        """All columns, their names cut to `room` cells."""
        comparison, parts, end = self._comparison, [], 0
        self._ends = []
        for number, column in enumerate(comparison.columns):
            current = number == comparison.current and number > 0
            settings = settings_told(column, comparison.columns)
            part = Content.assemble(
                ("▸ " if current else "", "$accent"),
                (one_line(column.name, room), "bold $accent" if current else "bold" if number == 0 else "$secondary"),
                (f" · {one_line(settings, _SETTINGS)}" if settings else "", "$secondary"),
                self._chance(number),
                self._system_size(number),
            )
            parts.append(part)
            end += part.cell_length + 3
            self._ends.append(end)
        return Content.styled(" │ ", "$border").join(parts)

    def on_click(self, event: Click) -> None:
        """Picks the column under the pointer, or asks for another at the right end."""
        x = event.get_content_offset(self)
        if x is None:
            return
        number = next((number for number, end in enumerate(self._ends) if x.x < end), None)
        if number is None:
            self.post_message(self.AddClicked())
        elif number:
            self.post_message(self.Picked(number))

    def _chance(self, number: int) -> Content:
        """The answer's probability, where more columns are there than the headline tells of."""
        answer, name = self._comparison.answer, self._comparison.columns[number].name
        scored = answer.under(name) if answer is not None and len(self._comparison.columns) > 2 else None
        if answer is None or scored is None:
            return Content("")
        base = answer.under(self._comparison.base.name)
        sign = figures.direction(scored.sum - base.sum).strip() if base is not None and number else ""
        color = "$success" if sign == "▲" else "$error"
        return Content.assemble("  ", figures.probability(scored.sum), (f" {sign}" if sign else "", color))

    def _system_size(self, number: int) -> Content:
        """How many tokens the column's system message costs."""
        column = self._comparison.columns[number]
        cost = self._comparison.costs.get(column.name)
        if cost is None or column.system is None:
            return Content("")
        return Content.styled(f" (+{cost.extra} tokens)", "$secondary")


_ROLE = 11


class PromptView(Lines):
    """Roles dim at the left, their words wrapped beside them. A column's own system message comes first."""

    DEFAULT_CSS = "PromptView:hover { background: $surface; }"

    class Clicked(Message):
        """The prompt is to be changed."""

    def __init__(self) -> None:
        super().__init__()
        self._turns: list[tuple[str, str, bool]] = []

    def show(self, prompt: Prompt, column: Column | None) -> None:
        """Shows a prompt, and the system message that `column` puts before it."""
        turns = [Turn(role="text", content=prompt)] if isinstance(prompt, str) else prompt
        shown = [(turn.role, readable_turn(turn.message(), folded=False), False) for turn in turns]
        if column is not None and column.system:
            shown.insert(0, ("+ system", column.system, True))
        if shown != self._turns:
            self._turns = shown
            self.redraw()
            self.call_after_refresh(self._show_end)

    def lines(self, width: int) -> list[Content]:
        """Every turn, wrapped."""
        shown: list[Content] = []
        for role, words, added in self._turns:
            style = "$secondary" if added else "$foreground"
            label = one_line(role, _ROLE - 2).ljust(_ROLE)
            for part in wrapped(words, width - _ROLE):
                shown.append(Content.assemble((label, "$secondary"), part.stylize(style)))
                label = " " * _ROLE
        return shown

    def _show_end(self) -> None:
        """The last turn is the one that is answered."""
        if isinstance(self.parent, VerticalScroll):
            self.parent.scroll_end(animate=False)

    def on_click(self, event: Click) -> None:
        """Asks for a change."""
        event.stop()
        self.post_message(self.Clicked())


def wrapped(text: str, width: int) -> list[Content]:
    """Untrusted text in lines of at most `width` cells."""
    lines = safe(text).strip("\n").split("\n")
    return [part for line in lines for part in Content(line).wrap(max(width, 1), overflow="fold")]


_BEHAVIOUR = 24
_SHARE = 5
_WIDEST_BAR = 40


def generation_lines(generation: ColumnGeneration, color: str, width: int) -> list[Content]:
    """One column's words below its name."""
    words = wrapped(generation.text, width) if generation.text else []
    if not generation.done:
        end = Content.styled("▌", color)
        if words and words[-1].cell_length < width:
            words[-1] = words[-1] + end
        else:
            words.append(end)
    elif generation.cut:
        words.append(Content.styled("… cut at the token limit", "$secondary"))
    elif not generation.text:
        words.append(Content.styled("(it ended at once)", "$secondary"))
    return [Content.styled(one_line(generation.name, width), f"bold {color}"), *words]


def share_lines(comparison: Comparison, width: int) -> list[Content]:
    """Heading and a line a behaviour, counted over the samples: a bar and the share in base and in aligned."""
    counted = behaviour_shares(comparison.samples)
    names = [each.name for each in (comparison.base, comparison.aligned) if each is not None and each.name in counted]
    if not names:
        return []
    behaviours = [one_line(each.behaviour or "none of these", _BEHAVIOUR) for each in counted[names[0]]]
    label = max(map(cell_len, behaviours)) + 2
    size = max(3, min(_WIDEST_BAR, (width - label) // len(names) - _SHARE - 3))
    gap = size + _SHARE + 3
    heading = [(" " * label, "")]
    for number, name in enumerate(names):
        shown = one_line(name, gap - 1)
        style = "bold $accent" if number else "bold $foreground"
        heading.append((shown + " " * (gap - cell_len(shown)), style))
    lines = [Content.assemble(*heading).truncate(width)]
    for row, behaviour in enumerate(behaviours):
        parts = [(behaviour + " " * (label - cell_len(behaviour)), "$foreground")]
        for number, name in enumerate(names):
            each = counted[name][row]
            bar = figures.share_bar(each.share, size) if each.count else " " * size
            parts += [(bar, "$accent" if number else "$secondary"), (f" {each.share:{_SHARE - 1}.2f}   ", "")]
        lines.append(Content.assemble(*parts).truncate(width))
    return lines


class GenerationView(Horizontal):
    """Base at the left, the column beside it at the right."""

    DEFAULT_CSS = """
    GenerationView { height: 1fr; }
    GenerationView VerticalScroll { width: 1fr; height: 1fr; scrollbar-size-vertical: 1; padding-right: 2; }
    """

    def compose(self) -> ComposeResult:
        """A text a column."""
        yield VerticalScroll(MadeLines(), can_focus=False)
        yield VerticalScroll(MadeLines(), can_focus=False)

    def show(self, comparison: Comparison) -> None:
        """Shows what base and aligned said so far."""
        sides = ((comparison.base, "$foreground"), (comparison.aligned, "$accent"))
        for box, (column, color) in zip(self.query(VerticalScroll), sides, strict=True):
            generations = {generation.name: generation for generation in comparison.generations}
            generation = generations.get(column.name) if column is not None else None
            box.display = generation is not None
            if generation is not None:
                box.query_one(MadeLines).show(partial(generation_lines, generation, color))
                if not generation.done:
                    box.scroll_end(animate=False)


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
    ComparisonView #headline { margin-top: 1; }
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
    ComparisonView PrefixLine { margin-top: 1; }
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
            yield MadeLines(id="headline")
            yield PrefixLine()
            yield Bars()
            with Vertical(id="answers"):
                for _ in range(_ANSWERS):
                    yield AnswerView()
            with Vertical(id="generation"):
                yield Static(id="generation-title", markup=False)
                yield MadeLines(id="shares")
                yield GenerationView()

    def on_mount(self) -> None:
        """Fits the parts to the height there is."""
        self._comparison, self._options = Comparison(), ViewOptions()
        self.show(self._comparison, self._options)

    def on_resize(self) -> None:
        """Fits the parts to the height there is."""
        tall = self.size.height >= _TALL
        self.set_class(self.size.height >= _TALLER, "-taller")
        if tall != self.has_class("-tall") or not (self.has_class("-tall") or self.has_class("-short")):
            self.set_class(tall, "-tall")
            self.set_class(not tall, "-short")
            for answer in self.query(AnswerView):
                answer.set_class(tall, "-tall")
            self.show(self._comparison, self._options)

    def show(self, comparison: Comparison, options: ViewOptions = ViewOptions()) -> None:
        """Shows `comparison` as `options` have it."""
        self._comparison, self._options = comparison, options
        self.set_class(options.speaking, "-speaking")
        self.set_class(options.presenting, "-presenting")
        self.query_one(ColumnsBar).show(comparison)
        self.query_one(PromptView).show(comparison.prompt, comparison.aligned)
        big = options.presenting or self.has_class("-tall")
        self.query_one("#headline", MadeLines).show(partial(headline_lines, comparison, options.hint, big=big))
        thick = options.presenting and self.has_class("-tall")
        self.query_one(Bars).show(comparison, cursor=options.cursor, thick=thick, few_words=options.presenting)
        self._show_answers()
        self.query_one("#generation-title", Static).update(one_line(options.title))
        self.query_one("#shares", MadeLines).show(partial(share_lines, comparison))
        self.query_one(GenerationView).show(comparison)

    def _show_answers(self) -> None:
        """The active answer, and the other one in view where there is room."""
        comparison = self._comparison
        shown = comparison.shown[:_ANSWERS] if self.has_class("-tall") else comparison.shown
        if comparison.answer is not None and (comparison.answer not in shown or not self.has_class("-tall")):
            shown = (comparison.answer,)
        for number, view in enumerate(self.query(AnswerView)):
            answer = shown[number] if number < len(shown) else None
            view.show(comparison, answer, by_shift=self._options.by_shift, bounds=self._options.bounds)
        self.query_one("#answers").display = bool(shown) and not self._options.presenting
