"""The part of the Compare screen for looking closer and presenting: beginnings, shares, probes, pictures."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on

from workbench.compare.comparison import comparison_document
from workbench.compare.new_pair import candidates, first_choice, new_pair
from workbench.tui.background import background
from workbench.tui.screens.compare_asking import AskingScreen
from workbench.tui.screens.pairs_edit import FROM_COMPARE
from workbench.tui.views import save_view
from workbench.tui.widgets.bars import Bars
from workbench.tui.widgets.begin_line import BeginLine

if TYPE_CHECKING:
    from workbench.evidence.probes import Probe


class CompareTools(AskingScreen):
    """Keys that change how a comparison is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self._probes: list[Probe] = []
        self._probe = -1

    @property
    def _hint(self) -> str:
        """Which probe this is."""
        if not 0 <= self._probe < len(self._probes):
            return ""
        probe = self._probes[self._probe]
        if self.comparison.answer is None or self.comparison.answer.group != "probe":
            return ""
        return f"probe {probe.id}: {self._probe + 1} of {len(self._probes)}, in no pair · space next"

    # A forced beginning

    def action_begin(self) -> None:
        """Lets the beginning of an answer be typed, and shows what would come after it."""
        self.query_one(BeginLine).open()
        self._look_after("")
        self._show(speaking=False, cursor=0)

    @on(BeginLine.Typed)
    def _begun(self, event: BeginLine.Typed) -> None:
        self._look_after(event.text)

    @on(BeginLine.Said)
    def _told(self, event: BeginLine.Said) -> None:
        cursor = self._look.cursor or 0
        match event.what:
            case "down" | "up":
                count = len(self.comparison.rows)
                self._show(cursor=max(0, min(cursor + (1 if event.what == "down" else -1), count - 1)))
            case "take":
                self._take()
            case "go on":
                beginning = self.comparison.prefix_text()
                self._end_beginning()
                self._failure = None
                self._ask_generation(beginning)
                self._show(speaking=True)
            case "close":
                self._end_beginning()
                self._ask_sight()

    def _look_after(self, text: str) -> None:
        self._update(self.comparison.with_forced_text(text))
        self._ask_sight()

    def _take(self) -> None:
        row, beginning = self.query_one(Bars).row, self.comparison.forced_prefix
        sight = self.comparison.inspected
        if row is None or beginning is None or sight is None:
            return
        if row.special:
            self.workbench.tell("The answer would end here.")
            return
        self.query_one(BeginLine).write(self.comparison.prefix_text(row))
        self.comparison = self.comparison.with_taken(row)
        self._ask_sight()
        self._show(cursor=0)

    def _end_beginning(self) -> None:
        self.query_one(BeginLine).close()
        self.comparison = self.comparison.without_forced_prefix()
        self._show(cursor=None)

    # Ways to look

    def action_samples(self) -> None:
        """Lets every column answer many times, and counts how."""
        self._failure = None
        self._seed += 1 if self.comparison.samples else 0
        self._ask_samples()
        self._show(speaking=True)

    def action_color(self) -> None:
        """Colours tokens by the other measure."""
        self._show(by_shift=not self._look.by_shift)

    def action_bounds(self) -> None:
        """Shows every token for itself, or the text that they make."""
        self._show(bounds=not self._look.bounds)

    def action_present(self) -> None:
        """Shows the comparison in large, for people who sit far away, or as before."""
        self._show(presenting=not self._look.presenting)

    # Probes

    @background("probe", doing="turning to another probe", exclusive=True)
    async def action_next_probe(self, by: int) -> None:
        """Goes on to another prompt that is in no pair, with the answers that are looked for."""
        if not self._probes:
            from workbench.evidence.probes import read_suites

            self._probes = in_turns(await asyncio.to_thread(read_suites, self.workbench.workspace.probes))
        self._probe = (self._probe + by) % len(self._probes) if self._probe >= 0 else 0
        probe = self._probes[self._probe]
        self._refresh(self.comparison.with_probe(probe.prompt, probe.responses))
        if self._look.presenting:
            self._ask_generation()

    # A whole data set

    def action_score_pairs(self) -> None:
        """Scores every pair of a data set under all columns, worst first."""
        from workbench.tui.screens.scored_pairs import ScoredPairsScreen

        names, pairs = self.workbench.workspace.datasets(), self.workbench.pairs_screen
        if not names:
            self.workbench.tell("There is no data set yet: 1 and then i brings one in.")
            return
        name = pairs.open_name if pairs is not None and pairs.open_name else names[0]
        now, self._failure = self.comparison, None
        self.app.push_screen(ScoredPairsScreen(self._scorer, now.columns, now.current, name))

    # Taking it away

    @background("dialog", doing="saving a pair", exclusive=True, opens=True)
    async def action_save_pair(self) -> None:
        """Makes a pair of two of the answers at hand: what failed here trains the next run."""
        from workbench.pairs.transfer import add_to
        from workbench.tui.dialogs.edit import EditDialog
        from workbench.tui.dialogs.save_pair import SavePairDialog

        now, workspace, pairs = self.comparison, self.workbench.workspace, self.workbench.pairs_screen
        answers = candidates(now)
        if not answers:
            self.workbench.tell("There is no answer yet: g lets the columns answer, r takes one that you type.")
            return
        names = workspace.datasets()
        name = pairs.open_name if pairs is not None and pairs.open_name else (names or ["compare"])[0]
        choice = await self.app.push_screen_wait(SavePairDialog(answers, first_choice(now, answers), names, name))
        if choice is None:
            return
        path = workspace.pairs_file(choice.data_set)
        kind = await asyncio.to_thread(kind_of, path) if path.exists() else None
        source = f"compare: {', '.join(column.name for column in now.columns)}"
        pair = new_pair(
            now.prompt, choice.chosen, choice.rejected, source=source, conversational=kind, rendering=now.rendering
        )
        edited = await self.app.push_screen_wait(EditDialog(pair, f"New pair in {choice.data_set}", drafted=True))
        if edited is not None:
            if pairs is None or not pairs.take_up(path, edited):
                await asyncio.to_thread(add_to, path, [edited], FROM_COMPARE)
            self.workbench.tell(f"Saved as a pair of {choice.data_set}. 1 shows it; u takes it back there.")

    @background("save", doing="saving the view", exclusive=True)
    async def action_save_view(self) -> None:
        """Saves the screen as a picture and its numbers as JSON."""
        picture = self.app.export_screenshot(title=f"{self._base.model}, {self._base.quantization}")
        numbers = comparison_document(self.comparison, self._base.model, self._base.quantization)
        files = {".svg": picture, ".json": json.dumps(numbers, ensure_ascii=False, indent=1) + "\n"}
        path = await asyncio.to_thread(save_view, self.workbench.workspace.views, "compare", files)
        self.workbench.tell(f"Saved {path.parent.name}/{path.name}.svg and .json")


def kind_of(path: Path) -> bool | None:
    """Whether a data set holds conversations; None for an empty one. Raises `WorkbenchError`."""
    from workbench.pairs.store import load_rows

    return load_rows(path).conversational


def in_turns(probes: list[Probe]) -> list[Probe]:
    """The probes of all kinds in turn: after an attack its benign look-alike, and then a matter of tone."""
    from workbench.evidence.probes import by_kind

    kinds = list(by_kind(probes).values())
    longest = max(map(len, kinds), default=0)
    return [kind[number] for number in range(longest) for kind in kinds if number < len(kind)]
