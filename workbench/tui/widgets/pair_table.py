"""The table of pairs. It makes only the lines that are on the screen, so that its size costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.pairs.pair import Pair, Status, plain
from workbench.text import cut, one_line

if TYPE_CHECKING:
    from workbench.pairs.arrow import Ints

SIGNS: dict[Status, str] = {"new": "·", "accepted": "✔", "dropped": "✘", "flagged": "⚑"}
"""A sign for each status, one terminal cell wide."""
UNDRAFTED_SIGN = "◌"
"""The sign of a pair that lacks an answer."""

# A line shows a few hundred characters at most; the rest of a prompt of megabytes need not be looked at.
_LOOKED_AT = 2000
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a pair beside its text: its place in the file, from 1; what the checks found, gravest first,
    a word or two; the tokens of chosen and rejected; and its margin, in the data or under the run that is sorted by."""

    number: int
    finding: str = ""
    tokens: tuple[int, int] | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class PairColumn:
    """One column: `name` is its heading and its key in `Cells`; `width` counts terminal cells.

    `loud`: in the colour of text, not dim.
    """

    name: str
    width: int
    right: bool = False
    loud: bool = False

    def fit(self, text: str) -> str:
        """`text` (made safe already) in exactly `width` cells."""
        text = cut(text, self.width)
        room = " " * (self.width - cell_len(text))
        return room + text if self.right else text + room


Cells = dict[str, str]


def status_of(pair: Pair) -> str:
    """The sign and the name of a pair's status; of a new one that lacks an answer, that this is to be drafted."""
    if pair.lacks and (pair.status == "new" or (pair.status == "accepted" and pair.alone is None)):
        return f"{UNDRAFTED_SIGN} to draft"
    return f"{SIGNS[pair.status]} {pair.status}"


def words(text: str) -> int:
    """How many words a text has."""
    return len(text.split())


def lengths(pair: Pair, tokens: tuple[int, int] | None) -> tuple[int, int]:
    """The lengths of chosen and rejected: in tokens where these are known, else in words."""
    return tokens or (words(plain(pair.chosen)), words(plain(pair.rejected)))


def columns(width: int, pairs: int, *, findings: bool = False, margin: bool = False) -> list[PairColumn]:
    """The columns that fit into `width` cells, for a data set of so many `pairs`; the prompt takes what is left.

    There is one for `findings` once the checks found some, and one for the `margin` where the data have some, or the
    order is that of a run's.
    """
    left = [PairColumn("#", max(3, len(str(pairs))), right=True), PairColumn("status", 10)]
    chosen, rejected = PairColumn("chosen", 8, right=True), PairColumn("rejected", 10, right=True)
    ratio, tags = PairColumn("ratio", 7, right=True), PairColumn("tags", 14)
    last = [PairColumn("margin", 9, right=True)] if margin else []
    last += [PairColumn("findings", 18)] if findings else []
    choices: tuple[tuple[list[PairColumn], int], ...] = (
        ([chosen, rejected, ratio, tags, *last], 34),
        ([chosen, rejected, ratio, *last], 28),
        ([ratio, *last], 20),
        (last, 12),
        ([], 0),
    )
    for tail, least in choices:
        taken = sum(column.width + len(_GAP) for column in (*left, *tail))
        if width - taken >= least:
            break
    return [*left, PairColumn("prompt", max(1, width - taken)), *tail]


def cells(pair: Pair, known: Known) -> Cells:
    """The texts of a line, safe to show."""
    chosen, rejected = lengths(pair, known.tokens)
    return {
        "#": str(known.number),
        "status": status_of(pair),
        "prompt": one_line(pair.last_user_turn[:_LOOKED_AT]),
        "chosen": str(chosen),
        "rejected": str(rejected),
        "ratio": f"{chosen / rejected:.2f}" if rejected else "–",
        "tags": one_line(" ".join(pair.tags)[:_LOOKED_AT]),
        "margin": "–" if known.margin is None else f"{known.margin:+.2f}".replace("-", "−"),
        "findings": one_line(known.finding),
    }


def headings(shown: Sequence[PairColumn], order: str, *, descending: bool) -> list[tuple[str, str]]:
    """The line above the table as (column name, text); the column that is the `order` says so and which way round."""
    line: list[tuple[str, str]] = []
    for column in shown:
        if line:
            line.append(("", _GAP))
        sign = "▼" if descending else "▲"
        line.append((column.name, column.fit(f"{column.name} {sign}" if column.name == order else column.name)))
    return line


