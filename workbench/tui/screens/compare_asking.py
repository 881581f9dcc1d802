"""The half of the Compare screen that asks: it keeps one `Comparison` and has the scorer fill in what it lacks."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from textual.app import ComposeResult
from textual.timer import Timer

from workbench.compare.client import ScorerClient
from workbench.compare.comparison import Comparison
from workbench.compare.messages import TextChunk
from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import TunedRun
from workbench.errors import WorkbenchError
from workbench.tui.background import background
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.comparison_view import ComparisonView
from workbench.tui.widgets.look import ViewOptions

_CANDIDATES = 16
"""Likeliest tokens asked for at every place."""
_FLUSH, _SLOW_FLUSH = 0.05, 0.5
"""Seconds for which generated text is gathered before it is shown."""
SAMPLES = 24
"""Answers of each column over which shares are counted."""
_NO_RUN = "No finished run yet: 2 and then n trains one. + puts a system message beside the base."


class AskingScreen(WorkbenchScreen):
    """Asks the warm scorer that the screens share. A newer request of a kind cancels the older one."""

    AUTO_FOCUS = ""  # The keys are the screen's; the one field takes them when it is opened.

    def __init__(self) -> None:
        super().__init__()
        self.comparison = Comparison()
        self._base = Base()
        self._runs: list[TunedRun] = []
        self._looked = False
        """Whether the workspace's runs are known."""
        self._temperature, self._seed = 0.0, 0
        self._look = ViewOptions()
        self._sampling = 0
        """Tokens of the samples that are on their way; 0 while there are none."""
        self._failure: WorkbenchError | None = None
        self._loading_since: float | None = None
        self._pieces: list[TextChunk] = []
        self._flush: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """The comparison."""
        yield ComparisonView()

    def on_mount(self) -> None:
        """Keeps the time while a model loads."""
        self.set_interval(1.0, self._tick)

    def _refresh(self, comparison: Comparison) -> None:
        """Shows `comparison` and asks for all that it lacks."""
        self._update(comparison)
        self._failure = None
        self._ask_sight()
        self._ask_scores()
        heard = {said.name for said in comparison.generations if said.done}
        missing = any(column.name not in heard for column in comparison.columns)
        if comparison.answer is None or (comparison.generations and missing):
            self._ask_generation()
        else:
            self.workers.cancel_group(self, "generation")

    def _update(self, comparison: Comparison) -> None:
        adapter = comparison.aligned.adapter if comparison.aligned else None
        run = next((each for each in self._runs if each.adapter == adapter), None)
        self.comparison = replace(comparison, beta=run.beta if run else comparison.beta)
        self._show()

    def _turn_to(self, comparison: Comparison) -> None:
        """Shows another answer or place of the same comparison, and asks for what is to be seen there."""
        self._failure = None
        self._update(comparison)
        self._ask_sight()
        self._ask_scores()

    def _show(self, **changes: Any) -> None:
        """Shows the comparison; `changes` are those of the look."""
        loading, hint = self._loading_since, self._hint
        if loading is not None:
            hint = f"◌ Loading {self._base.model} ({self._base.quantization}) … {time.monotonic() - loading:.0f} s"
        elif self._looked and not self._runs and len(self.comparison.columns) == 1:
            hint = _NO_RUN
        self._look = replace(self._look, **changes)
        self.query_one(ComparisonView).show(self.comparison, replace(self._look, hint=hint, title=self._title()))

    @property
    def _hint(self) -> str:
        """What to do next."""
        return ""

    def _title(self) -> str:
        how = f"sampled at temperature {self._temperature}, seed {self._seed}" if self._temperature else "greedy"
        if self._sampling:
            return f"◌ {SAMPLES} samples of each column … {self._sampling:,} tokens · esc cancels"
        if self.comparison.samples:
            return f"{SAMPLES} samples of each column at temperature {self._sample_temperature}, seed {self._seed}"
        if self.comparison.generations:
            return f"answers · {how} · g again · t other temperature · n shares"
        return f"g lets the columns answer · {how} · n shares" if self.comparison.answer else ""

    @property
    def _sample_temperature(self) -> float:
        return self._temperature or 1.0

    def _tick(self) -> None:
        if self._loading_since is not None:
            self._show()

    @background("sight", doing="asking for the next tokens", exclusive=True)
    async def _ask_sight(self) -> None:
        """Asks what the columns might say at the place looked at."""
        client, now = await self._scorer(), self.comparison
        beginning, answer = now.forced_prefix, now.answer
        if beginning is not None or answer is None:
            text, taken = (beginning.text, beginning.taken) if beginning else ("", ())
            reply = await client.next_token(
                now.prompt, now.columns, prefix=text, taken=taken, top_k=_CANDIDATES, template=now.template
            )
            title = "next token"
        else:
            reply = await client.distribution_at(
                now.prompt, answer.response, now.columns, now.position, top_k=_CANDIDATES, template=now.template
            )
            title = f"at token {now.position + 1}" if now.position else "next token"
        self._update(self.comparison.with_distribution(reply, title))

    @background("scores", doing="scoring the answer", exclusive=True)
    async def _ask_scores(self) -> None:
        for answer in self.comparison.unscored():
            client, now = await self._scorer(), self.comparison
            reply = await client.score(now.prompt, answer.response, now.columns, top_k=0, template=now.template)
            self._update(self.comparison.with_scores(answer.response, reply))

    @background("generation", doing="generating answers", exclusive=True)
    async def _ask_generation(self, beginning: str = "") -> None:
        self._pieces.clear()
        self._sampling = 0
        try:
            client = await self._scorer()
            self._update(self.comparison.with_generation_started(beginning))
            now = self.comparison
            reply = await client.generate(
                now.prompt,
                now.columns,
                prefix=beginning,
                temperature=self._temperature,
                seed=self._seed,
                template=now.template,
                on_chunk=self._hear,
            )
            self._pieces.clear()
            led = self.comparison.answer
            self._update(self.comparison.with_generated(reply, beginning))
            if self.comparison.answer != led:
                self._ask_sight()
            self._ask_scores()
        except Exception:
            self._update(replace(self.comparison, generations=()))  # Nobody speaks any more.
            raise

    @background("generation", doing="sampling answers", exclusive=True)
    async def _ask_samples(self) -> None:
        """Has every column answer many times, to count how."""
        try:
            client, now = await self._scorer(), self.comparison
            self._sampling = 1
            reply = await client.generate(
                now.prompt,
                now.columns,
                temperature=self._sample_temperature,
                seed=self._seed,
                samples=SAMPLES,
                template=now.template,
                on_chunk=self._count,
            )
            self.comparison = self.comparison.with_samples(reply)
        finally:
            self._sampling = 0
            if self.is_attached:
                self._show()

    def _count(self, _: TextChunk) -> None:
        self._sampling += 1
        if self._flush is None:
            self._flush = self.set_timer(_SLOW_FLUSH, self._show_pieces)

    def _hear(self, piece: TextChunk) -> None:
        self._pieces.append(piece)
        if self._flush is None:
            self._flush = self.set_timer(_SLOW_FLUSH if self.workbench.slow else _FLUSH, self._show_pieces)

    def _show_pieces(self) -> None:
        self._flush = None
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._update(self.comparison.with_chunks(pieces))
        elif self._sampling:
            self._show()

    async def _scorer(self) -> ScorerClient:
        """The scorer of the base that is compared, with its model loaded. Raises `WorkbenchError`."""
        if self._failure is not None:
            raise self._failure  # Told once, however many requests it meets.
        base = self._base
        client = self.workbench.scorers.of(base)
        if not client.running:
            self._loading_since = time.monotonic()
            self.top_bar.status = "loading"
            self._show()
        try:
            ready = await client.start()
        except WorkbenchError as error:
            if base == self._base:
                self._failure = error
                self._loaded("no model")
            raise
        if base == self._base and self._loading_since is not None:
            self._loaded(ready.device)
        self.top_bar.context = f"{base.model} · {base.quantization}"
        return client

    def _loaded(self, status: str) -> None:
        self._loading_since = None
        self.top_bar.status = status
        self._show()
