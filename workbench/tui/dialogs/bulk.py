"""The dialog that changes everything the filter shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static

from workbench import figures
from workbench.pairs.session import BulkChange
from workbench.text import one_line
from workbench.tui.background import background
from workbench.tui.dialogs.ask import ConfirmDialog, TagField
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField, Options


class _Offer(NamedTuple):
    label: str
    change: BulkChange
    what: str
    """What will happen, after "1,234 pairs will"."""
    asks: str = ""
    warns: bool = False


_OFFERS = (
    _Offer("✔ accept", BulkChange("status", "accepted"), "become accepted, and may train"),
    _Offer("✘ drop", BulkChange("status", "dropped"), "become dropped: they stay in the file and never train"),
    _Offer("⚑ flag", BulkChange("status", "flagged"), "become flagged"),
    _Offer("· back to new", BulkChange("status", "new"), "count as not reviewed", warns=True),
    _Offer("+ add a tag…", BulkChange("tag"), "get the tag", asks="tag to add"),
    _Offer("− take a tag off…", BulkChange("untag"), "lose the tag", asks="tag to take off"),
    _Offer("✎ write a note…", BulkChange("note"), "get this note in place of theirs", asks="note", warns=True),
    _Offer("split: train", BulkChange("split", "train"), "train"),
    _Offer("split: holdout", BulkChange("split", "holdout"), "be held out, to measure with"),
    _Offer("split: by prompt", BulkChange("split"), "go to the side that their prompt falls on"),
    _Offer("⇄ swap chosen and rejected", BulkChange("swap"), "teach the opposite of what they teach now", warns=True),
    _Offer("take out of the file", BulkChange("remove"), "no longer be in the file", warns=True),
)


_ALL = "No filter is set: these are all pairs of the data set."


class _Offers(Options):
    """The list, whose enter is the dialog's; a click only chooses."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "screen.apply", show=False)]


class BulkDialog(Dialog[BulkChange | None]):
    """What to do to the `shown` of `total` pairs that `query` finds; None where it is given up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "apply", "Do it"),
        Binding("escape", "back", "Give up", priority=True),
    ]
    DEFAULT_CSS = """
    BulkDialog {
        #which { color: $secondary; height: 1; margin-bottom: 1; }
        #asked { display: none; height: auto; }
        #outcome { height: 2; }
    }
    """

    def __init__(self, shown: int, total: int, query: str, tags: Sequence[str]) -> None:
        super().__init__()
        self._shown, self._total, self._searched, self._tags = shown, total, query, tags
        self._asking: _Offer | None = None

    def compose(self) -> ComposeResult:
        """Which pairs, what to do, what that comes to."""
        which = f"({one_line(self._searched, 60)})" if self._searched.strip() else _ALL
        with Vertical(classes="dialog -high") as box:
            box.border_title = f"Everything the filter shows: {self._shown:,} of {self._total:,} pairs"
            yield Static(which, markup=False, id="which")
            yield _Offers(*(Content(offer.label) for offer in _OFFERS), compact=True, id="offers")
            yield Vertical(id="asked")
            yield Static(id="outcome", markup=False)
            yield Static(markup=False, classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins at none: what concerns so many pairs is chosen on purpose."""
        self.query_one("#offers", OptionList).highlighted = None
        self._show_outcome()

    def on_input_submitted(self) -> None:
        """Enter in the line that asks."""
        self.action_apply()

    @background("dialog", doing="choosing a change", opens=True)
    async def action_apply(self) -> None:
        """Does it, after a question where no filter narrows it down; asks for the tag or note first."""
        offer, change = self._offer, self._change
        if offer is not None and offer.asks and self._asking is None:
            await self._ask(offer)
        elif offer is not None and change is not None:
            sure = bool(self._searched.strip())
            if not sure:
                question = f"{self._pairs} will {_outcome(offer, change)}."
                sure = await self.app.push_screen_wait(ConfirmDialog(question, _ALL, yes="Do it", no="Leave them"))
            if sure:
                self.dismiss(change)

    async def action_back(self) -> None:
        """From a question back to the list; from there, gives up."""
        if self._asking is None:
            self.dismiss(None)
            return
        await self._ask(None)

    @property
    def _offer(self) -> _Offer | None:
        here = self.query_one("#offers", OptionList).highlighted
        return self._asking or (_OFFERS[here] if here is not None else None)

    @property
    def _pairs(self) -> str:
        return figures.plural(self._shown, "pair")

    @property
    def _change(self) -> BulkChange | None:
        """What is to be done; None where the tag is still missing."""
        offer = self._offer
        if offer is None:
            return None
        if not offer.asks:
            return offer.change
        if self._asking is None:
            return None
        if offer.change.kind == "note":
            return BulkChange("note", self.query_one("#asked > LineField", LineField).content)
        tags = self.query_one(TagField).tags
        return BulkChange(offer.change.kind, tags[0]) if len(tags) == 1 else None

    async def _ask(self, offer: _Offer | None) -> None:
        """Puts a line to answer in in the place of the list, or the list back."""
        self._asking = offer
        asked, offers = self.query_one("#asked", Vertical), self.query_one("#offers", OptionList)
        await asked.remove_children()
        offers.display, asked.display = offer is None, offer is not None
        if offer is None:
            offers.focus()
        else:
            field = LineField() if offer.change.kind == "note" else TagField((), self._tags)
            await asked.mount(Static(offer.asks, classes="label"), field)
            asked.query_one(LineField).focus()
        self._show_outcome()

    @on(Input.Changed)
    @on(OptionList.OptionHighlighted)
    def _show_outcome(self) -> None:
        offer, change = self._offer, self._change
        if offer is None:
            text = Content.styled("Choose what to do.", "$secondary")
        elif self._asking is not None and change is None:
            text = Content.styled("Type one tag, or take a known one with tab.", "$secondary")
        else:
            sign, color = ("▲ ", "$warning") if offer.warns else ("", "$foreground")
            text = Content.assemble(
                (f"{sign}{self._pairs} will {_outcome(offer, change)}.", color),
                (" One step: u takes it back.", "$secondary"),
            )
        self.query_one("#outcome", Static).update(text)
        enter = "goes on" if offer is not None and offer.asks and self._asking is None else "does it"
        keys = (
            f"tab known tag · enter {enter} · esc back" if self._asking else f"↑↓ choose · enter {enter} · esc gives up"
        )
        self.query_one(".dialog-hint", Static).update(keys)


def _outcome(offer: _Offer, change: BulkChange | None) -> str:
    """What will happen to the pairs, after "will"."""
    if not offer.asks or change is None or change.value is None:
        return offer.what
    value = one_line(change.value, 24)
    return f"{offer.what}: “{value}”" if value else "lose their notes"
