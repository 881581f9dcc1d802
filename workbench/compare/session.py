"""A comparison at work: what is compared, the requests that are in flight for it, and what they brought."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from workbench.behaviours.behaviour import Answer as SampledAnswer
from workbench.behaviours.reading import KnownBehaviours
from workbench.compare.client import ScorerClient
from workbench.compare.comparison import BASE, Answer, Comparison, ProbeAsked
from workbench.compare.measures import NextTokenRow, ToldAnswer
from workbench.compare.messages import (
    DistributionAt,
    Generate,
    NextToken,
    Prompt,
    ScoreOpenings,
    ScoreResponse,
    TellBehaviours,
    TextChunk,
)
from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import TunedRun, with_unique_name
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Pair

SAMPLES = 24
"""Answers of each column over which shares are counted."""
TEMPERATURES = (0.0, 0.7, 1.0)
_TOP_K = 16
"""Likeliest tokens asked for at every position."""
_GATHER_SAMPLES = 0.5
"""Seconds between two changes while samples are counted."""

_Kind = Literal["next token", "scores", "generation"]


class ComparisonSession:
    """Owns one `Comparison` and asks the scorer for what it lacks. Use it within one event loop; `close` when done.

    Methods return at once; what they ask for comes later, and `on_change` is called whenever there is something else
    to show. A newer request of a kind cancels the older one. `on_failure` gets an error and what was being done, once
    for all the requests that met it.
    """

    def __init__(
        self,
        scorer_for: Callable[[Base], ScorerClient],
        find_runs: Callable[[], Sequence[TunedRun]],
        find_probes: Callable[[], Sequence[ProbeAsked]],
        find_behaviours: Callable[[str], KnownBehaviours],
        *,
        on_change: Callable[[], None],
        on_failure: Callable[[Exception, str], None],
    ) -> None:
        """`find_runs`, `find_probes` and `find_behaviours` (of a model) are called in a thread."""
        self._scorer_for, self._find_runs, self._find_probes = scorer_for, find_runs, find_probes
        self._find_behaviours = find_behaviours
        self._on_change, self._on_failure = on_change, on_failure
        self.gather_seconds = 0.05
        """For so long generated text is gathered before it is a change."""
        self.comparison = Comparison()
        self.base = Base()
        self.runs: list[TunedRun] = []
        """Runs that can be put beside their base, newest first, as they were when last looked for."""
        self.runs_known = False
        self.temperature, self.seed = TEMPERATURES[0], 0
        self.sampled_tokens = 0
        """Tokens of the samples that are on their way; 0 while there are none."""
        self.loading_since: float | None = None
        """When the scorer was started whose model is not loaded yet (`time.monotonic`)."""
        self.loaded: Base | None = None
        """The base whose model is loaded; None before there is one."""
        self.device = ""
        """Where the model is; "loading", or "no model" where that failed."""
        self._probes: Sequence[ProbeAsked] = ()
        self._probe_number = -1
        self._base_alone = False
        """Whether the user took away the last column beside the base."""
        self._requests: dict[_Kind, asyncio.Task[None]] = {}
        self._failure: tuple[str, str] | None = None
        self._chunks: list[TextChunk] = []
        self._gathering: asyncio.TimerHandle | None = None

    @property
    def sample_temperature(self) -> float:
        """The temperature of samples: greedy ones would all be alike."""
        return self.temperature or 1.0

    def close(self) -> None:
        """Gives all requests up."""
        for kind in list(self._requests):
            self._cancel(kind)
        if self._gathering is not None:
            self._gathering.cancel()

    # What is compared

    async def open(self, pair: Pair | None = None, run: str | None = None) -> bool:
        """Takes up a pair, a run by its id, or both. Without a run the newest goes beside a base that stands alone.

        The answer is whether the run has an adapter to be compared. Raises `WorkbenchError`.
        """
        steps = {known.id: known.step for known in self.runs}
        await self.look_for_runs()
        comparison = self.comparison
        if any(known.step != steps.get(known.id, known.step) for known in self.runs):
            comparison = comparison.without_results()  # A run was resumed: its adapter is another one now.
        chosen = next((known for known in self.runs if known.id == run), None) if run is not None else None
        if run is None and len(comparison.columns) == 1 and not self._base_alone and self.runs:
            chosen = next((known for known in self.runs if known.own), None)
        if pair is not None:
            comparison = comparison.with_pair(pair)
        if chosen is not None:
            comparison = self._with_run(comparison, chosen)
            comparison = comparison.asked_as_trained(plain=chosen.plain)
        if not self.runs_known or comparison != self.comparison:
            self.runs_known = True
            self._refresh(comparison)
        return run is None or chosen is not None

    @property
    def lacks_run(self) -> bool:
        """Whether the base stands alone, and not because the user wants it so."""
        return len(self.comparison.columns) == 1 and not self._base_alone

    async def look_for_runs(self) -> None:
        """Finds out which runs there are. Raises `WorkbenchError`."""
        self.runs = list(await asyncio.to_thread(self._find_runs))

    def set_prompt(self, prompt: Prompt) -> None:
        """Another prompt; nothing where it is the same."""
        if prompt != self.comparison.prompt:
            self._refresh(self.comparison.with_prompt(prompt))

    async def next_probe(self, by: int, *, generate: bool) -> None:
        """Goes on to another probe's prompt, with the answers that it looks for; the columns may answer it as well.

        Raises `WorkbenchError` where there are no probes.
        """
        if not self._probes:
            self._probes = await asyncio.to_thread(self._find_probes)
        self._probe_number = (self._probe_number + by) % len(self._probes) if self._probe_number >= 0 else 0
        self._refresh(self.comparison.with_probe(self._probes[self._probe_number]))
        if generate:
            self._ask_generation()

    @property
    def probe(self) -> str:
        """Which probe is in view, of how many; empty where none is."""
        answer = self.comparison.answer
        if answer is None or answer.group != "probe" or self._probe_number < 0:
            return ""
        return f"probe {self._probes[self._probe_number].id}: {self._probe_number + 1} of {len(self._probes)}"

    def set_response(self, text: str) -> None:
        """A typed response."""
        self._turn_to(self.comparison.with_typed(text))

    def set_openings(self, openings: Sequence[str]) -> None:
        """Ways to begin an answer, typed: how probable is any of them?"""
        self._turn_to(self.comparison.with_openings(openings))

    def add_column(self, run: TunedRun | None, system: str | None) -> None:
        """A run, or the base where `run` is None, under a system message; a run of another base begins anew."""
        comparison = self.comparison if run is None else self._on_base(self.comparison, run.base)
        template = comparison.columns[0].template
        column = run.column(system) if run else BASE.model_copy(update={"system": system, "template": template})
        column = with_unique_name(column, comparison.columns)
        self._refresh(comparison.with_columns((*comparison.columns, column), len(comparison.columns)))

    def remove_column(self) -> None:
        """Takes the column beside the base away."""
        comparison = self.comparison
        if comparison.current:
            columns = (*comparison.columns[: comparison.current], *comparison.columns[comparison.current + 1 :])
            self._base_alone = len(columns) == 1
            self._refresh(comparison.with_columns(columns, min(comparison.current, len(columns) - 1)))

    def pick_column(self, number: int) -> None:
        """Puts a column beside the base."""
        self._update(replace(self.comparison, current=number))

    def next_column(self, by: int) -> None:
        """Puts the next of the columns beside the base, or the one before it (`by` -1)."""
        others = len(self.comparison.columns) - 1
        if others > 1:
            self.pick_column((self.comparison.current - 1 + by) % others + 1)

    # What is looked at

    def next_answer(self) -> None:
        """Goes on to the next of the answers at hand."""
        self._turn_to(self.comparison.with_next_answer())

    def walk(self, by: int) -> None:
        """Walks `by` tokens of the answer in view, as far as there are any."""
        walked = self.comparison.with_position(self.comparison.position + by)
        if walked != self.comparison:
            self._turn_to(walked)

    def pick_token(self, answer: Answer, position: int) -> None:
        """Goes to a token of one of the answers."""
        if answer in self.comparison.answers:
            active = self.comparison.answers.index(answer)
            self._turn_to(replace(self.comparison, active=active).with_position(position))

    def force_prefix(self, text: str) -> None:
        """Looks at the token after an answer that begins with `text`."""
        self._update(self.comparison.with_forced_text(text))
        self._inspect()

    def force_token(self, row: NextTokenRow) -> None:
        """Looks at the token after another token of the forced prefix."""
        self._update(self.comparison.with_taken(row))
        self._inspect()

    def drop_prefix(self) -> None:
        """Back to the answer in view."""
        self._update(self.comparison.without_forced_prefix())
        self._inspect()

    # What columns generate

    def generate(self) -> None:
        """Lets all columns answer; another time where they are sampled."""
        self._failure = None
        self.seed += 1 if self.temperature else 0
        self._ask_generation()

    def go_on_from_prefix(self) -> None:
        """Lets all columns go on from the prefix that was forced."""
        prefix = self.comparison.prefix_text()
        self._update(self.comparison.without_forced_prefix())
        self._failure = None
        self._ask_generation(prefix)

    def next_temperature(self) -> None:
        """Greedy, or sampled at a low or a high temperature; and lets all columns answer so."""
        self.temperature = TEMPERATURES[(TEMPERATURES.index(self.temperature) + 1) % len(TEMPERATURES)]
        self.generate()

    def sample(self) -> None:
        """Lets every column answer many times, and counts how."""
        self._failure = None
        self.seed += 1 if self.comparison.samples else 0
        self._start("generation", "sampling answers", self._sample)

    def cancel_samples(self) -> bool:
        """Gives up the samples that are on their way; False where there are none."""
        if not self.sampled_tokens:
            return False
        self._cancel("generation")
        return True

    # The scorer

    async def scorer(self) -> ScorerClient:
        """The scorer of the base that is compared, with its model loaded. Raises `WorkbenchError`."""
        base = self.base
        client = self._scorer_for(base)
        if not client.running:
            self.loading_since, self.device = time.monotonic(), "loading"
            self._on_change()
        try:
            ready = await client.start()
        except WorkbenchError:
            if base == self.base:
                self._loaded("no model")
            raise
        if base == self.base and (self.loading_since is not None or not self.device):
            self.loaded = base
            self._loaded(f"{ready.device}: {ready.slower_because}" if ready.slower_because else ready.device)
        return client

    def _loaded(self, device: str) -> None:
        self.loading_since, self.device = None, device
        self._on_change()

    def _with_run(self, comparison: Comparison, run: TunedRun) -> Comparison:
        """The run in the second column, the others kept where they have its base."""
        adapters = [column.adapter for column in comparison.columns]
        if run.base == self.base and run.adapter in adapters:
            return comparison.with_columns(comparison.columns, adapters.index(run.adapter))
        comparison = self._on_base(comparison, run.base)
        others = comparison.columns[2:]
        # The base is asked as the run was trained: else the prompts would differ, and not the weights alone.
        base = BASE.model_copy(update={"template": dict(run.template)})
        return comparison.with_columns((base, with_unique_name(run.column(), (base, *others)), *others), 1)

    def _on_base(self, comparison: Comparison, base: Base) -> Comparison:
        """The comparison as it is, or begun anew where it was of another base."""
        if base == self.base:
            return comparison
        self.base, self.device, self.loading_since = base, "", None
        return comparison.without_results().with_columns((BASE,), 0)

    def _update(self, comparison: Comparison) -> None:
        adapter = comparison.aligned.adapter if comparison.aligned else None
        run = next((known for known in self.runs if known.adapter == adapter), None)
        self.comparison = replace(comparison, beta=run.beta if run else comparison.beta)
        self._on_change()

    def _turn_to(self, comparison: Comparison) -> None:
        """Another answer or position of the same comparison: asks for what is to be seen there."""
        self._failure = None
        self._update(comparison)
        self._inspect()
        self._start("scores", "scoring the answers", self._score)

    def _refresh(self, comparison: Comparison) -> None:
        """Another comparison: asks for all that it lacks."""
        self._turn_to(comparison)
        finished = {generation.name for generation in comparison.generations if generation.done}
        missing = any(column.name not in finished for column in comparison.columns)
        if comparison.answer is None or (comparison.generations and missing):
            self._ask_generation()
        else:
            self._cancel("generation")

    # Requests

    def _start(self, kind: _Kind, doing: str, request: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a request in the place of the one of its kind before it."""
        self._cancel(kind)

        async def run() -> None:
            try:
                await request()
            except WorkbenchError as error:
                if self._failure != (error.title, error.message):
                    self._failure = error.title, error.message
                    self._on_failure(error, doing)
            except Exception as error:
                self._on_failure(error, doing)

        self._requests[kind] = asyncio.create_task(run())

    def _cancel(self, kind: _Kind) -> None:
        request = self._requests.pop(kind, None)
        if request is not None and request is not asyncio.current_task():
            request.cancel()

    def _inspect(self) -> None:
        self._start("next token", "asking for the next token", self._ask_next_token)

    def _ask_generation(self, prefix: str = "") -> None:
        self._start("generation", "generating answers", partial(self._generate, prefix))

    async def _ask_next_token(self) -> None:
        """What the columns might say at the position looked at."""
        client, now = await self.scorer(), self.comparison
        prefix, answer = now.forced_prefix, now.answer
        if prefix is not None or answer is None or answer.openings:
            text, taken = (prefix.text, list(prefix.taken)) if prefix else ("", [])
            reply = await client.ask(NextToken(prefix=text, taken=taken, top_k=_TOP_K, **now.question))
            title = "next token"
        else:
            request = DistributionAt(response=answer.response, position=now.position, top_k=_TOP_K, **now.question)
            reply = await client.ask(request)
            title = f"at token {now.position + 1}" if now.position else "next token"
        self._update(self.comparison.with_distribution(reply, title))

    async def _score(self) -> None:
        for answer in self.comparison.unscored():
            client, now = await self.scorer(), self.comparison
            if answer.openings:
                opened = await client.ask(ScoreOpenings(openings=list(answer.openings), **now.question))
                self._update(self.comparison.with_opening_scores(answer.openings, opened))
                continue
            scored = await client.ask(ScoreResponse(response=answer.response, top_k=0, **now.question))
            self._update(self.comparison.with_scores(answer.response, scored))

    async def _generate(self, prefix: str) -> None:
        self._chunks.clear()
        self.sampled_tokens = 0
        try:
            client = await self.scorer()
            self._update(self.comparison.with_generation_started(prefix))
            question, temperature = self.comparison.question, self.temperature
            request = Generate(prefix=prefix, temperature=temperature, seed=self.seed, **question)
            generated = await client.ask(request, self._hear)
        except Exception:
            self._update(replace(self.comparison, generations=()))
            raise
        self._chunks.clear()
        answer = self.comparison.answer
        self._update(self.comparison.with_generated(generated, prefix))
        if self.comparison.answer != answer:
            self._inspect()
        self._start("scores", "scoring the answers", self._score)

    async def _sample(self) -> None:
        if not all(generation.done for generation in self.comparison.generations):
            # It was given up for the samples: half an answer would seem to be still on its way.
            self._chunks.clear()
            self._update(replace(self.comparison, generations=()))
        try:
            client, now = await self.scorer(), self.comparison
            self.sampled_tokens = 1
            known = await asyncio.to_thread(self._find_behaviours, self.base.model)
            request = Generate(
                temperature=self.sample_temperature, seed=self.seed, samples=SAMPLES, likelihood=True, **now.question
            )
            said = (await client.ask(request, self._count)).columns
            answers = [
                SampledAnswer(now.kind, now.asked, each.text, not each.ended, each.tokens, each.likelihood)
                for each in said
            ]
            told = await client.ask(TellBehaviours(answers=answers, known=known))
            self.comparison = self.comparison.with_samples(
                [ToldAnswer(each.name, each.text, shows) for each, shows in zip(said, told.shows, strict=True)]
            )
        finally:
            self.sampled_tokens = 0
            self._on_change()

    def _hear(self, chunk: TextChunk) -> None:
        self._chunks.append(chunk)
        self._gather(self.gather_seconds)

    def _count(self, _: TextChunk) -> None:
        self.sampled_tokens += 1
        self._gather(_GATHER_SAMPLES)

    def _gather(self, seconds: float) -> None:
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(seconds, self._take_gathered)

    def _take_gathered(self) -> None:
        self._gathering = None
        if self._chunks:
            chunks, self._chunks = self._chunks, []
            self._update(self.comparison.with_chunks(chunks))
        elif self.sampled_tokens:
            self._on_change()
