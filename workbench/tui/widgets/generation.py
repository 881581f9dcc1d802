"""What the columns say when they are let speak, side by side, as it comes."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content

from workbench.compare.comparison import Comparison, Said
from workbench.text import one_line
from workbench.tui.widgets.lines import Lines
from workbench.tui.widgets.prompt_view import wrapped


class _Voice(Lines):
    """One column's words."""

    def __init__(self, *, accent: bool) -> None:
        super().__init__()
        self._color = "$accent" if accent else "$foreground"
        self._said = Said("")

    def show(self, said: Said) -> None:
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
            said = next((each for each in comparison.said if each.name == name), None)
            box.display = said is not None
            if said is not None:
                box.query_one(_Voice).show(said)
                if not said.done:
                    box.scroll_end(animate=False)
