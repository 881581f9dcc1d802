"""Scores all pairs of a data set under all columns, a short batch at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from workbench.compare.messages import Column, PairBatch, PairsScored, ResponseScore, ScoredPair, ScorePairs
from workbench.engine.model.inference import batches, score_batches
from workbench.engine.model.loading import revision
from workbench.engine.model.token_ids import encode, tokenizer_digest, with_system
from workbench.engine.scoring.result_cache import CacheKey, key
from workbench.engine.scoring.score_cache import ScoreCache
from workbench.engine.scoring.scorer import Scorer
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Pair, Text, template_arguments, to_row, turn_to_json
from workbench.pairs.rows import Rows
from workbench.pairs.store import load_rows

_WINDOW = 32
"""Pairs that are read, looked up and tokenized at once."""
_MEASURED = 500
"""Pairs whose lengths are looked at in a step."""
_STEP_SECONDS = 0.04
"""What a batch should take: that long a question may have to wait."""
_FIRST_TOKENS, _MOST_TOKENS = 512, 16384
_READING = 0.005

_Sides = dict[tuple[str, str], ResponseScore]
"""Scores by the pair's id and the name of its side."""
_T = TypeVar("_T")


def score_pairs(scorer: Scorer, request: ScorePairs) -> Iterator[PairBatch | PairsScored | None]:
    """Rows as they are scored, and the end; a None after every bit of work that has nothing to tell.

    Raises `WorkbenchError` where the data set cannot be read, or a column has no adapter.
    """
    began = time.monotonic()
    with ThreadPoolExecutor(1) as reader:
        # Large files take a second, in which others may ask.
        reading = reader.submit(load_rows, Path(request.path))
        while not reading.done():
            time.sleep(_READING)
            yield None
        rows = reading.result()
    order = yield from _wanted(rows, request.ids)
    with ScoreCache(Path(request.cache) if request.cache else None) as cache:
        table = _Table(scorer, request, cache)
        done = problems = 0
        for window in _parts(order, _WINDOW):
            scored = yield from table.rows([rows.pair(row) for row in window])
            done += len(scored)
            problems += sum(bool(row.problem) for row in scored)
            yield PairBatch(id=request.id, rows=scored, done=done, total=len(order))
        yield PairsScored(
            id=request.id,
            total=len(order),
            problems=problems,
            cached=table.cached,
            computed=table.computed,
            seconds=time.monotonic() - began,
        )


def _wanted(rows: Rows, ids: Sequence[str] | None) -> Generator[None, None, list[int]]:
    """The rows asked for, shortest line first, returned at the end; a None after every bit of looking."""
    if ids is None:
        asked = rows.trainable.tolist()
    else:
        asked = [row for row in map(rows.row, dict.fromkeys(ids)) if row is not None]
    lengths: list[tuple[int, int]] = []
    for part in _parts(asked, _MEASURED):
        lengths += [(len(rows.line(row)), row) for row in part]
        yield None
    return [row for _, row in sorted(lengths)]


@dataclass(slots=True)
class _Response:
    """A response to score under a column: which one it is, its key, and its ids once they are known."""

    pair: Pair
    side: str
    key: CacheKey
    prompt: Sequence[int] = ()
    ids: Sequence[int] = ()
    cut: bool = False