def parts(shown: Sequence[PairColumn], texts: Cells) -> list[tuple[str, str]]:
    """A line of the table as (column name, text) with the gaps between."""
    line: list[tuple[str, str]] = []
    for column in shown:
        if line:
            line.append(("", _GAP))
        line.append((column.name, column.fit(texts[column.name])))
    return line


_MARK = "▌"
_NONE = " No pair matches. esc shows all of them again."
_KEPT_CELLS = 2000


@dataclass(frozen=True, slots=True)
class Shown:
    """What a table shows: `rows` from top to bottom, how to learn of each, and the columns in a width of cells.

    `sorted_by` is the column that they are sorted by; empty for the order of the file.
    """

    rows: Ints
    pair: Callable[[int], Pair]
    texts: Callable[[int, Pair], Cells]
    columns: Callable[[int], list[PairColumn]]
    sorted_by: str = ""
    descending: bool = False


class PairTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Pairs, a line each, with a cursor. A pair is told by its row in the store."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Next pair", show=False),
        Binding("k,up", "move(-1)", "Previous pair", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("g,home", "end(False)", "First pair", show=False),
        Binding("G,end", "end(True)", "Last pair", show=False),
        Binding("enter", "open", "Open in Compare", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pair-table--head",
        "pair-table--sorted",
        "pair-table--finding",
        "pair-table--mark",
        "pair-table--cursor",
        "pair-table--hover",
        "pair-table--dim",
        "pair-table--accepted",
        "pair-table--dropped",
        "pair-table--flagged",
    }
    DEFAULT_CSS = """
    PairTable {
        scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: auto;
        & > .pair-table--head { color: $secondary; }
        & > .pair-table--sorted { color: $foreground; }
        & > .pair-table--finding { color: $warning; }
        & > .pair-table--mark { color: $border; }
        & > .pair-table--cursor { background: $block-cursor-background 55%; }
        & > .pair-table--hover { background: $surface; }
        & > .pair-table--dim { color: $secondary; }
        & > .pair-table--accepted { color: $success; }
        & > .pair-table--dropped { color: $error; }
        & > .pair-table--flagged { color: $warning; }
        &:focus > .pair-table--mark { color: $accent; }
        &:focus > .pair-table--cursor { background: $block-cursor-background; }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    """The line that the cursor is on, from 0."""

    class Opened(Message):
        """Enter, or a double click, on a pair."""

        def __init__(self, row: int) -> None:
            super().__init__()
            self.row = row

    class Sorted(Message):
        """A click on the heading of a column."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._shown: Shown | None = None
        self._columns: list[PairColumn] = []
        self._cells: dict[int, tuple[Pair, Cells]] = {}
        self._hover = -1
        self._base = Style.null()
        self._styles_of: dict[str, Style] = {}

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self._shown.rows) if self._shown else 0

    @property
    def row(self) -> int | None:
        """The row of the pair under the cursor."""
        return int(self._shown.rows[self.cursor]) if self._shown and self.count else None

    def show(self, shown: Shown, *, line: int = 0) -> None:
        """Shows pairs, with the cursor on `line`."""
        offset = self.cursor - round(self.scroll_y)
        self._shown = shown
        self._cells.clear()
        self._lay_out()
        self.set_reactive(PairTable.cursor, self.validate_cursor(line))
        self.scroll_to(y=max(0, self.cursor - offset), animate=False, immediate=True)
        self._keep_in_view()
        self.refresh()

    def refresh_pairs(self) -> None:
        """Shows the pairs anew, as they are now."""
        self._cells.clear()
        self.refresh()

    def refresh_pair(self, row: int) -> None:
        """Shows one pair anew."""
        self._cells.pop(row, None)
        if row == self.row:
            self._refresh_line(self.cursor)
        else:
            self.refresh()

    def go_to(self, line: int) -> None:
        """Puts the cursor on a line, or the nearest there is."""
        self.cursor = line

    def validate_cursor(self, line: int) -> int:
        """The nearest line that exists."""
        return max(0, min(line, self.count - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        """Shows the cursor in its new place."""
        self._refresh_line(before)
        self._refresh_line(now)
        self._keep_in_view()

    def action_move(self, lines: int) -> None:
        """Moves the cursor."""
        self.cursor += lines

    def action_page(self, pages: int) -> None:
        """Moves the cursor by screens."""
        self.cursor += pages * max(1, self.size.height - 2)

    def action_end(self, last: bool) -> None:
        """Moves the cursor to the first or the last line."""
        self.cursor = self.count - 1 if last else 0

    def action_open(self) -> None:
        """Opens the pair under the cursor."""
        if self.row is not None:
            self.post_message(self.Opened(self.row))

    def on_resize(self) -> None:
        """Fits the columns to the new width."""
        self._lay_out()
        self._keep_in_view()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Shows which line a click would take."""
        self._hover_on(self._line_under(event))

    def on_leave(self) -> None:
        """Shows no such line."""
        self._hover_on(-1)

    def on_click(self, event: events.Click) -> None:
        """Moves the cursor; a double click opens the pair, a click on a heading sorts."""
        if event.y == 0:
            if column := self._column_under(event.x):
                self.post_message(self.Sorted(column))
        elif 0 <= (line := self._line_under(event)) < self.count:
            self.cursor = line
            if event.chain == 2:
                self.action_open()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines that are to be painted, in the colours of the moment."""
        self._base = self.rich_style
        self._styles_of = {
            name.removeprefix("pair-table--"): self.get_component_rich_style(name, partial=True)
            for name in self.COMPONENT_CLASSES
        }
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """The heading, or the line of a pair."""
        width = self.size.width
        if self._shown is None:
            return Strip.blank(width, self._base)
        if y == 0:
            by, descending = self._shown.sorted_by, self._shown.descending
            head, chosen = self._base + self._styles_of["head"], self._base + self._styles_of["sorted"]
            texts = headings(self._columns, by, descending=descending)
            segments = [Segment(text, chosen if name and name == by else head) for name, text in texts]
            return Strip([Segment(" ", head), *segments]).adjust_cell_length(width, self._base)
        line = round(self.scroll_y) + y - 1
        if line == 1 and not self.count:
            return Strip([Segment(_NONE, self._base + self._styles_of["dim"])]).adjust_cell_length(width, self._base)
        if line >= self.count:
            return Strip.blank(width, self._base)
        return self._line(self._shown, line, width)

    def _line(self, shown: Shown, line: int, width: int) -> Strip:
        row = int(shown.rows[line])
        known = self._cells.get(row)
        if known is None:
            if len(self._cells) > _KEPT_CELLS:
                self._cells.clear()
            pair = shown.pair(row)
            known = self._cells[row] = (pair, shown.texts(row, pair))
        pair, texts = known
        style = self._base
        if line == self.cursor:
            style += self._styles_of["cursor"]
        elif line == self._hover:
            style += self._styles_of["hover"]
        dim = style + self._styles_of["dim"]
        styles = {
            "status": style + self._styles_of[_STATUS_STYLES[pair.status]],
            "prompt": dim if pair.status == "dropped" else style,
            "findings": style + self._styles_of["finding"],
        }
        styles |= {column.name: style for column in self._columns if column.loud}
        mark = Segment(_MARK if line == self.cursor else " ", style + self._styles_of["mark"])
        segments = [Segment(text, styles.get(name, dim)) for name, text in parts(self._columns, texts)]
        return Strip([mark, *segments]).adjust_cell_length(width, style)

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width or self.size.width
        # A column for the cursor's mark, and one between the last column and the scrollbar.
        if self._shown is not None:
            self._columns = self._shown.columns(max(1, width - 2))
        self.virtual_size = Size(width, self.count + 1)
        self.refresh()

    def _keep_in_view(self) -> None:
        visible = max(1, self.size.height - 1)
        top = round(self.scroll_y)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + visible:
            self.scroll_to(y=self.cursor - visible + 1, animate=False, immediate=True)

    def _refresh_line(self, line: int) -> None:
        y = line - round(self.scroll_y) + 1
        if 1 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _column_under(self, x: int) -> str:
        """The name of the column at `x`; empty between two."""
        left = 1
        for name, text in headings(self._columns, "", descending=False):
            width = cell_len(text)
            if left <= x < left + width:
                return name
            left += width
        return ""

    def _line_under(self, event: events.MouseEvent) -> int:
        return -1 if event.y < 1 else event.y - 1 + round(self.scroll_y)

    def _hover_on(self, line: int) -> None:
        before, self._hover = self._hover, line
        if before != line:
            self._refresh_line(before)
            self._refresh_line(line)


_STATUS_STYLES = {"new": "dim", "accepted": "accepted", "dropped": "dropped", "flagged": "flagged"}
