"""What base and aligned model answered to held-out prompts while a run went: side by side, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from workbench.runs.events import Sample
from workbench.text import cut, one_line, safe
from workbench.tui.widgets.quiet_lines import QuietLines
from workbench.tui.widgets.wrap import wrap

_SIDE_BY_SIDE = 84
"""Cells from which on the two answers stand beside each other."""
_RULE = " │ "


def latest(samples: Sequence[Sample], width: int) -> Content:
    """The newest pair of answers on a line; empty where there is none."""
    if not samples or width < 60:
        return Content("")
    newest = samples[-1]
    asked = one_line(newest.prompt, width // 4)
    head = f"step {newest.step:,}  "
    room = (width - len(head) - len(asked) - 26) // 2
    return Content.assemble(
        (head, "$secondary"),
        (f"“{asked}”", "$secondary"),
        ("  base ", "$secondary"),
        (cut(one_line(newest.base) or "(nothing)", room), "$foreground"),
        ("  aligned ", "$accent"),
        (cut(one_line(newest.aligned) or "(nothing)", room), "$foreground"),
    )


def page(samples: Sequence[Sample], back: int, width: int) -> list[Content]:
    """The answers of one step, `back` steps before the newest one, in lines of `width` cells."""
    steps = sorted({each.step for each in samples})
    if not steps:
        return [Content.styled("No answers yet: they come with the evaluations of held-out pairs.", "$secondary")]
    index = max(len(steps) - 1 - back, 0)
    head = Content.assemble(
        ("answers to held-out prompts", "bold $foreground"),
        (f"   step {steps[index]:,}", "$foreground"),
        (f"   {index + 1} of {len(steps)}", "$secondary"),
        ("   [ ", "bold $accent"),
        ("earlier  ", "$secondary"),
        ("] ", "bold $accent"),
        ("later", "$secondary"),
    )
    lines = [head]
    for each in samples:
        if each.step == steps[index]:
            lines += [Content(""), *_asked(each, width), *_answers(each, width)]
    return lines


def _asked(sample: Sample, width: int) -> list[Content]:
    return _wrapped(sample.prompt, width - 2, "$secondary", first="› ")


def _answers(sample: Sample, width: int) -> list[Content]:
    base = _titled("base", sample.base_tokens, "bold $secondary")
    aligned = _titled("aligned", sample.aligned_tokens, "bold $accent")
    if width < _SIDE_BY_SIDE:
        return [
            base,
            *_wrapped(sample.base, width, "$foreground"),
            aligned,
            *_wrapped(sample.aligned, width, "$foreground"),
        ]
    half = (width - len(_RULE)) // 2
    left = [base, *_wrapped(sample.base, half, "$foreground")]
    right = [aligned, *_wrapped(sample.aligned, half, "$foreground")]
    height = max(len(left), len(right))
    left += [Content("")] * (height - len(left))
    right += [Content("")] * (height - len(right))
    return [
        Content.assemble(one, " " * (half - one.cell_length), (_RULE, "$border"), other)
        for one, other in zip(left, right, strict=True)
    ]


def _titled(name: str, tokens: int, style: str) -> Content:
    return Content.assemble((name, style), (f"  {tokens} tokens", "$secondary"))


def _wrapped(text: str, width: int, style: str, first: str = "") -> list[Content]:
    shown = safe(text).strip() or "(nothing)"
    lines = wrap([(style, shown)], max(width, 8))
    indent = " " * len(first)
    return [
        Content.assemble((indent if number else first, style), *((part, each) for each, part in line))
        for number, line in enumerate(lines)
    ]


class SamplesView(VerticalScroll):
    """Shows the answers of one step at a time."""

    DEFAULT_CSS = """
    SamplesView { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="samples")
        self._samples: tuple[Sample, ...] = ()
        self._back = 0

    def compose(self) -> ComposeResult:
        """The answers."""
        yield QuietLines()

    def show(self, samples: tuple[Sample, ...]) -> None:
        """Shows the newest of these, or those that were chosen."""
        if self._back and len(samples) > len(self._samples):
            # What is being read stays in sight when newer answers come.
            self._back += len({each.step for each in samples}) - len({each.step for each in self._samples})
        self._samples = samples
        self._redraw()

    def go(self, steps: int) -> None:
        """To later answers, or to earlier ones where negative."""
        most = max(len({each.step for each in self._samples}) - 1, 0)
        self._back = min(max(self._back - steps, 0), most)
        self._redraw()
        self.scroll_home(animate=False)

    def restart(self) -> None:
        """Back to the newest answers."""
        self._back = 0

    def _redraw(self) -> None:
        width = self.scrollable_content_region.width
        if width > 8:
            self.query_one(QuietLines).show(page(self._samples, self._back, width))

    def on_resize(self) -> None:
        """Breaks the lines anew."""
        self._redraw()
