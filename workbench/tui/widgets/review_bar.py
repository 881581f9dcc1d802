"""The line that tells how far the review of a data set is, and how fast it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from workbench.pairs.pair import Status
from workbench.tui.widgets.pair_cells import SIGNS

_COLOURS: dict[Status, str] = {"accepted": "$success", "dropped": "$error", "flagged": "$warning"}
_PAUSE = 120.0
_LEAST = 10.0
_WIDE = 130


@dataclass(frozen=True, slots=True)
class Pace:
    """How many pairs were reviewed in this session, and in how many seconds, long pauses left out."""

    reviewed: int = 0
    seconds: float = 0.0
    latest: float | None = None

    def after(self, now: float) -> Pace:
        """The pace with one more pair reviewed at `now` (seconds of a monotonic clock)."""
        gap = 0.0 if self.latest is None else min(now - self.latest, _PAUSE)
        return Pace(self.reviewed + 1, self.seconds + gap, now)

    @property
    def per_minute(self) -> float | None:
        """Pairs a minute; None until some were reviewed, over some seconds."""
        known = self.reviewed > 2 and self.seconds >= _LEAST
        return 60 * (self.reviewed - 1) / self.seconds if known else None


class ReviewBar(Widget):
    """Progress at the left, this session at the right. `notice` takes the right side while it is set."""

    DEFAULT_CSS = "ReviewBar { height: 1; padding: 0 1; color: $secondary; }"

    counts: reactive[Mapping[Status, int]] = reactive(dict)
    pace: reactive[Pace] = reactive(Pace())
    notice: reactive[str] = reactive("")

    def render(self) -> RenderResult:
        """The line, in words where there is room for them and in signs where not."""
        total = sum(self.counts.values())
        if not total:
            return Content(self.notice)
        width = self.size.width
        wide = width >= _WIDE
        left = self.counts["new"]
        done = (total - left) / total
        bar = 24 if wide else 14
        full = round(bar * done)
        text = Content.assemble(
            ("━" * full, "$accent"),
            ("─" * (bar - full), "$border"),
            (f" {int(100 * done):>3}%", "$foreground"),
        )
        for status, style in _COLOURS.items():
            word = f" {status}" if wide else ""
            text = Content.assemble(text, "  ", (SIGNS[status], style), f" {self.counts[status]:,}{word}")
        text = Content.assemble(text, "  ", (f"{left:,}", "$foreground"), " left")
        room = width - text.cell_length - 3
        session = Content.styled(self.notice, "$warning") if self.notice else Content(self._session(left, room))
        gap = width - text.cell_length - session.cell_length
        return Content.assemble(text, " " * gap, session) if gap >= 2 else text

    def _session(self, left: int, room: int) -> str:
        """What fits into so many cells of: pairs reviewed, pace, time left."""
        if not self.pace.reviewed:
            return ""
        parts = [f"{self.pace.reviewed:,} reviewed"]
        if self.pace.per_minute:
            parts.append(f"{self.pace.per_minute:.0f} pairs/min")
            minutes = left / self.pace.per_minute
            parts.append(f"{minutes:.0f} min left" if minutes >= 1 else "under 1 min left")
        while len(parts) > 1 and len(" · ".join(parts)) > room:
            parts.pop()
        return " · ".join(parts)
