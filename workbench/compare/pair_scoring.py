"""Every pair of a data set scored under the columns of a comparison: what came so far, and in which order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.compare.client import ScorerClient
from workbench.compare.measures import ColumnSummary, pair_margin, summarize
from workbench.compare.messages import Column, PairBatch, PairsScored, ScoredPair, ScorePairs
from workbench.pairs.arrow import Ints
from workbench.pairs.query import Query, parse
from workbench.pairs.rows import Rows
from workbench.pairs.search import Search
from workbench.pairs.store import load_rows

ORDERS = ("margin", "shift", "")
"""By margin and by shift, lowest first; as in the file."""
_SUMMED_EVERY = 3.0
"""Seconds between two summaries of all that came."""


@dataclass(frozen=True, slots=True)
class ScoringProgress:
    """How far the scoring is: `done` of `total` pairs; `end` is the scorer's last word, after `seconds`."""

    stage: Literal["reading", "waiting", "scoring", "done", "cancelled", "failed"] = "reading"
    done: int = 0
    total: int = 0
    end: PairsScored | None = None
    seconds: float = 0.0


class PairScoring:
    """Scores a data set behind whatever else is asked of the scorer; known scores come from the cache.

    `on_change` is called whenever there is something else to show. Cancel the task of `score` to give it up.
    """

    def __init__(
        self,
        scorer: Callable[[], Awaitable[ScorerClient]],
        columns: Sequence[Column],
        current: int,
        *,
        cache: Path,
        on_change: Callable[[], None],
        gather_seconds: float = 0.25,
    ) -> None:
        """`scorer` gives the scorer of the columns' base; `current` is the number of the column looked at."""
        self._scorer, self._cache, self._path = scorer, cache, Path()
        self._on_change, self._gather_seconds = on_change, gather_seconds
        self.columns, self.current = list(columns), current
        self.rows: Rows | None = None
        """The data set, once it is read."""
        self.query = parse("")
        self.matching: Ints | None = None
        """The rows that the query finds, as in the file; None until that is known."""
        self.scores: dict[str, ScoredPair] = {}
        self.summaries: list[ColumnSummary] = []
        self.order_by = ORDERS[0]
        self.progress = ScoringProgress()
        self._margins: npt.NDArray[np.float64] = np.empty((0, 0))
        """(columns, rows of the store), NaN where there is no number: so that any size is sorted at once."""
        self._summarized = 0.0
        self._gathering: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether pairs are being scored, or wait for the model."""
        return self.progress.stage in ("waiting", "scoring")

    async def read(self, path: Path) -> None:
        """Reads a data set in the place of the one before, and narrows it to the query. Raises `WorkbenchError`."""
        self.rows, self.matching, self.scores, self.summaries = None, None, {}, []
        self._say(ScoringProgress())
        self._path, self.rows = path, await asyncio.to_thread(load_rows, path)
        self._margins = np.full((len(self.columns), len(self.rows)), np.nan)
        await self.find(self.query)

    async def score(self) -> None:
        """Scores the data set that was read. Raises `WorkbenchError`."""
        began = time.monotonic()
        progress = ScoringProgress("failed")
        try:
            self._say(ScoringProgress("waiting"))
            client = await self._scorer()
            request = ScorePairs(path=str(self._path), columns=self.columns, cache=str(self._cache))
            end = await client.ask(request, self.take_in)
            progress = ScoringProgress("done", end.total, end.total, end, time.monotonic() - began)
        except asyncio.CancelledError:
            progress = ScoringProgress("cancelled", len(self.scores))
            raise
        finally:
            self._summarized = 0.0
            self._say(progress)

    def take_in(self, batch: PairBatch) -> None:
        """Some pairs more."""
        for scored in batch.rows:
            self.scores[scored.pair] = scored
            row = self.rows.row(scored.pair) if self.rows is not None else None
            if row is not None and not scored.problem:
                self._margins[:, row] = [pair_margin(scored, number) for number in range(len(self.columns))]
        self.progress = ScoringProgress("scoring", batch.done, batch.total)
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(self._gather_seconds, self._take_gathered)

    def _take_gathered(self) -> None:
        self._gathering = None
        if self.running:
            self._on_change()

    def _say(self, progress: ScoringProgress) -> None:
        self.progress = progress
        self._on_change()

    async def find(self, query: Query) -> None:
        """Narrows to what a query finds. A newer data set or a newer query counts more."""
        self.query, rows = query, self.rows
        if rows is not None:
            matching = await asyncio.to_thread(lambda: Search(rows).find(query))
            if (rows, query) == (self.rows, self.query):
                self.matching = matching
                self._on_change()

    @property
    def summary_due(self) -> bool:
        """Whether what came is worth another `summarize`."""
        return bool(self.scores) and time.monotonic() - self._summarized > _SUMMED_EVERY

    async def summarize(self) -> None:
        """Sums up every column over all that was scored."""
        self._summarized = time.monotonic()
        scores, numbers = list(self.scores.values()), range(len(self.columns))
        self.summaries = await asyncio.to_thread(lambda: [summarize(scores, number) for number in numbers])
        self._on_change()

    def ordered(self) -> Ints | None:
        """The rows found, lowest first; pairs without numbers after the others, in the order of the file."""
        if self.matching is None or not self.order_by:
            return self.matching
        values = self._margins[self.current][self.matching]
        if self.order_by == "shift":
            values = values - self._margins[0][self.matching]
        return self.matching[np.argsort(values, kind="stable")]

    def next_order(self) -> None:
        """By margin, by shift, or as in the file."""
        self.set_order(ORDERS[(ORDERS.index(self.order_by) + 1) % len(ORDERS)])

    def set_order(self, order_by: str) -> None:
        """One of the orders; as in the file where it is none of them."""
        self.order_by = order_by if order_by in ORDERS else ""
        self._on_change()

    def next_column(self) -> None:
        """Looks at the pairs under the next of the columns beside the base."""
        if len(self.columns) > 1:
            self.current = self.current % (len(self.columns) - 1) + 1
            self._on_change()
