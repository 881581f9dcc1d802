"""The Compare screen: base beside aligned, token by token."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from workbench.behaviours.reading import behaviours_of
from workbench.compare.comparison import Comparison, ProbeAsked, comparison_document
from workbench.compare.new_pair import candidates, first_choice, new_pair
from workbench.compare.prompt_parts import kept_turns, texts_of, with_texts
from workbench.compare.session import SAMPLES, ComparisonSession
from workbench.compare.tuned_runs import TunedRun, tuned_runs
from workbench.pairs.pair import Pair
from workbench.runs.catalog import Catalog
from workbench.tui.background import background
from workbench.tui.dialogs.ask import WriteDialog
from workbench.tui.dialogs.column import ColumnDialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.answer_view import AnswerView
from workbench.tui.widgets.bars import Bars, PrefixLine
from workbench.tui.widgets.comparison_view import ColumnsBar, ComparisonView, PromptView, ViewOptions

_GATHER_SLOW = 0.5
"""Seconds for which generated text is gathered before it is shown over a slow link."""
_BETWEEN = re.compile(r" ?\| ?|\n")
"""Stands between openings that are typed."""
_NO_RUN = "No finished run yet: 2 and then n trains one. + puts a system message beside the base."


class CompareScreen(WorkbenchScreen):
    """Shows a comparison session, and turns keys and clicks into calls of it."""

    MODE = "compare"
    AUTO_FOCUS = ""  # The keys are the screen's; the one field takes them when it is opened.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "prompt", "Prompt"),
        Binding("r", "response", "Response"),
        Binding("o", "openings", "How an answer begins", show=False),
        Binding("x", "next_answer", "Other answer"),
        Binding("g", "generate", "Generate"),
        Binding("left", "walk(-1)", "Previous token", show=False),
        Binding("right", "walk(1)", "Tokens", key_display="←→"),
        Binding("home", "walk(-1000000)", "First token", show=False),
        Binding("end", "walk(1000000)", "Last token", show=False),
        Binding("plus", "add_column", "Column", show=False, key_display="+"),
        Binding("minus", "remove_column", "Remove column", key_display="−", show=False),
        Binding("tab", "next_column(1)", "Next column", show=False),
        Binding("shift+tab", "next_column(-1)", "Previous column", show=False),
        Binding("t", "temperature", "Generate greedily or sampled", show=False),
        Binding("n", "samples", "Shares of many samples", show=False),
        Binding("f", "begin", "Force a beginning", show=False),
        Binding("c", "color", "Colour by change or by shift", show=False),
        Binding("b", "bounds", "Show tokens or text", show=False),
        Binding("space", "next_probe(1)", "Probe"),
        Binding("backspace", "next_probe(-1)", "Probe before", show=False),
        Binding("v", "present", "Present, in large", show=False),
        Binding("d", "score_pairs", "All pairs of a data set", show=False),
        Binding("P", "save_pair", "Save as a pair", show=False),
        Binding("S", "save_view", "Save picture and numbers", show=False),
        Binding("escape", "back", "Back to the tokens", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._catalog: Catalog | None = None
        self.session = ComparisonSession(
            lambda base: self.workbench.scorers.of(base),
            self._find_runs,
            self._find_probes,
            lambda model: behaviours_of(self.workbench.workspace, model),
            on_change=self._show,
            on_failure=lambda error, doing: self.workbench.tell_failure(error, doing),
        )
        self._options = ViewOptions()

    def compose_body(self) -> ComposeResult:
        """The comparison."""
        yield ComparisonView()

    def on_mount(self) -> None:
        """Keeps the time while a model loads."""
        if self.workbench.slow:
            self.session.gather_seconds = _GATHER_SLOW
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        """Asks nothing more."""
        self.session.close()

    def on_screen_resume(self) -> None:
        """Looks for a run where none is beside the base: one may have finished."""
        if self.session.lacks_run:
            self._open(None, None)

    @property
    def comparison(self) -> Comparison:
        """What is compared."""
        return self.session.comparison

    # Showing

    def _show(self, **options: Any) -> None:
        """Shows the comparison; `options` are changes of how it is shown."""
        self._options = replace(self._options, **options)
        if not (self.is_mounted and self.is_attached):
            return
        session = self.session
        self.top_bar.status = session.device
        if session.loaded is not None:
            self.top_bar.context = f"{session.loaded.model} · {session.loaded.quantization}"
        shown = replace(self._options, hint=self._hint(), title=self._title())
        self.query_one(ComparisonView).show(session.comparison, shown)

    def _hint(self) -> str:
        """What is awaited, could be done next, or is in view."""
        session = self.session
        if session.loading_since is not None:
            base, seconds = session.base, time.monotonic() - session.loading_since
            return f"◌ Loading {base.model} ({base.quantization}) … {seconds:.0f} s"
        if session.runs_known and not session.runs and len(self.comparison.columns) == 1:
            return _NO_RUN
        return f"{session.probe}, in no pair · space next" if session.probe else ""

    def _title(self) -> str:
        """How answers are generated."""
        session, temperature = self.session, self.session.temperature
        how = f"sampled at temperature {temperature}, seed {session.seed}" if temperature else "greedy"
        if session.sampled_tokens:
            return f"◌ {SAMPLES} samples of each column … {session.sampled_tokens:,} tokens · esc cancels"
        if self.comparison.samples:
            return f"{SAMPLES} samples of each column at temperature {session.sample_temperature}, seed {session.seed}"
        if self.comparison.generations:
            return f"answers · {how} · g again · t other temperature · n shares"
        return f"g lets the columns answer · {how} · n shares" if self.comparison.answer else ""

    def _tick(self) -> None:
        if self.session.loading_since is not None:
            self._show()

    # What is compared

    def open(self, pair: Pair | None = None, run: str | None = None) -> None:
        """Takes up a pair, a run by its id, or both; a data set that is being scored steps aside."""
        above = self.app.screen
        if above is not self and isinstance(above, WorkbenchScreen):
            above.dismiss()
        self._open(pair, run)

    @background("open", doing="taking up what is compared")
    async def _open(self, pair: Pair | None, run: str | None) -> None:
        if pair is not None:
            self._show(speaking=False)
        if not await self.session.open(pair, run):
            self.workbench.tell(f"{run} has no adapter yet: it can be compared once it has finished or stopped.")

    def _find_runs(self) -> list[TunedRun]:
        catalog = self._catalog = self._catalog or Catalog(self.workbench.workspace.runs)
        return tuned_runs(catalog.summaries())

    def _find_probes(self) -> list[ProbeAsked]:
        from workbench.evidence.probes import kinds_in_turn, read_suites

        probes = kinds_in_turn(read_suites(self.workbench.workspace.probes))
        return [ProbeAsked(probe.id, probe.kind, probe.prompt, probe.responses, probe.openings) for probe in probes]

    @background("dialog", doing="asking for a prompt", exclusive=True, opens=True)
    async def action_prompt(self) -> None:
        """Another prompt."""
        prompt = self.comparison.prompt
        kept = kept_turns(prompt)
        note = f"{kept} earlier turns stay as they are." if kept else ""
        texts = await self.app.push_screen_wait(WriteDialog("Prompt", texts_of(prompt), note=note))
        if texts:
            self.session.set_prompt(with_texts(prompt, texts))

    @background("dialog", doing="asking for a response", exclusive=True, opens=True)
    async def action_response(self) -> None:
        """A response that is typed, beginning from the one in view."""
        answer = self.comparison.answer
        texts = await self.app.push_screen_wait(WriteDialog("Response", [("", answer.text if answer else "")]))
        if texts:
            self._show(speaking=False)
            self.session.set_response(texts[0])

    @background("dialog", doing="asking for openings", exclusive=True, opens=True)
    async def action_openings(self) -> None:
        """Ways to begin an answer, whose probability together is shown."""
        answer = self.comparison.answer
        begun = " | ".join(answer.openings) if answer else ""
        note = "How may an answer begin? With | between several; their probabilities are added up."
        texts = await self.app.push_screen_wait(WriteDialog("Openings", [("", begun)], note=note))
        openings = [opening for opening in _BETWEEN.split((texts or [""])[0]) if opening.strip()]
        if openings:
            self._show(speaking=False)
            self.session.set_openings(openings)

    @background("dialog", doing="asking for a column", exclusive=True, opens=True)
    async def action_add_column(self) -> None:
        """Another column beside the base."""
        await self.session.look_for_runs()
        choice = await self.app.push_screen_wait(ColumnDialog(self.session.runs, self.session.base))
        if choice is not None:
            self.session.add_column(choice.run, choice.system)

    def action_remove_column(self) -> None:
        """Takes the column beside the base away."""
        self.session.remove_column()

    def action_next_column(self, by: int) -> None:
        """Puts the next of the columns beside the base."""
        if len(self.comparison.columns) > 1:
            self.session.next_column(by)
        else:
            self.action_add_column()

    @background("probe", doing="turning to another probe", exclusive=True)
    async def action_next_probe(self, by: int) -> None:
        """Goes on to another prompt that is in no pair, with the answers that are looked for."""
        await self.session.next_probe(by, generate=self._options.presenting)

    @on(ColumnsBar.Picked)
    def _column_picked(self, event: ColumnsBar.Picked) -> None:
        self.session.pick_column(event.column)

    @on(ColumnsBar.AddClicked)
    def _column_wanted(self) -> None:
        self.action_add_column()

    @on(PromptView.Clicked)
    def _prompt_clicked(self) -> None:
        self.action_prompt()

    # Answers and their tokens

    def action_next_answer(self) -> None:
        """Goes on to the next of the answers at hand."""
        self.session.next_answer()

    def action_walk(self, by: int) -> None:
        """Walks the tokens of the answer in view."""
        self._show(speaking=False)
        self.session.walk(by)

    @on(AnswerView.Picked)
    def _token_picked(self, event: AnswerView.Picked) -> None:
        self.session.pick_token(event.answer, event.token)

    def action_generate(self) -> None:
        """Lets all columns answer."""
        self.session.generate()
        self._show(speaking=True)

    def action_temperature(self) -> None:
        """Lets all columns answer greedily, or sampled at a low or a high temperature."""
        self.session.next_temperature()
        self._show(speaking=True)

    def action_samples(self) -> None:
        """Lets every column answer many times, and counts how."""
        self.session.sample()
        self._show(speaking=True)

    def action_back(self) -> None:
        """Cancels samples that are on their way; else shows the bars again, or ends the presentation."""
        if self.session.cancel_samples():
            return
        self._show(**({"speaking": False} if self._options.speaking else {"presenting": False}))

    # A forced prefix

    def action_begin(self) -> None:
        """Lets the beginning of an answer be typed, and shows what would come after it."""
        self.query_one(PrefixLine).open()
        self._show(speaking=False, cursor=0)
        self.session.force_prefix("")

    @on(PrefixLine.Typed)
    def _prefix_typed(self, event: PrefixLine.Typed) -> None:
        self.session.force_prefix(event.text)

    @on(PrefixLine.KeyPressed)
    def _prefix_key(self, event: PrefixLine.KeyPressed) -> None:
        match event.what:
            case "down" | "up":
                cursor = (self._options.cursor or 0) + (1 if event.what == "down" else -1)
                self._show(cursor=max(0, min(cursor, len(self.comparison.rows) - 1)))
            case "take":
                self._take_token()
            case "go on":
                self.query_one(PrefixLine).close()
                self.session.go_on_from_prefix()
                self._show(cursor=None, speaking=True)
            case "close":
                self.query_one(PrefixLine).close()
                self._show(cursor=None)
                self.session.drop_prefix()

    def _take_token(self) -> None:
        row = self.query_one(Bars).row
        if row is None or self.comparison.forced_prefix is None or self.comparison.inspected is None:
            return
        if row.special:
            self.workbench.tell("The answer would end here.")
            return
        self.query_one(PrefixLine).write(self.comparison.prefix_text(row))
        self.session.force_token(row)
        self._show(cursor=0)

    # Ways to look

    def action_color(self) -> None:
        """Colours tokens by the other measure."""
        self._show(by_shift=not self._options.by_shift)

    def action_bounds(self) -> None:
        """Shows every token for itself, or the text that they make."""
        self._show(bounds=not self._options.bounds)

    def action_present(self) -> None:
        """Shows the comparison in large, for people who sit far away, or as before."""
        self._show(presenting=not self._options.presenting)

    # Data sets and files

    def _data_set(self, otherwise: str) -> str:
        """The data set that is open on the Pairs screen, else the first that there is."""
        if self.workbench.data_set is not None:
            return self.workbench.data_set.name
        return (self.workbench.workspace.datasets() or [otherwise])[0]

    def action_score_pairs(self) -> None:
        """Scores every pair of a data set under all columns, worst first."""
        from workbench.tui.screens.scored_pairs import ScoredPairsScreen

        name = self._data_set("")
        if not name:
            self.workbench.tell("There is no data set yet: 1 and then i brings one in.")
            return
        columns, current = self.comparison.columns, self.comparison.current
        self.app.push_screen(ScoredPairsScreen(self.session.scorer, columns, current, name, open_pair=self.open))

    @background("dialog", doing="saving a pair", exclusive=True, opens=True)
    async def action_save_pair(self) -> None:
        """Makes a pair of two of the answers at hand: what failed here trains the next run."""
        from workbench.pairs.session import add_pairs
        from workbench.tui.dialogs.edit import EditDialog
        from workbench.tui.dialogs.save_pair import SavePairDialog

        now, workspace = self.comparison, self.workbench.workspace
        answers = candidates(now)
        if not answers:
            self.workbench.tell("There is no answer yet: g lets the columns answer, r takes one that you type.")
            return
        name = self._data_set("compare")
        dialog = SavePairDialog(answers, first_choice(now, answers), workspace.datasets(), name)
        choice = await self.app.push_screen_wait(dialog)
        if choice is None:
            return
        path = workspace.pairs_file(choice.data_set)
        conversational = await asyncio.to_thread(_is_conversational, path) if path.exists() else None
        pair = new_pair(
            now.prompt,
            choice.chosen,
            choice.rejected,
            source=f"compare: {', '.join(column.name for column in now.columns)}",
            conversational=conversational,
            rendering=now.rendering,
        )
        edited = await self.app.push_screen_wait(EditDialog(pair, f"New pair in {choice.data_set}", drafted=True))
        if edited is not None:
            description, open_set = "pair from Compare", self.workbench.data_set
            await asyncio.to_thread(add_pairs, open_set, path, [edited], description, go_to=edited.id)
            self.workbench.tell(f"Saved as a pair of {choice.data_set}. 1 shows it; u takes it back there.")

    @background("save", doing="saving the view", exclusive=True)
    async def action_save_view(self) -> None:
        """Saves the screen as a picture and its numbers as JSON."""
        base = self.session.base
        picture = self.app.export_screenshot(title=f"{base.model}, {base.quantization}")
        numbers = comparison_document(self.comparison, base.model, base.quantization)
        files = {".svg": picture, ".json": json.dumps(numbers, ensure_ascii=False, indent=1) + "\n"}
        path = await asyncio.to_thread(self.workbench.workspace.save_view, "compare", files)
        self.workbench.tell(f"Saved {path.parent.name}/{path.name}.svg and .json")


def _is_conversational(path: Path) -> bool | None:
    """Whether a data set holds conversations; None for an empty one. Raises `WorkbenchError`."""
    from workbench.pairs.store import load_rows

    return load_rows(path).conversational
