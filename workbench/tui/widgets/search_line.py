"""The line that searches while one types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, OptionList, Static

from workbench.pairs.query import MEANINGS, QueryError, complete, term_begin
from workbench.text import one_line
from workbench.tui.widgets.fields import LineField

_OFFERED = 12
_QUIET = 0.5
"""Seconds without a key before it is said what is wrong: most of what is half typed is."""


class SearchLine(Vertical):
    """A query, and at its right what came of it. Hidden while there is no query and nobody types one.

    Below it, over the pairs: how the term under the cursor could go on, or where the query is wrong. `known` has the
    values that occur for "tag", "source" and "finding"; all are untrusted.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "leave", "Back to the pairs", priority=True),
        Binding("tab", "complete", "Write the term out", priority=True),
        Binding("down", "move(1)", "Next offer", priority=True, show=False),
        Binding("up", "move(-1)", "Previous offer, earlier query", priority=True, show=False),
        Binding("escape", "clear", "Clear the search", priority=True),
    ]
    DEFAULT_CSS = """
    SearchLine {
        height: 1; display: none;
        &.-shown { display: block; }
        #line { height: 1; padding: 0 1; background: $surface; }
        Static { width: auto; height: 1; }
        #slash { color: $accent; text-style: bold; padding: 0 1 0 0; }
        LineField, LineField:focus {
            width: 1fr; height: 1; border: none; padding: 0; background: $surface; background-tint: $surface 0%;
        }
        #found { color: $secondary; padding: 0 0 0 2; }
        OptionList, #wrong { overlay: screen; constrain: inside; background: $panel; display: none; }
        OptionList { width: 78; max-width: 100%; height: auto; max-height: 12; border: none; padding: 0 1; }
        OptionList > .option-list--option { text-wrap: nowrap; text-overflow: ellipsis; }
        #wrong { width: 100%; height: auto; padding: 0 1; }
    }
    """

    class Changed(Message):
        """The query is now another; empty shows all pairs."""

        def __init__(self, query: str) -> None:
            super().__init__()
            self.query = query

    class Left(Message):
        """The typing is over; the query stays."""

    def __init__(self) -> None:
        super().__init__()
        self.known: Mapping[str, Sequence[str]] = {}
        self._offers: list[str] = []
        self._offers_all = False
        self._earlier: list[str] = []
        self._place = 0
        self._error: Timer | None = None

    def compose(self) -> ComposeResult:
        """Sign, query, result; offers and what is wrong."""
        with Horizontal(id="line"):
            yield Static("/", id="slash")
            yield LineField(placeholder='words · "exact words" · /regex/ · status:new · len>1.5 · f lists all')
            yield Static("", markup=False, id="found")
        offers = OptionList(compact=True, markup=False)
        offers.can_focus = False
        yield offers
        yield Static("", markup=False, id="wrong")

    @property
    def value(self) -> str:
        """The query as it stands."""
        return self._line.content.strip()

    @property
    def _line(self) -> LineField:
        return self.query_one(LineField)

    def open(self, *, filter: bool = False) -> None:  # noqa: A002
        """Shows the line and takes the keys; `filter`: offers all that can be asked for."""
        self.add_class("-shown")
        self._offers_all, self._place = filter, len(self._earlier)
        if filter and self.value:
            self._line.value = f"{self.value} "
        self._line.cursor_position = len(self._line.value)
        self._line.focus()
        self._offer()

    def set_query(self, query: str) -> None:
        """Shows a query as though it had been typed, without taking the keys."""
        self.add_class("-shown")
        self._line.value = query

    def clear(self) -> None:
        """Empties and hides the line."""
        self._remember()
        self.remove_class("-shown")
        self._line.value = ""
        self._settle()

    def tell(self, text: str) -> None:
        """Says what came of the query."""
        self.query_one("#found", Static).update(one_line(text))
        self._show_wrong(None)

    def show_error(self, error: QueryError) -> None:
        """Says where the query is wrong and what could stand there, once the typing rests."""
        self._show_wrong(None)
        self._error = self.set_timer(_QUIET, lambda: self._show_wrong(error))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Passes the query on."""
        event.stop()
        self.post_message(self.Changed(self.value))
        if self._line.has_focus:
            self._offer()

    def on_descendant_blur(self) -> None:
        """Takes the offers away with the keys."""
        self._show_offers([])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Writes out what was clicked on."""
        event.stop()
        self._take(event.option_index)

    def action_leave(self) -> None:
        """Writes out the offer that the arrows went to; else gives the keys back."""
        chosen = self.query_one(OptionList).highlighted
        if self._offers and chosen is not None:
            self._take(chosen)
            return
        if self.value:
            self._remember()
            self._settle()
        else:
            self.clear()
        self.post_message(self.Left())

    def action_clear(self) -> None:
        """Gives the keys back and shows all pairs."""
        self.clear()
        self.post_message(self.Left())

    def action_complete(self) -> None:
        """Writes out an offer."""
        if self._offers:
            self._take(self.query_one(OptionList).highlighted or 0)
        else:
            self._offers_all = True
            self._offer()

    def action_move(self, by: int) -> None:
        """Moves to another offer; where there are none, up to earlier queries, or down to the pairs."""
        offers = self.query_one(OptionList)
        if self._offers:
            before = -1 if offers.highlighted is None else offers.highlighted
            offers.highlighted = max(before + by, 0) % len(self._offers)
        elif by > 0 and self._place >= len(self._earlier):
            self.action_leave()
        else:
            self._place = min(max(self._place + by, 0), len(self._earlier))
            self._line.value = [*self._earlier, ""][self._place]
            self._line.cursor_position = len(self._line.value)
            self._show_offers([])

    def _settle(self) -> None:
        self._show_offers([])
        if not self.value:
            self.tell("")

    def _remember(self) -> None:
        query = self.value
        if query:
            self._earlier = [*(each for each in self._earlier if each != query), query]

    def _offer(self) -> None:
        line = self._line
        at = line.cursor_position
        offers = complete(line.value, at, self.known, begin=self._offers_all)[:_OFFERED]
        typed = line.value[term_begin(line.value, at) : at]
        self._show_offers([] if offers == [typed] else offers)

    def _show_offers(self, offers: list[str]) -> None:
        self._offers = offers
        listed = self.query_one(OptionList)
        listed.clear_options()
        width = max((len(one_line(offer)) for offer in offers), default=0)
        listed.add_options(
            Content.assemble(
                f"{one_line(offer):<{width}}", "  ", (MEANINGS.get(offer.removeprefix("-"), ""), "$secondary")
            )
            for offer in offers
        )
        listed.highlighted = None
        listed.display = bool(offers)

    def _take(self, number: int) -> None:
        line = self._line
        at = line.cursor_position
        begin = term_begin(line.value, at)
        offer = self._offers[number]
        # A term that is whole is followed by the next one.
        offer += "" if offer.removeprefix("-") in MEANINGS else " "
        line.value = line.value[:begin] + offer + line.value[at:].lstrip()
        line.cursor_position = begin + len(offer)
        self._offers_all = False

    def _show_wrong(self, error: QueryError | None) -> None:
        if self._error is not None:
            self._error.stop()
            self._error = None
        wrong = self.query_one("#wrong", Static)
        wrong.display = error is not None
        if error is None:
            return
        self.query_one("#found", Static).update("")
        self._show_offers([])
        line = self._line
        before = max(line.region.x - self.region.x - 1 + error.position - round(line.scroll_x), 0)
        wrong.update(
            Content.assemble(
                " " * before,
                ("▔" * max(error.length, 1), "$error"),
                "\n",
                (f"▲ {one_line(error.title)}. ", "$error"),
                (one_line(error.expected), "$foreground"),
                (f" {one_line(error.hint)}" if error.hint else "", "$secondary"),
            )
        )
