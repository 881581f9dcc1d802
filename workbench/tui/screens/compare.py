"""The Compare screen: base beside aligned, token by token."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from workbench.compare.comparison import BASE, Comparison
from workbench.compare.prompt_parts import kept_turns, texts_of, with_texts
from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import TunedRun, tuned_runs, with_unique_name
from workbench.runs.catalog import Catalog
from workbench.tui.background import background
from workbench.tui.dialogs.column import ColumnDialog
from workbench.tui.dialogs.write import WriteDialog
from workbench.tui.screens.compare_tools import CompareTools
from workbench.tui.widgets.answer_view import AnswerView
from workbench.tui.widgets.columns_bar import ColumnsBar
from workbench.tui.widgets.prompt_view import PromptView

_TEMPERATURES = (0.0, 0.7, 1.0)


class CompareScreen(CompareTools):
    """What is compared, and the keys and clicks that change it."""

    MODE = "compare"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "prompt", "Prompt"),
        Binding("r", "response", "Response"),
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
        self._alone = False
        """Whether the user took away the last column beside the base."""

    def on_screen_resume(self) -> None:
        """Takes up the pair or run that another screen left; at first, the newest run."""
        left = self.workbench.pair_to_compare is not None or self.workbench.run_to_compare is not None
        if left or (len(self.comparison.columns) == 1 and not self._alone):
            self._take_up()

    # what is compared

    @background("take up", doing="taking up what is compared", exclusive=True)
    async def _take_up(self) -> None:
        first, before = not self._looked, {run.id: run.step for run in self._runs}
        await self._look_for_runs()
        # Taken only now: a second resume may have cancelled the first one's worker.
        pair, run = self.workbench.pair_to_compare, self.workbench.run_to_compare
        self.workbench.pair_to_compare = self.workbench.run_to_compare = None
        comparison = self.comparison
        if any(run.step != before.get(run.id, run.step) for run in self._runs):
            comparison = comparison.without_results()  # a run was resumed: its adapter is another one now
        chosen = next((each for each in self._runs if each.id == run), None) if run else None
        if run is not None and chosen is None:
            self.workbench.tell(f"{run} has no adapter yet: it can be compared once it has finished or stopped.")
        if run is None and len(comparison.columns) == 1 and not self._alone and self._runs:
            chosen = self._runs[0]
        if pair is not None:
            comparison = comparison.with_pair(pair)
        if chosen is not None:
            comparison = self._with_run(comparison, chosen)
        self._looked = True
        if first or comparison != self.comparison:
            self._look = replace(self._look, speaking=self._look.speaking and pair is None)
            self._refresh(comparison)

    async def _look_for_runs(self) -> None:
        catalog = self._catalog = self._catalog or Catalog(self.workbench.workspace.runs)
        self._runs = tuned_runs(await asyncio.to_thread(catalog.summaries))

    def _with_run(self, comparison: Comparison, run: TunedRun) -> Comparison:
        """The run in the second column, the others kept where they have its base."""
        adapters = [column.adapter for column in comparison.columns]
        if run.base == self._base and run.adapter in adapters:
            return comparison.with_columns(comparison.columns, adapters.index(run.adapter))
        comparison = self._on_base(comparison, run.base)
        others = comparison.columns[2:]
        return comparison.with_columns((BASE, with_unique_name(run.column(), (BASE, *others)), *others), 1)

    def _on_base(self, comparison: Comparison, base: Base) -> Comparison:
        """The comparison as it is, or begun anew where it was of another base."""
        if base == self._base:
            return comparison
        self._base = base
        return comparison.without_results().with_columns((BASE,), 0)

    # keys and clicks

    @background("dialog", doing="changing the prompt", exclusive=True, opens=True)
    async def action_prompt(self) -> None:
        """Another prompt."""
        prompt = self.comparison.prompt
        kept = kept_turns(prompt)
        note = f"{kept} earlier turns stay as they are." if kept else ""
        texts = await self.app.push_screen_wait(WriteDialog("Prompt", texts_of(prompt), note=note))
        changed = with_texts(prompt, texts) if texts else prompt
        if changed != prompt:
            self._refresh(self.comparison.with_prompt(changed))

    @background("dialog", doing="changing the response", exclusive=True, opens=True)
    async def action_response(self) -> None:
        """A response that is typed, beginning from the one in view."""
        answer = self.comparison.answer
        texts = await self.app.push_screen_wait(WriteDialog("Response", [("", answer.text if answer else "")]))
        if texts:
            self._look = replace(self._look, speaking=False)
            self._turn_to(self.comparison.with_typed(texts[0]))

    @background("dialog", doing="adding a column", exclusive=True, opens=True)
    async def action_add_column(self) -> None:
        """Another column beside the base."""
        await self._look_for_runs()
        choice = await self.app.push_screen_wait(ColumnDialog(self._runs, self._base))
        if choice is None:
            return
        now, run = self.comparison, choice.run
        if run is not None:
            now = self._on_base(now, run.base)
        column = with_unique_name(
            run.column(choice.system) if run else BASE.model_copy(update={"system": choice.system}), now.columns
        )
        self._refresh(now.with_columns((*now.columns, column), len(now.columns)))

    def action_remove_column(self) -> None:
        """Takes the column beside the base away."""
        now = self.comparison
        if now.current:
            columns = (*now.columns[: now.current], *now.columns[now.current + 1 :])
            self._alone = len(columns) == 1
            self._refresh(now.with_columns(columns, min(now.current, len(columns) - 1)))

    def action_next_column(self, by: int) -> None:
        """Puts the next of the columns beside the base."""
        now, others = self.comparison, len(self.comparison.columns) - 1
        if others > 1:
            self._update(replace(now, current=(now.current - 1 + by) % others + 1))
        elif not others:
            self.action_add_column()

    def action_next_answer(self) -> None:
        """Goes on to the next of the answers at hand."""
        self._turn_to(self.comparison.with_next_answer())

    def action_walk(self, by: int) -> None:
        """Walks the tokens of the answer in view."""
        walked = self.comparison.with_position(self.comparison.position + by)
        self._look = replace(self._look, speaking=False)
        if walked != self.comparison:
            self._turn_to(walked)
        else:
            self._show()

    def action_generate(self) -> None:
        """Lets all columns answer."""
        self._failure = None
        self._seed += 1 if self._temperature else 0
        self._ask_generation()
        self._show(speaking=True)

    def action_temperature(self) -> None:
        """Greedy, or sampled at a low or a high temperature; and lets all columns answer so."""
        self._temperature = _TEMPERATURES[(_TEMPERATURES.index(self._temperature) + 1) % len(_TEMPERATURES)]
        self.action_generate()

    def action_back(self) -> None:
        """Cancels samples that are on their way; else shows the bars again, or ends the presentation."""
        if self._sampling:
            self.workers.cancel_group(self, "generation")
        elif self._look.speaking:
            self._show(speaking=False)
        else:
            self._show(presenting=False)

    @on(ColumnsBar.Picked)
    def _column_picked(self, event: ColumnsBar.Picked) -> None:
        self._update(replace(self.comparison, current=event.column))

    @on(ColumnsBar.AddClicked)
    def _column_wanted(self) -> None:
        self.action_add_column()

    @on(PromptView.Clicked)
    def _prompt_clicked(self) -> None:
        self.action_prompt()

    @on(AnswerView.Picked)
    def _token_picked(self, event: AnswerView.Picked) -> None:
        if event.answer in self.comparison.answers:
            active = self.comparison.answers.index(event.answer)
            self._turn_to(replace(self.comparison, active=active).with_position(event.token))
