"""The dialog in which a model answers a pair's prompt, and the answers are ranked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.behaviours.reading import KnownBehaviours
from workbench.compare.client import ScorerClient
from workbench.compare.data_set_drafting import why_none
from workbench.compare.draft_flaws import BREAKS_OFF, REFUSES
from workbench.compare.drafting import DraftSession
from workbench.compare.ranking import AnswerCandidate, Making, PairSide, RankedPairs
from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import Drafter
from workbench.figures import nats
from workbench.pairs.pair import Pair
from workbench.text import cut, one_line, safe
from workbench.tui.background import background
from workbench.tui.dialogs.ask import ChooseDialog, ConfirmDialog
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import Options
from workbench.tui.widgets.pair_view import Preference

_GATHER, _GATHER_SLOW = 0.05, 0.5
"""Seconds for which text is gathered before it is shown."""
_HINTS = (
    "enter 1-9 rank · r makes it the rejected, c the chosen · m one or each",
    "n more · t temperature · d drafter · b behaviour · s saves · esc cancels",
)


class DraftDialog(Dialog[RankedPairs | None]):
    """The pair's own answers and a model's, best first as far as they are ranked; None where nothing is to be saved.

    Drafts are asked for at once and come in while keys are pressed; a closed dialog gives its request up.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "mark", "Rank it next, or no longer"),
        Binding("1", "rank(1)", "Rank it there", key_display="1-9"),
        *(Binding(str(rank), f"rank({rank})", show=False) for rank in range(2, 10)),
        Binding("r", "take('rejected')", "Take it (else the best draft) as the rejected answer"),
        Binding("c", "take('chosen')", "Take it as the chosen answer"),
        Binding("m", "making", "One pair of the best and the worst, or one for each"),
        Binding("n", "more", "More drafts"),
        Binding("t", "temperature", "More at another temperature"),
        Binding("d", "drafter", "Base or run that drafts"),
        Binding("b", "behaviour", "The behaviour that the best draft has to show"),
        Binding("s,ctrl+s", "save", "Save"),
        Binding("escape", "back", "Cancel, give up"),
        Binding("J", "scroll(2)", "Scroll the answer", show=False),
        Binding("K", "scroll(-2)", "Scroll the answer up", show=False),
    ]
    DEFAULT_CSS = """
    DraftDialog {
        #drafts { width: 96%; max-width: 150; height: auto; max-height: 96%; padding: 0 1; }
        #prompt, #status, #head { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #status, #head { color: $secondary; }
        Options { max-height: 34vh; margin: 1 0; scrollbar-size-vertical: 1; }
        VerticalScroll { height: auto; min-height: 2; max-height: 10vh; scrollbar-size-vertical: 1; }
        #outcome { height: 1; margin-top: 1; color: $secondary; text-wrap: nowrap; text-overflow: ellipsis; }
        Preference { padding: 0; }
        .hint { color: $secondary; height: 1; }
    }
    """

    def __init__(
        self,
        pair: Pair,
        drafters: Sequence[Drafter],
        scorer_of: Callable[[Base], ScorerClient],
        find_behaviours: Callable[[str], KnownBehaviours],
        *,
        slow: bool = False,
    ) -> None:
        """`drafters` are those to choose from, the first to begin with. Raises `WorkbenchError` without a prompt."""
        super().__init__()
        self.session = DraftSession(
            pair,
            drafters,
            scorer_of,
            find_behaviours,
            on_change=self._show,
            gather_seconds=_GATHER_SLOW if slow else _GATHER,
        )
        self._whole = 0
        """How many of the lines are candidates that can be ranked."""

    def compose(self) -> ComposeResult:
        """Prompt, answers, the one under the cursor in full, what saving comes to."""
        with Vertical(id="drafts", classes="frame") as dialog:
            dialog.border_title = "Draft answers"
            yield Static(one_line(self.session.ranking.pair.last_user_turn, 400), id="prompt", markup=False)
            yield Static(id="status", markup=False)
            yield Options(compact=True)
            yield Static(id="head", markup=False)
            with VerticalScroll(can_focus=False):
                yield Static(id="text", markup=False)
            yield Static(id="outcome", markup=False)
            yield Preference()
            for hint in _HINTS:
                yield Static(hint, markup=False, classes="hint")

    def on_mount(self) -> None:
        """Asks for drafts."""
        self.query_one(OptionList).focus()
        self.set_interval(1.0, self._tick)
        self._show()
        self._draft()

    @background("drafts", doing="drafting answers", exclusive=True)
    async def _draft(self) -> None:
        """Has the drafter answer. A newer request gives the one before it up."""
        await self.session.draft()

    def _tick(self) -> None:
        if self.session.loading_since is not None:
            self._show()

    # Showing

    @on(events.Resize)
    def _show(self) -> None:
        """The candidates, behind them what is on its way; the cursor stays where it is."""
        if not self.is_attached or self.answered:
            return
        session, options, room = self.session, self.query_one(OptionList), self._room
        ranking = session.ranking
        lines = [
            candidate_line(candidate, ranking.rank(number), room, flawed=bool(ranking.flaw(number, "rejected")))
            for number, candidate in enumerate(ranking.candidates)
        ]
        whole = len(lines)
        lines += [coming_line(session.drafter.column.name, text, room) for text in session.coming]
        if (len(lines), whole) == (options.option_count, self._whole):
            for number, line in enumerate(lines):
                options.replace_option_prompt_at_index(number, line)
        else:
            here = options.highlighted or 0
            options.clear_options()
            options.add_options(Option(line, disabled=number >= whole) for number, line in enumerate(lines))
            options.highlighted = min(here, whole - 1) if whole else None
        self._whole = whole
        self.query_one("#status", Static).update(self._status())
        self._show_text()
        made = ranking.made()
        self.query_one("#outcome", Static).update(outcome(made, ranking.making))
        self.query_one(Preference).pair = made.new[0] if made.new else made.edited

    def _status(self) -> str:
        session = self.session
        if session.loading_since is not None:
            doing = f"◌ loading … {time.monotonic() - session.loading_since:.0f} s · esc cancels"
        elif session.waiting:
            doing = f"◌ {len(session.coming)} drafts … {session.tokens:,} tokens · esc cancels"
        else:
            doing = session.came
        how = f"temperature {session.temperature}" if session.temperature else "greedy"
        wanted = f"the best is {one_line(session.ranking.wanted, 24)}" if session.ranking.wanted else ""
        parts = [doing, wanted, one_line(session.drafter.column.name, 32), how, session.drafter.remark]
        return " · ".join(part for part in parts if part)

    def _show_text(self) -> None:
        """The answer under the cursor, in full."""
        number = self._here
        candidate = self.session.ranking.candidates[number] if number is not None else None
        flaw = self.session.ranking.flaw(number, "rejected") if number is not None else ""
        self.query_one("#head", Static).update(head_of(candidate, flaw) if candidate else "")
        self.query_one("#text", Static).update(safe(candidate.text) if candidate else "")

    def on_option_list_option_highlighted(self) -> None:
        """Shows the answer that the cursor came to."""
        self._show_text()
        self.query_one(VerticalScroll).scroll_home(animate=False)

    @property
    def _room(self) -> int:
        """Cells of a line."""
        return max(20, min(150, int(self.app.size.width * 0.96)) - 5)

    @property
    def _here(self) -> int | None:
        """The number of the candidate under the cursor."""
        here = self.query_one(OptionList).highlighted
        return here if here is not None and here < len(self.session.ranking.candidates) else None

    # Keys and clicks

    @on(OptionList.OptionSelected)
    def action_mark(self) -> None:
        """Ranks the answer under the cursor below the others, or no longer."""
        if self._here is not None:
            self.session.rank(self._here)

    def action_rank(self, rank: int) -> None:
        """Puts the answer under the cursor at a rank."""
        if self._here is not None:
            self.session.rank(self._here, rank)

    def action_making(self) -> None:
        """One pair, or one for each of the others."""
        self.session.switch_making()

    def action_take(self, side: PairSide) -> None:
        """Saves the draft under the cursor, or else the best one, as a side of this pair."""
        here, ranking = self._here, self.session.ranking
        best = None
        if here is None or ranking.candidates[here].side is not None:
            best = ranking.best_draft(side)
            if best is None:
                self._warn(f"No draft will do: {why_none(ranking, side)}.")
                return
            here = best.number
        made = ranking.as_side(here, side)
        if made:
            if best is not None:
                all_differ = " of drafts that all differ" if best.by == "likeliest" else ""
                self.notify(f"Took the {best.by} draft{all_differ}.", timeout=4)
            self.dismiss(made)
        else:
            self._warn(f"That is what the {side} answer says already.")

    def action_more(self) -> None:
        """Asks for more drafts."""
        if not self.session.waiting:
            self._draft()

    def action_temperature(self) -> None:
        """Asks for more at the next temperature."""
        self.session.next_temperature()
        self._draft()

    @background("choose", doing="choosing who drafts", exclusive=True, opens=True)
    async def action_drafter(self) -> None:
        """Asks who drafts, and for drafts by that one."""
        session = self.session
        choices = [(drafter.column.name, drafter.remark) for drafter in session.drafters]
        current = session.drafters.index(session.drafter)
        number = await self.app.push_screen_wait(ChooseDialog("Who drafts?", choices, current=current))
        if number is not None:
            session.drafter = session.drafters[number]
            self._draft()

    @background("choose", doing="choosing a behaviour", exclusive=True, opens=True)
    async def action_behaviour(self) -> None:
        """Asks which behaviour a draft has to show to be taken as the best."""
        session = self.session
        names = ["", *session.behaviours]
        choices = [(name or "any", f"shown by {session.showing(name)} of these" if name else "") for name in names]
        wanted = session.ranking.wanted
        current = names.index(wanted) if wanted in names else 0
        question = ChooseDialog("What must the best draft show?", choices, current=current, hint=_CHOOSING)
        number = await self.app.push_screen_wait(question)
        if number is not None:
            session.want(names[number])

    def action_save(self) -> None:
        """Gives back what the ranking comes to."""
        made = self.session.ranking.made()
        if made:
            self.dismiss(made)
        else:
            self._warn("Rank two different answers first, the better one before the other.")

    @background("back", doing="giving the drafts up", exclusive=True, opens=True)
    async def action_back(self) -> None:
        """Cancels drafts that are on their way; else closes, after a question where something was ranked."""
        if self.session.waiting:
            self.workers.cancel_group(self, "drafts")
            return
        if self.session.touched:
            question = ConfirmDialog("Discard the ranking?", yes="Discard", no="Keep ranking")
            if not await self.app.push_screen_wait(question):
                return
        self.dismiss(None)

    def _warn(self, text: str) -> None:
        self.notify(text, severity="warning", markup=False, timeout=4)