class _Table:
    """Windows of pairs to rows of scores."""

    def __init__(self, scorer: Scorer, request: ScorePairs, cache: ScoreCache) -> None:
        self._scorer, self._request, self._cache = scorer, request, cache
        self._tokens = _FIRST_TOKENS
        self._common = _request_key(scorer, request.max_length)
        self.cached = self.computed = 0

    def rows(self, pairs: Sequence[Pair]) -> Generator[None, None, list[ScoredPair]]:
        """The rows of `pairs`, returned at the end; a None after every batch."""
        problems: dict[str, str] = {}
        columns: list[_Sides] = []
        for column in self._request.columns:
            scores = yield from self._under(column, [pair for pair in pairs if pair.id not in problems], problems)
            columns.append(scores)
        return [self._row(pair, columns, problems) for pair in pairs]

    def _row(self, pair: Pair, columns: Sequence[_Sides], problems: Mapping[str, str]) -> ScoredPair:
        if pair.id in problems:
            return ScoredPair(pair=pair.id, problem=problems[pair.id])
        chosen, rejected = ([scores[pair.id, side] for scores in columns] for side in ("chosen", "rejected"))
        return ScoredPair(pair=pair.id, chosen=chosen, rejected=rejected)

    def _under(self, column: Column, pairs: Sequence[Pair], problems: dict[str, str]) -> Generator[None, None, _Sides]:
        """The scores of both responses of `pairs`, by pair and side; adds the pairs that have none to `problems`."""
        folder = Path(column.adapter) if column.adapter is not None else None
        self._scorer.model(column)  # where there is no adapter, that is told before anything is looked up
        version = _column_key(self._common, self._scorer.adapters.digest(folder))
        wanted = [
            _Response(pair, side, _response_key(version, pair, side, column))
            for pair in pairs
            for side in ("chosen", "rejected")
        ]
        known = self._cache.get([response.key for response in wanted]) if self._common else {}
        scores = {(asked.pair.id, asked.side): known[asked.key] for asked in wanted if asked.key in known}
        self.cached += len(scores)
        missing = []
        for response in wanted:
            if response.key not in known and response.pair.id not in problems:
                problem = self._encode(response, column)
                if problem:
                    problems[response.pair.id] = problem
                else:
                    missing.append(response)
        yield None
        missing = [response for response in missing if response.pair.id not in problems]
        fresh: dict[CacheKey, ResponseScore] = {}
        while missing:
            encoded = [(response.prompt, response.ids) for response in missing]
            taken = next(batches(encoded, self._tokens))
            batch = [missing[index] for index in taken]
            for response, score in zip(batch, self._scored(batch, column), strict=True):
                fresh[response.key] = scores[response.pair.id, response.side] = score
            left = set(range(len(missing))).difference(taken)
            missing = [missing[index] for index in sorted(left)]
            self.computed += len(batch)
            yield None
        if self._common:
            self._cache.put(fresh)
        return scores

    def _scored(self, batch: Sequence[_Response], column: Column) -> list[ResponseScore]:
        began = time.perf_counter()
        model = self._scorer.model(column)
        token_logprobs = score_batches(model, [(response.prompt, response.ids) for response in batch])
        scores = [
            ResponseScore(sum=logprobs.double().sum().item(), tokens=len(logprobs), cut=response.cut)
            for response, logprobs in zip(batch, token_logprobs, strict=True)
        ]
        pace = (time.perf_counter() - began) / _STEP_SECONDS
        self._tokens = min(max(int(self._tokens / min(max(pace, 0.5), 2.0)), 1), _MOST_TOKENS)
        return scores

    def _encode(self, response: _Response, column: Column) -> str:
        """Fills in the ids, cut as in training; why there are none to score, else nothing."""
        pair, limit = response.pair, self._request.max_length
        text: Text = pair.chosen if response.side == "chosen" else pair.rejected
        try:
            template = {**column.template, **template_arguments(to_row(pair))}
            prompt, ids = encode(self._scorer.tokenizer, pair.prompt, text, column.system, template)
            if limit is not None and len(prompt) >= limit:
                return f"Its prompt alone has {len(prompt):,} tokens, {limit:,} is the limit: training leaves it out."
            room = len(ids) if limit is None else limit - len(prompt)
            response.cut = len(ids) > room
            self._scorer.check_response(prompt, ids[:room])
        except WorkbenchError as error:
            return f"{error.title}: {error.message}"
        response.prompt, response.ids = prompt, ids[:room]
        return ""


def _parts(values: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (values[begin : begin + size] for begin in range(0, len(values), size))


def _request_key(scorer: Scorer, max_length: int | None) -> str:
    """What all scores of a request depend on; "" where the model's version cannot be told: then nothing is kept."""
    weights = revision(scorer.name, scorer.adapters.model)
    if weights == "unknown":
        return ""
    model: Any = scorer.adapters.model
    precision = f"{scorer.quantization} {model.dtype} {model.device.type}"
    return key(weights, precision, tokenizer_digest(scorer.tokenizer), str(max_length)).hex()


def _response_key(version: str, pair: Pair, side: str, column: Column) -> CacheKey:
    """By what is read, not by the pair's name or position: an edit forgets, a copy or a swap does not."""
    row = to_row(pair)
    prompt = with_system(pair.prompt, column.system)
    return key(
        version,
        json.dumps(prompt if isinstance(prompt, str) else list(map(turn_to_json, prompt))),
        json.dumps(row[side]),
        json.dumps({**column.template, **template_arguments(row)}, default=str),
    )


def _column_key(request: str, adapter: str) -> str:
    """What all scores of a column depend on; `adapter` is the adapter's digest."""
    return key(request, adapter).hex()
