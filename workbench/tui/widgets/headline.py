"""The numbers that the eye must meet first: how likely the answers were, and how likely they are now."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.renderables.digits import Digits

from workbench import figures
from workbench.compare.comparison import Answer, Comparison
from workbench.text import cut, one_line

_GAP = 4
_SUPERSCRIPTS = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """A number before and after. `change` is in nats or log-odds; `words` say what it means, `detail` what it is of."""

    caption: str
    detail: str
    before: str
    after: str = ""
    change: float = 0.0
    words: str = ""

    @property
    def color(self) -> str:
        """The theme colour of its direction; its sign says the same."""
        sign = figures.direction(self.change)
        return "$success" if sign == "▲" else "$error" if sign == "▼" else "$foreground"


def headline_lines(comparison: Comparison, hint: str, width: int, *, big: bool) -> list[Content]:
    """Before → after of every answer in view, in digits three lines high where `big` is set and there is room; below
    it what system messages cost, and the `hint`."""
    shown = headline_figures(comparison)
    label = min(max((cell_len(figure.caption) for figure in shown), default=0) + 2, max(24, width - 52))
    numbers = max((cell_len(number) for figure in shown for number in (figure.before, figure.after)), default=0)
    lines = (big_lines(shown, width) if big else None) or [_line(figure, label, numbers, width) for figure in shown]
    below = (fitting_parts(cost_parts(comparison), width), one_line(hint, width))
    return lines + [Content.styled(text, "$secondary") for text in below if text]


def headline_figures(comparison: Comparison) -> list[BeforeAfter]:
    """The figures of a comparison: each answer in view, then how a pair's two weigh against each other."""
    shown = [_of_answer(comparison, answer) for answer in comparison.shown]
    names = {comparison.base.name, *([comparison.aligned.name] if comparison.aligned else [])}
    told = [figure for figure in shown if figure][: max(2, len(names))]
    preference = comparison.preference
    if preference is not None:
        before, after, implicit = preference.base, preference.aligned, preference.implicit
        odds = 0.0 if after is None else _odds(after) - _odds(before)
        told.append(
            BeforeAfter(
                "P(chosen over rejected)",
                "",
                figures.odds_on(before),
                "" if after is None else figures.odds_on(after),
                odds,
                "" if implicit is None else f"DPO σ(β·Δ) {figures.odds_on(implicit)} at β {comparison.beta:g}",
            )
        )
    return told


def cost_parts(comparison: Comparison) -> list[str]:
    """ "Prompt it or train it": the tokens that system messages burn, and adapters do not. Empty without the former."""
    costs, prompted, trained = comparison.costs, [], []
    for column in comparison.columns[1:]:
        name, cost = one_line(column.name, 24), costs.get(column.name)
        if cost is not None and column.system:
            extra, per_million = figures.tokens(cost.extra), figures.tokens(cost.per_million)
            burnt = f"{extra} tokens a request, {per_million} in a million requests"
            prompted.append(f"{name} burns {burnt}")
        elif cost is not None:
            trained.append(f"{name} none")
    return [*prompted, *trained] if prompted else []


def fitting_parts(parts: list[str], width: int) -> str:
    """As many of the parts as fit on a line, the first in any case."""
    line = parts[0] if parts else ""
    for part in parts[1:]:
        if cell_len(f"{line} · {part}") > width:
            break
        line = f"{line} · {part}"
    return one_line(line, width)


def _of_answer(comparison: Comparison, answer: Answer) -> BeforeAfter:
    base, aligned = comparison.scores(answer)
    caption, detail = f"P({one_line(answer.label)})", one_line(answer.text)
    if base is None:
        return BeforeAfter(caption, detail, "…")
    if aligned is None:
        return BeforeAfter(caption, detail, figures.probability(base.sum), "…" if comparison.aligned else "")
    change = aligned.sum - base.sum
    return BeforeAfter(
        caption,
        detail,
        figures.probability(base.sum),
        figures.probability(aligned.sum),
        change,
        figures.times(change),
    )


def _line(figure: BeforeAfter, label_width: int, number_width: int, width: int) -> Content:
    label = cut(figure.caption, label_width - 1)
    label += " " * (label_width - cell_len(label))
    sign = figures.direction(figure.change)
    line = Content.assemble(
        (label, "$secondary"),
        (figure.before.rjust(number_width), "bold"),
        (" → " if figure.after else "   ", "$secondary"),
        (figure.after.ljust(number_width), f"bold {figure.color}"),
        (f" {sign} ", f"bold {figure.color}"),
        (figure.words, figure.color if figure.detail else "$secondary"),
    )
    room = width - line.cell_length - 3
    if figure.detail and room >= 12:
        line = Content.assemble(line, "   ", (cut(f"“{figure.detail}”", room), "$secondary"))
    return line.truncate(width, ellipsis=True)


def big_lines(told: list[BeforeAfter], width: int) -> list[Content] | None:
    """The figures side by side in digits three lines high; None where they do not fit in `width` cells."""
    if not told:
        return None
    column = (width - _GAP * (len(told) - 1)) // len(told)
    blocks = [_big(figure, column) for figure in told]
    if any(block is None for block in blocks):
        return None
    rows = zip(*(block for block in blocks if block is not None), strict=True)
    return [Content(" " * _GAP).join(row) for row in rows]


def _big(figure: BeforeAfter, width: int) -> list[Content] | None:
    """Caption, three lines of digits, and what they mean, all `width` cells wide; None where that is too narrow."""
    sign = figures.direction(figure.change).strip()
    before = _digits(figure.before)
    digits = [list(line) for line in zip(before, _digits(figure.after), strict=True)] if figure.after else None
    shown = []
    for row in range(3):
        arrow = ("  →  " if row == 1 else " " * 5) if digits else ""
        after = digits[row][1] if digits else ""
        mark = f"  {sign}" if sign and row == 1 else ""
        line = Content.assemble(
            (before[row], "bold $secondary" if figure.after else "bold"),
            (arrow, "$secondary"),
            (after, f"bold {figure.color}"),
            (mark, f"bold {figure.color}"),
        )
        shown.append(line)
    caption = Content.styled(cut(figure.caption, width), "bold $foreground")
    room = width - caption.cell_length - 2
    if figure.detail and room >= 8:
        caption = Content.assemble(caption, "  ", (cut(f"“{figure.detail}”", room), "$secondary"))
    words = Content.styled(cut(figure.words, width), figure.color if figure.detail else "$secondary")
    block = [caption, *shown, words]
    if max(line.cell_length for line in block) > width:
        return None
    return [line.pad_right(width - line.cell_length) for line in block]


def _digits(text: str) -> list[str]:
    """Three lines that spell `text`; what the digits have no shape for stands on their middle line."""
    rows = ["", "", ""]
    for character in text.replace("×", "x"):
        shape = [part for part in Digits(character).render(Style(bold=True)) if isinstance(part, Segment)]
        segments = "".join(part.text for part in shape).split("\n")[:3]
        if character in _SUPERSCRIPTS:
            segments = [character, " ", " "]
        elif Digits.get_width(character) == 1 and character != ".":
            segments = [" ", character, " "]
        width = max(cell_len(line) for line in segments)
        rows = [row + line.ljust(width) for row, line in zip(rows, segments, strict=True)]
    return rows


def _odds(chance: float) -> float:
    doubt = 1e-12
    return math.log(max(chance, doubt) / max(1 - chance, doubt))