_CHOOSING = "enter chooses · esc cancels"
_LABEL = 18
_AGAINST = {
    BREAKS_OFF: "breaks off in its first sentence: it would teach to stop there",
    REFUSES: "refuses, as the chosen answer does",
}
_OWN = {"chosen": ("✔ chosen", "$success"), "rejected": ("✘ rejected", "$error")}


def candidate_line(candidate: AnswerCandidate, rank: int | None, width: int, *, flawed: bool = False) -> Content:
    """Rank, whose answer it is and how often it came, and the answer, on one line."""
    if candidate.side is not None:
        label, color = _OWN[candidate.side]
    else:
        times = f" ×{candidate.count}" if candidate.count > 1 else ""
        mark = " ▲" if candidate.cut or flawed else ""
        label, color = one_line(candidate.by, _LABEL - len(times) - len(mark)) + times + mark, "$secondary"
    return _line((f"{rank:>2} " if rank else "   ", "bold $accent"), (label, color), candidate.text, width)


def coming_line(by: str, text: str, width: int) -> Content:
    """A draft that is on its way: its latest words."""
    return _line(("   ", ""), (f"◌ {one_line(by, _LABEL - 2)}", "$secondary"), text, width)


def head_of(candidate: AnswerCandidate, flaw: str = "") -> str:
    """Whose answer it is, in words, what it shows, how likely it is, and what speaks against it as the rejected one."""
    shows = f" · {one_line(', '.join(candidate.shows), 60)}" if candidate.shows else ""
    if candidate.side is not None:
        return f"this pair's {candidate.side} answer{shows}"
    times = f", {candidate.count} times" if candidate.count > 1 else ""
    mean = f" · {nats(candidate.mean)} nats a token" if candidate.mean is not None else ""
    limit = " · ▲ cut at a limit, to its last sentence" if candidate.cut and candidate.whole else ""
    against = f" · ▲ {one_line(_AGAINST.get(flaw, flaw), 70)}" if flaw else ""
    return f"drafted by {one_line(candidate.by, 40)}{times}{shows}{mean}{limit}{against}"


def outcome(made: RankedPairs, making: Making) -> str:
    """What saving comes to, in a line."""
    if not made:
        how = "one pair, the best over the worst" if making == "one" else "the best over each"
        return f"Rank two or more, best first: s saves {how}."
    new = "1 new pair" if len(made.new) == 1 else f"{len(made.new)} new pairs, the first of them"
    return "s saves " + " and ".join([*(["this pair, changed"] if made.edited else []), *([new] if made.new else [])])


def _line(rank: tuple[str, str], label: tuple[str, str], text: str, width: int) -> Content:
    words, color = label
    content = Content.assemble(rank, (cut(words, _LABEL), color))
    gap = " " * (_LABEL + 5 - content.cell_length)
    return Content.assemble(content, gap, one_line(text, max(8, width - _LABEL - 5)))
