"""Talks to a warm scorer process: starts it, keeps many requests apart, and tells when it died."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from workbench.compare.messages import (
    Column,
    Distribution,
    DistributionAt,
    Generate,
    Generated,
    NextToken,
    PairBatch,
    PairsScored,
    Prompt,
    Ready,
    Response,
    Scored,
    ScorePairs,
    ScoreResponse,
    TextChunk,
)
from workbench.compare.scorer_process import ScorerProcess, ScorerRequest, StreamedReply
from workbench.errors import WorkbenchError

_Expected = TypeVar("_Expected", Distribution, Scored, Generated, PairsScored)
_Part = TypeVar("_Part", TextChunk, PairBatch)


class ScorerClient:
    """One scorer process for one base model, shared by all that ask.

    A request on a scorer that is not running starts it. Cancelling the task that waits for an answer gives the
    request up in the scorer as well. Use from one event loop; `close` when done, or use `async with`.
    """

    def __init__(self, model: str, quantization: str = "nf4", *, command: Sequence[str] | None = None) -> None:
        self.model = model
        self.quantization = quantization
        self._command = list(command) if command else [
            sys.executable, "-P", "-m", "workbench.engine.score", "--model", model, "--quantization", quantization,
        ]  # fmt: skip
        self._ids = itertools.count(1)
        self._current: ScorerProcess | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> ScorerClient:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def running(self) -> bool:
        """Whether a scorer process is there (it may still be loading the model)."""
        return self._current is not None and self._current.running

    async def start(self) -> Ready:
        """Starts the scorer where none runs, and waits until its model is loaded.

        Raises `WorkbenchError` where the model cannot be loaded.
        """
        return await asyncio.shield((await self._running()).ready)

    async def next_token(
        self,
        prompt: Prompt,
        columns: Sequence[Column],
        *,
        prefix: str = "",
        taken: Sequence[int] = (),
        top_k: int = 12,
        template: Mapping[str, Any] | None = None,
    ) -> Distribution:
        """The distribution of the token after `prompt`, `prefix` and the tokens `taken`. Raises `WorkbenchError`."""
        request = NextToken(
            id=next(self._ids),
            prompt=prompt,
            prefix=prefix,
            taken=list(taken),
            columns=list(columns),
            top_k=top_k,
            template=dict(template or {}),
        )
        return await self._ask(request, Distribution)

    async def score(
        self,
        prompt: Prompt,
        response: Response,
        columns: Sequence[Column],
        *,
        top_k: int = 5,
        template: Mapping[str, Any] | None = None,
    ) -> Scored:
        """Log-probabilities and ranks of the tokens of `response`. Raises `WorkbenchError`."""
        request = ScoreResponse(
            id=next(self._ids),
            prompt=prompt,
            response=response,
            columns=list(columns),
            top_k=top_k,
            template=dict(template or {}),
        )
        return await self._ask(request, Scored)

    async def distribution_at(
        self,
        prompt: Prompt,
        response: Response,
        columns: Sequence[Column],
        position: int,
        *,
        top_k: int = 12,
        template: Mapping[str, Any] | None = None,
    ) -> Distribution:
        """Every column's distribution at token number `position` of a response. Raises `WorkbenchError`."""
        request = DistributionAt(
            id=next(self._ids),
            prompt=prompt,
            response=response,
            position=position,
            columns=list(columns),
            top_k=top_k,
            template=dict(template or {}),
        )
        return await self._ask(request, Distribution)

    async def generate(
        self,
        prompt: Prompt,
        columns: Sequence[Column],
        *,
        prefix: str = "",
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
        samples: int = 1,
        template: Mapping[str, Any] | None = None,
        on_chunk: Callable[[TextChunk], None] | None = None,
    ) -> Generated:
        """Responses from every column; `on_chunk` is called with each chunk of text as it comes.

        Raises `WorkbenchError`.
        """
        request = Generate(
            id=next(self._ids),
            prompt=prompt,
            prefix=prefix,
            columns=list(columns),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            samples=samples,
            template=dict(template or {}),
        )
        return await self._ask(request, Generated, _only(TextChunk, on_chunk))

    async def score_pairs(
        self,
        path: Path,
        columns: Sequence[Column],
        *,
        ids: Sequence[str] | None = None,
        max_length: int | None = None,
        cache: Path | None = None,
        on_rows: Callable[[PairBatch], None] | None = None,
    ) -> PairsScored:
        """Scores the pairs of a data set behind all other requests; `on_rows` is called with rows as they come.

        `path` is the data set's file, `cache` that of `Workspace.scores`; see `ScorePairs`. Raises `WorkbenchError`.
        """
        request = ScorePairs(
            id=next(self._ids),
            path=str(path.resolve()),
            columns=list(columns),
            ids=None if ids is None else list(ids),
            max_length=max_length,
            cache=str(cache.resolve()) if cache is not None else None,
        )
        return await self._ask(request, PairsScored, _only(PairBatch, on_rows))

    async def close(self) -> None:
        """Ends the scorer; requests that wait are answered with a `WorkbenchError`."""
        current, self._current = self._current, None
        if current is not None:
            await current.close()

    async def _ask(
        self, request: ScorerRequest, expected: type[_Expected], on_part: Callable[[StreamedReply], None] | None = None
    ) -> _Expected:
        answer = await (await self._running()).ask(request, on_part)
        if not isinstance(answer, expected):
            raise WorkbenchError(
                "The scorer answered another question",
                f"Asked for {expected.__name__}, it sent {type(answer).__name__}.",
                "Start the workbench anew; if this comes back, report it as a bug.",
            )
        return answer

    async def _running(self) -> ScorerProcess:
        async with self._starting:
            if self._current is None or not self._current.running:
                self._current = await ScorerProcess.start(self._command)
            return self._current


def _only(kind: type[_Part], on_part: Callable[[_Part], None] | None) -> Callable[[StreamedReply], None] | None:
    """`on_part`, called with replies of one kind only."""
    if on_part is None:
        return None
    return lambda part: on_part(part) if isinstance(part, kind) else None
