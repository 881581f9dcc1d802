"""Drafting at work: a pair's answers and how they are ranked, and the model that is asked for more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from workbench.behaviours.reading import KnownBehaviours
from workbench.compare.client import ScorerClient
from workbench.compare.messages import Generate, Generated, TellBehaviours, TextChunk
from workbench.compare.ranking import DRAFT_TOKENS, DRAFTS, Ranking, question_of
from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import Drafter
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.pair import Pair
from workbench.text import one_line

TEMPERATURES = (1.0, 0.7, 0.0)


class DraftSession:
    """Owns one `Ranking` and asks the scorer for drafts. Use it within one event loop.

    `on_change` is called whenever there is something else to show.
    """

    def __init__(
        self,
        pair: Pair,
        drafters: Sequence[Drafter],
        scorer_for: Callable[[Base], ScorerClient],
        find_behaviours: Callable[[str], KnownBehaviours],
        *,
        on_change: Callable[[], None],
        gather_seconds: float = 0.05,
    ) -> None:
        """`drafters` are those to choose from, the first to begin with; `find_behaviours`, of a model, is called in a
        thread; for `gather_seconds` text is gathered before it is a change.

        Raises `WorkbenchError` where the pair has no prompt.
        """
        self._prompt, self._template = question_of(pair)
        self._scorer_for, self._on_change, self._gather_seconds = scorer_for, on_change, gather_seconds
        self._find_behaviours = find_behaviours
        self.ranking = self._begun = Ranking.of(pair)
        self.drafters, self.drafter = drafters, drafters[0]
        self.temperature = TEMPERATURES[0]
        self.waiting = False
        """Whether drafts are on their way."""
        self.loading_since: float | None = None
        """When the scorer was started whose model is not loaded yet (`time.monotonic`)."""
        self.coming: list[str] = []
        """What has come so far of the drafts on their way."""
        self.tokens = 0
        """Tokens of theirs."""
        self.came = ""
        """What came of the latest request, in words."""
        self._seed = 0
        self._asked = 0
        """Number of the request whose answers count; those before it were given up."""
        self._gathering: asyncio.TimerHandle | None = None

    @property
    def touched(self) -> bool:
        """Whether somebody ranked anything."""
        return self.ranking.order != self._begun.order

    def rank(self, number: int, rank: int | None = None) -> None:
        """Puts an answer at a rank from 1; without one, below the others, or no longer among them."""
        self._change(self.ranking.toggled(number) if rank is None else self.ranking.ranked(number, rank))

    def switch_making(self) -> None:
        """One pair of the best and the worst, or one for each of the others."""
        self._change(replace(self.ranking, making="each" if self.ranking.making == "one" else "one"))

    def want(self, behaviour: str) -> None:
        """The best draft has to show a behaviour; empty for any."""
        self._change(replace(self.ranking, wanted=behaviour))

    @property
    def behaviours(self) -> list[str]:
        """The behaviours that any of the answers shows."""
        return sorted({name for candidate in self.ranking.candidates for name in candidate.shows or ()})

    def showing(self, behaviour: str) -> int:
        """How many of the answers show it."""
        return sum(behaviour in (candidate.shows or ()) for candidate in self.ranking.candidates)

    def _change(self, ranking: Ranking) -> None:
        self.ranking = ranking
        self._on_change()

    def next_temperature(self) -> None:
        """The next drafts are asked for at another temperature."""
        self.temperature = TEMPERATURES[(TEMPERATURES.index(self.temperature) + 1) % len(TEMPERATURES)]

    async def draft(self) -> None:
        """Has the drafter answer; a newer call makes this one's answers count no more. Cancelled, it asks no more.

        Raises `WorkbenchError`.
        """
        self._asked += 1
        number = self._asked
        self.coming = [""] * (DRAFTS if self.temperature else 1)
        self.tokens, self.waiting, self.came = 0, True, ""
        self._on_change()
        came = "cancelled"
        try:
            came = await self._ask()
        except WorkbenchError as error:
            came = f"no drafts: {one_line(error.title)}"
            raise
        finally:
            if number == self._asked:
                self.coming, self.waiting, self.loading_since, self.came = [], False, None, came
                self._on_change()

    async def _ask(self) -> str:
        """Takes the drafts in, with the behaviours that they show; what came, in words."""
        drafter = self.drafter
        request = Generate(
            prompt=self._prompt,
            columns=[drafter.column],
            max_new_tokens=DRAFT_TOKENS,
            temperature=self.temperature,
            seed=self._seed,
            samples=len(self.coming),
            likelihood=True,
            template=self._template,
        )
        client = self._scorer_for(drafter.base)
        known = await asyncio.to_thread(self._find_behaviours, drafter.base.model)
        if not client.running:
            self.loading_since = time.monotonic()
            self._on_change()
        await client.start()
        self.loading_since = None
        reply = await client.ask(request, self._hear)
        answers = self.ranking.with_drafts(reply.columns).untold
        told = await client.ask(TellBehaviours(answers=answers, known=known))
        return self._with_drafts(reply, told.shows)

    def _with_drafts(self, reply: Generated, shows: Sequence[tuple[str, ...]]) -> str:
        before = len(self.ranking.candidates)
        self.ranking = self.ranking.with_drafts(reply.columns).told(shows)
        self._seed += 1
        came, new = len(reply.columns), len(self.ranking.candidates) - before
        cut = sum(not generation.ended for generation in reply.columns)
        limit = f"; ▲ {cut} cut at a limit" if cut else ""
        return f"{plural(came, 'draft')}, {new} new{limit}"

    def _hear(self, chunk: TextChunk) -> None:
        self.tokens += 1
        self.coming[chunk.sample] += chunk.text
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(self._gather_seconds, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        if self.coming:
            self._on_change()
