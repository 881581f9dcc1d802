"""How long chosen is beside rejected: a histogram, and what a rule that looks at nothing else would score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from workbench.tui import figures
from workbench.tui.widgets.lines import Lines

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉█"
_NAME, _COUNT, _SHARE, _LONGEST = 22, 9, 7, 48


class LengthBars(Lines):
    """Two lines always: the rule's score, and the bars as one small row; where `full`, a line a bar below the score."""

    DEFAULT_CSS = "LengthBars { color: $foreground; }"

    def __init__(self, *, full: bool = False) -> None:
        super().__init__()
        self._full = full
        self._lengths: Mapping[str, Any] = {}

    def show(self, lengths: Mapping[str, Any], *, full: bool) -> None:
        """Shows the figures of a report."""
        if (lengths, full) != (self._lengths, self._full):
            self._lengths, self._full = lengths, full
            self.redraw()
            self.refresh(layout=True)

    def lines(self, width: int) -> list[Content]:
        """What there is to show; nothing where no pair was measured."""
        found = self._lengths
        if not found.get("pairs"):
            return []
        bars = full_bars(found, width) if self._full else [small_bars(found)]
        return [line.truncate(width) for line in (score(found, width), *bars)]


def score(found: Mapping[str, Any], width: int) -> Content:
    """What "the longer wins" would score, and the size of the effect, each with its 95% interval."""
    low, high = found["longer_wins_interval"]
    small, large = found["effect_interval"]
    said = Content.assemble(
        ('"longer wins" ', "$secondary"),
        (f"{found['longer_wins']:.1%}", "bold"),
        (f" ({low:.1%} to {high:.1%})", "$secondary"),
        (" · effect ", "$secondary"),
        (_signed(found["effect"]), "bold"),
        (f" ({_signed(small)} to {_signed(large)})", "$secondary"),
    )
    chosen, rejected = figures.value(found["mean_chosen"]), figures.value(found["mean_rejected"])
    whole = Content.assemble(
        said, (f" · chosen {chosen}, rejected {rejected} {found['unit']} on average", "$secondary")
    )
    return whole if whole.cell_length <= width else said


def small_bars(found: Mapping[str, Any]) -> Content:
    """The whole histogram in one line, a bar of up to eight eighths for each bin."""
    counts = [bar["pairs"] for bar in found["histogram"]]
    most = max(counts)
    bars = [_EIGHTHS[-(-8 * count // most)] * 2 for count in counts]
    middle = len(bars) // 2
    return Content.assemble(
        ("rejected longer ", "$secondary"),
        ("".join(bars[:middle]), "$warning"),
        (bars[middle], "$secondary"),
        ("".join(bars[middle + 1 :]), "$accent"),
        (" chosen longer", "$secondary"),
    )


def full_bars(found: Mapping[str, Any], width: int) -> Sequence[Content]:
    """A line for each bin: its name, its bar, its pairs, and its share of all."""
    bins, total = found["histogram"], found["pairs"]
    most, middle = max(bar["pairs"] for bar in bins), len(bins) // 2
    longest = max(4, min(_LONGEST, width - _NAME - _COUNT - _SHARE - 2))
    made = []
    for place, each in enumerate(bins):
        count = each["pairs"]
        drawn = _bar(count / most, longest)
        color = "$warning" if place < middle else "$accent" if place > middle else "$secondary"
        made.append(
            Content.assemble(
                (f"  {each['bar']:<{_NAME}}"[: _NAME + 2], "$secondary"),
                (drawn.ljust(longest), color),
                f"{count:>{_COUNT},}",
                (f"{count / total:>{_SHARE}.1%}", "$secondary"),
            )
        )
    return made


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    if share and not eighths:
        eighths = 1
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_PARTS[rest] if rest else "")


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")
