"""The Compare screen: base beside aligned, token by token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.worker import Worker, WorkerState

from workbench.compare.client import ScorerClient
from workbench.compare.columns import Base, TunedRun, told_apart, tuned_runs
from workbench.compare.comparison import BASE, Comparison
from workbench.compare.messages import Piece
from workbench.compare.prompt_parts import kept_turns, texts_of, with_texts
from workbench.errors import WorkbenchError
from workbench.runs.catalog import Catalog
from workbench.tui.dialogs.column import ColumnDialog
from workbench.tui.dialogs.write import WriteDialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.answer_view import AnswerView
from workbench.tui.widgets.columns_bar import ColumnsBar
from workbench.tui.widgets.comparison_view import ComparisonView
from workbench.tui.widgets.prompt_view import PromptView

_CANDIDATES = 16
"""Likeliest tokens asked for at every place."""
_TEMPERATURES = (0.0, 0.7, 1.0)
_FLUSH, _SLOW_FLUSH = 0.05, 0.5
"""Seconds for which generated text is gathered before it is shown."""
_NO_RUN = "No finished run yet: 2 and then n trains one. + puts a system message beside the base."


class CompareScreen(WorkbenchScreen):
    """Keeps one `Comparison`, asks the scorer for what it lacks, and shows it."""

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
        Binding("plus", "add_column", "Column", key_display="+"),
        Binding("minus", "remove_column", "Remove column", key_display="−", show=False),
        Binding("tab", "next_column(1)", "Next column", show=False),
        Binding("shift+tab", "next_column(-1)", "Previous column", show=False),
        Binding("t", "temperature", "Generate greedily or sampled", show=False),
        Binding("escape", "back", "Back to the tokens", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.comparison = Comparison()
        self._base = Base()
        self._client: ScorerClient | None = None
        self._catalog: Catalog | None = None
        self._runs: list[TunedRun] = []
        self._alone = False
        """Whether the user took away the last column beside the base."""
        self._looked = False
        self._temperature, self._seed = 0.0, 0
        self._speaking = False
        self._pieces: list[Piece] = []
        self._flush: Timer | None = None
        self._loading_since: float | None = None
        self._failure: tuple[str, str] | None = None

    def compose_body(self) -> ComposeResult:
        """The comparison."""
        yield ComparisonView()

    def on_mount(self) -> None:
        """Keeps the time while a model loads."""
        self.set_interval(1.0, self._tick)

    async def on_unmount(self) -> None:
        """Ends the scorer: it never outlives the screen."""
        if self._client is not None:
            await self._client.close()

    def on_screen_resume(self) -> None:
        """Takes up the pair or run that another screen left; at first, the newest run."""
        left = self.workbench.pair_to_compare is not None or self.workbench.run_to_compare is not None
        if left or (len(self.comparison.columns) == 1 and not self._alone):
            self._take_up()

    # what is compared

    @work(group="take up", exclusive=True, exit_on_error=False)
    async def _take_up(self) -> None:
        with self._telling():
            first = not self._looked
            await self._look_for_runs()
            # Taken only now: a second resume may have cancelled the first one's worker.
            pair, run = self.workbench.pair_to_compare, self.workbench.run_to_compare
            self.workbench.pair_to_compare = self.workbench.run_to_compare = None
            comparison = self.comparison
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
                self._speaking = self._speaking and pair is None
                self._refresh(comparison)

    async def _look_for_runs(self) -> None:
        catalog = self._catalog = self._catalog or Catalog(self.workbench.workspace.runs)
        self._runs = tuned_runs(await asyncio.to_thread(catalog.summaries))

    def _with_run(self, comparison: Comparison, run: TunedRun) -> Comparison:
        """The run in the second column, the others kept where they have its base."""
        adapters = [column.adapter for column in comparison.columns]
        if run.base == self._base and run.adapter in adapters:
            return comparison.with_columns(comparison.columns, adapters.index(run.adapter))
        others = comparison.columns[2:] if run.base == self._base else ()
        self._base = run.base
        return comparison.with_columns((BASE, told_apart(run.column(), (BASE, *others)), *others), 1)

    def _refresh(self, comparison: Comparison) -> None:
        """Shows `comparison` and asks for all that it lacks."""
        self._update(comparison)
        self._failure = None
        self._ask_next()
        self._ask_scores()
        heard = {said.name for said in comparison.said if said.done}
        missing = any(column.name not in heard for column in comparison.columns)
        if comparison.answer is None or (comparison.said and missing):
            self._ask_generation()
        else:
            self.workers.cancel_group(self, "generation")

    def _update(self, comparison: Comparison) -> None:
        adapter = comparison.aligned.adapter if comparison.aligned else None
        run = next((each for each in self._runs if each.adapter == adapter), None)
        self.comparison = replace(comparison, beta=run.beta if run else comparison.beta)
        self._show()

    def _show(self) -> None:
        loading = self._loading_since
        hint = ""
        if loading is not None:
            hint = f"◌ Loading {self._base.model} ({self._base.quantization}) … {time.monotonic() - loading:.0f} s"
        elif self._looked and not self._runs and len(self.comparison.columns) == 1:
            hint = _NO_RUN
        how = f"sampled at temperature {self._temperature}, seed {self._seed}" if self._temperature else "greedy"
        if self.comparison.said:
            title = f"answers · {how} · g again · t other temperature"
        else:
            title = f"g lets the columns answer · {how}" if self.comparison.answer else ""
        self.query_one(ComparisonView).show(self.comparison, hint=hint, title=title, speaking=self._speaking)

    def _tick(self) -> None:
        if self._loading_since is not None:
            self._show()

    # what the scorer is asked

    @work(group="next", exclusive=True, exit_on_error=False)
    async def _ask_next(self) -> None:
        with self._telling():
            client, now = await self._scorer(), self.comparison
            reply = await client.next_token(now.prompt, now.columns, top_k=_CANDIDATES)
            self._update(self.comparison.with_distribution(reply))

    @work(group="scores", exclusive=True, exit_on_error=False)
    async def _ask_scores(self) -> None:
        with self._telling():
            for answer in self.comparison.unscored():
                client, now = await self._scorer(), self.comparison
                reply = await client.score(now.prompt, answer.text, now.columns, top_k=_CANDIDATES)
                self._update(self.comparison.with_scores(answer.text, reply))

    @work(group="generation", exclusive=True, exit_on_error=False)
    async def _ask_generation(self) -> None:
        self._pieces.clear()
        with self._telling():
            client = await self._scorer()
            self._update(self.comparison.listening())
            now = self.comparison
            reply = await client.generate(
                now.prompt, now.columns, temperature=self._temperature, seed=self._seed, on_piece=self._hear
            )
            self._pieces.clear()
            self._update(self.comparison.with_generated(reply))
            self._ask_scores()

    def _hear(self, piece: Piece) -> None:
        self._pieces.append(piece)
        if self._flush is None:
            self._flush = self.set_timer(_SLOW_FLUSH if self.workbench.slow else _FLUSH, self._show_pieces)

    def _show_pieces(self) -> None:
        self._flush = None
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._update(self.comparison.with_pieces(pieces))

    async def _scorer(self) -> ScorerClient:
        """The scorer of the base that is compared, with its model loaded. Raises `WorkbenchError`."""
        client, base = self._client, self._base
        if client is None or (client.model, client.quantization) != (base.model, base.quantization):
            if client is not None:
                self._close(client)
            client = self._client = ScorerClient(base.model, base.quantization)
        if not client.running:
            self._loading_since = time.monotonic()
            self.top_bar.status = "loading"
            self._show()
        try:
            ready = await client.start()
        except WorkbenchError:
            if client is self._client:
                self._loaded("no model")
            raise
        if client is self._client and self._loading_since is not None:
            self._loaded(ready.device)
        self.top_bar.context = f"{base.model} · {base.quantization}"
        return client

    def _loaded(self, status: str) -> None:
        self._loading_since = None
        self.top_bar.status = status
        self._show()

    @work(group="closing", exit_on_error=False)
    async def _close(self, client: ScorerClient) -> None:
        await client.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tells of an error once, however many requests it met."""
        try:
            yield
        except WorkbenchError as error:
            if self._failure != (error.title, error.message):
                self._failure = (error.title, error.message)
                self.workbench.show_error(error)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tells of an error that nobody foresaw."""
        if event.state is WorkerState.ERROR:
            self.workbench.show_error(
                WorkbenchError("The comparison met an error of its own", repr(event.worker.error))
            )

    # keys and clicks

    @work(group="dialog", exclusive=True, exit_on_error=False)
    async def action_prompt(self) -> None:
        """Another prompt."""
        prompt = self.comparison.prompt
        kept = kept_turns(prompt)
        note = f"{kept} earlier turns stay as they are." if kept else ""
        texts = await self.app.push_screen_wait(WriteDialog("Prompt", texts_of(prompt), note=note))
        changed = with_texts(prompt, texts) if texts else prompt
        if changed != prompt:
            self._refresh(self.comparison.with_prompt(changed))

    @work(group="dialog", exclusive=True, exit_on_error=False)
    async def action_response(self) -> None:
        """A response that is typed, beginning from the one in view."""
        answer = self.comparison.answer
        texts = await self.app.push_screen_wait(WriteDialog("Response", [("", answer.text if answer else "")]))
        if texts:
            self._failure, self._speaking = None, False
            self._update(self.comparison.with_typed(texts[0]))
            self._ask_scores()

    @work(group="dialog", exclusive=True, exit_on_error=False)
    async def action_add_column(self) -> None:
        """Another column beside the base."""
        with self._telling():
            await self._look_for_runs()
        choice = await self.app.push_screen_wait(ColumnDialog(self._runs, self._base))
        if choice is None:
            return
        now, run = self.comparison, choice.run
        if run is not None and run.base != self._base:
            self._base, now = run.base, now.with_columns((BASE,), 0)
        column = told_apart(
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
        self._failure = None
        self._update(self.comparison.with_next_answer())
        self._ask_scores()

    def action_walk(self, by: int) -> None:
        """Walks the tokens of the answer in view."""
        self._speaking = False
        self._update(self.comparison.with_place(self.comparison.place + by))

    def action_generate(self) -> None:
        """Lets all columns answer."""
        self._failure, self._speaking = None, True
        self._seed += 1 if self._temperature else 0
        self._ask_generation()
        self._show()

    def action_temperature(self) -> None:
        """Greedy, or sampled at a low or a high temperature; and lets all columns answer so."""
        self._temperature = _TEMPERATURES[(_TEMPERATURES.index(self._temperature) + 1) % len(_TEMPERATURES)]
        self.action_generate()

    def action_back(self) -> None:
        """Shows the bars again, where generations took their place."""
        self._speaking = False
        self._show()

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
            self._update(replace(self.comparison, active=active).with_place(event.token))
