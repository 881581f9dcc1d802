"""What the Pairs screen says of a whole data set: how far its review is, or what to do while there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from textual.app import ComposeResult, RenderResult
from textual.containers import Center, Middle
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from workbench.pairs.pair import Status
from workbench.text import one_line
from workbench.tui.widgets.pair_table import SIGNS

if TYPE_CHECKING:
    from workbench.pairs.session import Pace

_COLOURS: dict[Status, str] = {"accepted": "$success", "dropped": "$error", "flagged": "$warning"}
_WIDE = 130


class ReviewBar(Widget):
    """Progress at the left, this session at the right. `notice` takes the right side while it is set."""

    DEFAULT_CSS = "ReviewBar { height: 1; padding: 0 1; color: $secondary; }"

    counts: reactive[Mapping[Status, int]] = reactive(dict)
    pace: reactive[Pace | None] = reactive(None)
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
        pace = self.pace
        if pace is None or not pace.reviewed:
            return ""
        parts = [f"{pace.reviewed:,} reviewed"]
        if pace.per_minute:
            parts.append(f"{pace.per_minute:.0f} pairs/min")
            minutes = left / pace.per_minute
            parts.append(f"{minutes:.0f} min left" if minutes >= 1 else "under 1 min left")
        while len(parts) > 1 and len(" · ".join(parts)) > room:
            parts.pop()
        return " · ".join(parts)


class EmptyPairs(Middle):
    """Says what to do next."""

    DEFAULT_CSS = "EmptyPairs Static { width: auto; max-width: 90%; }"

    def compose(self) -> ComposeResult:
        """A few lines in the middle."""
        with Center():
            yield Static("", markup=False)

    def show_no_data(self, folder: str) -> None:
        """There is no data set in the workspace."""
        self._show(
            (f"No preference pairs in {one_line(folder)} yet", "bold $foreground"),
            ("", ""),
            (
                "i  brings in a file (JSONL, JSON, CSV, Parquet). From the command line, or from Hugging Face:",
                "$secondary",
            ),
            ("    workbench import FILE|HUB_ID --name NAME", "$accent"),
            ("", ""),
            ("Or see the whole loop on the embedded model first:", "$secondary"),
            ("    workbench demo", "$accent"),
            ("", ""),
            ("They appear here as soon as they are there.", "$secondary"),
        )

    def show_no_pairs(self, name: str) -> None:
        """The data set has no pairs."""
        self._show(
            (f"{one_line(name)} has no pairs yet", "bold $foreground"),
            ("", ""),
            ("n  writes the first one", "$secondary"),
            ("i  brings some in from a file", "$secondary"),
            ("d  opens another data set", "$secondary"),
        )

    def show_reading(self, name: str) -> None:
        """The data set is being read."""
        self._show((f"Reading {one_line(name)} …", "$secondary"))

    def show_unread(self) -> None:
        """No data set could be read."""
        self._show(("Nothing is open", "bold $foreground"), ("", ""), ("d  opens a data set", "$secondary"))

    def _show(self, *lines: tuple[str, str]) -> None:
        text = Content("\n").join(Content.styled(text, style) for text, style in lines)
        self.query_one(Static).update(text)
