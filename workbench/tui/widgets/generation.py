"""What the columns say when they are let speak, side by side, as it comes."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content

from workbench.compare import formatting
from workbench.compare.comparison import ColumnGeneration, Comparison
from workbench.compare.measures import family_shares
from workbench.text import one_line
from workbench.tui.widgets.comparison_lines import ComparisonLines
from workbench.tui.widgets.lines import Lines
from workbench.tui.widgets.prompt_view import wrapped

_FAMILY = 24
_SHARE = 5
_WIDEST_BAR = 40


class _Voice(Lines):
    """One column's words."""

    def __init__(self, *, accent: bool) -> None:
        super().__init__()
        self._color = "$accent" if accent else "$foreground"
        self._said = ColumnGeneration("")

    def show(self, said: ColumnGeneration) -> None:
        if said != self._said:
            self._said = said
            self.redraw()

    def lines(self, width: int) -> list[Content]:
        said = self._said
        heading = Content.styled(one_line(said.name, width), f"bold {self._color}")
        words = wrapped(said.text, width) if said.text else []
        if not said.done:
            end = Content.styled("▌", self._color)
            if words and words[-1].cell_length < width:
                words[-1] = words[-1] + end
            else:
                words.append(end)
        elif said.cut:
            words.append(Content.styled("… cut at the token limit", "$secondary"))
        elif not said.text:
            words.append(Content.styled("(it ended at once)", "$secondary"))
        return [heading, *words]


class ShareView(ComparisonLines):
    """How often base and aligned answer in which way, counted over their samples; nothing where there are none."""

    def lines(self, width: int) -> list[Content]:
        """A family a line."""
        return share_lines(self._comparison, width)


def share_lines(comparison: Comparison, width: int) -> list[Content]:
    """Heading and a line a family of answers: a bar and the share in base and in aligned."""
    counted = family_shares(comparison.samples)
    names = [each.name for each in (comparison.base, comparison.aligned) if each is not None and each.name in counted]
    if not names:
        return []
    families = [one_line(each.family or "other", _FAMILY) for each in counted[names[0]]]
    label = max(map(cell_len, families)) + 2
    size = max(3, min(_WIDEST_BAR, (width - label) // len(names) - _SHARE - 3))
    gap = size + _SHARE + 3
    heading = [(" " * label, "")]
    for number, name in enumerate(names):
        shown = one_line(name, gap - 1)
        style = "bold $accent" if number else "bold $foreground"
        heading.append((shown + " " * (gap - cell_len(shown)), style))
    lines = [Content.assemble(*heading).truncate(width)]
    for place, family in enumerate(families):
        parts = [(family + " " * (label - cell_len(family)), "$foreground")]
        for number, name in enumerate(names):
            each = counted[name][place]
            bar = formatting.bar(each.share, size) if each.count else " " * size
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
        """Two voices."""
        yield VerticalScroll(_Voice(accent=False), can_focus=False)
        yield VerticalScroll(_Voice(accent=True), can_focus=False)

    def show(self, comparison: Comparison) -> None:
        """Shows what base and aligned said so far."""
        names = (comparison.base.name, comparison.aligned.name if comparison.aligned else None)
        for box, name in zip(self.query(VerticalScroll), names, strict=True):
            said = next((each for each in comparison.generations if each.name == name), None)
            box.display = said is not None
            if said is not None:
                box.query_one(_Voice).show(said)
                if not said.done:
                    box.scroll_end(animate=False)
