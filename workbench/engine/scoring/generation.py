"""Samples of several columns side by side, token by token, each reproducible by its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from workbench.compare.messages import Column, Generate, Generated, Generation, Prompt, TextChunk
from workbench.engine.model.inference import Ids, sample, score_batches
from workbench.engine.scoring.scorer import Scorer
from workbench.engine.scoring.token_decoding import TextStream
from workbench.errors import WorkbenchError


def generate_steps(scorer: Scorer, request: Generate) -> Iterator[TextChunk | Generated]:
    """A token of every column in turn: chunks of text as they come, then all samples whole.

    To cancel, ask for no more. Between two chunks the scorer can answer other requests.
    Raises `WorkbenchError` where a column has no adapter, or the prompt leaves no room in the model's context.
    """
    columns = [_ColumnSamples(scorer, request, number) for number in range(len(request.columns))]
    unfinished = [column.chunks() for column in columns]
    while unfinished:
        for chunks in list(unfinished):
            step = next(chunks, None)
            if step is None:
                unfinished.remove(chunks)
            else:
                yield from step
    yield Generated(id=request.id, columns=[sample for column in columns for sample in column.finished()])


class _ColumnSamples:
    """One column's samples, in one batch."""

    def __init__(self, scorer: Scorer, request: Generate, number: int) -> None:
        self._scorer, self._request, self._number = scorer, request, number
        self._column: Column = request.columns[number]
        prompt, prefix = scorer.prefix_ids(request.prompt, request.prefix, request.template, self._column)
        self._prompt_tokens, self._ids = len(prompt), [*prompt, *prefix]
        self._limit = request.max_new_tokens
        if scorer.context is not None:
            self._limit = min(self._limit, scorer.context - len(self._ids))
        if self._limit < 1:
            raise WorkbenchError(
                "No room for a response",
                f"The prompt has {len(self._ids):,} tokens; {scorer.name} reads {scorer.context:,} at most.",
                "Shorten it, or use a model with a longer context.",
            )
        self._streams = [TextStream(scorer.tokenizer, prefix) for _ in range(request.samples)]
        self._tokens: list[list[int]] = [[] for _ in range(request.samples)]
        self._ended = [False] * request.samples

    def chunks(self) -> Iterator[list[TextChunk]]:
        """For every step of the model, the text that it added to the samples; at last, what was held back."""
        request, stops = self._request, self._scorer.stops
        steps = sample(
            self._scorer.model(self._column),
            [self._ids] * request.samples,
            stop=stops,
            max_new_tokens=self._limit,
            temperature=request.temperature,
            seed=[sample_seed(request.seed, number) for number in range(request.samples)],
        )
        while True:
            # Others may have used the model since the last token.
            self._scorer.model(self._column)
            step = next(steps, None)
            if step is None:
                break
            added = []
            for number, token in step:
                self._tokens[number].append(token)
                self._ended[number] = token in stops
                if not self._ended[number]:
                    added += self._chunk(number, self._streams[number].add(token))
            yield added
        yield [chunk for number, stream in enumerate(self._streams) for chunk in self._chunk(number, stream.end())]

    def _chunk(self, number: int, text: str) -> list[TextChunk]:
        return [TextChunk(id=self._request.id, column=self._number, sample=number, text=text)] if text else []

    def finished(self) -> list[Generation]:
        """All samples, once `chunks` has ended."""
        logprobs, under_base = [[None] * len(self._streams)] * 2
        if self._request.likelihood:
            logprobs, under_base = _likelihoods(self._scorer, self._column, [(self._ids, ids) for ids in self._tokens])
        return [
            Generation(
                name=self._column.name,
                sample=number,
                text=stream.text,
                tokens=len(self._tokens[number]),
                ended=self._ended[number],
                filled=not self._ended[number] and self._limit < self._request.max_new_tokens,
                prompt_tokens=self._prompt_tokens,
                logprob=logprobs[number],
                under_base=under_base[number],
            )
            for number, stream in enumerate(self._streams)
        ]


def answers_to(
    scorer: Scorer,
    request: Generate,
    questions: Sequence[tuple[Prompt, Mapping[str, Any]]],
    heard: Callable[[int], None] = lambda _: None,
) -> list[list[Generation]]:
    """The samples that `request` asks of its one column for each of `questions` (a prompt, and arguments of the chat
    template) in the place of its own, all in one batch. `heard` is told of every step how many tokens it brought.

    They are those that `generate_steps` gives for each question alone, but for what a batch does to the last digits.
    Raises `WorkbenchError` as that does.
    """
    (column,) = request.columns
    prompts = [scorer.prefix_ids(prompt, "", template, column)[0] for prompt, template in questions]
    for prompt in prompts:
        scorer.check_room(len(prompt) + 1, "The prompt")
    longest = max(map(len, prompts))
    limit = request.max_new_tokens if scorer.context is None else min(request.max_new_tokens, scorer.context - longest)
    rows = [prompt for prompt in prompts for _ in range(request.samples)]
    seeds = [sample_seed(request.seed, number) for _ in prompts for number in range(request.samples)]
    tokens: list[list[int]] = [[] for _ in rows]
    model = scorer.model(column)
    for step in sample(
        model, rows, stop=scorer.stops, max_new_tokens=limit, temperature=request.temperature, seed=seeds
    ):
        for row, token in step:
            tokens[row].append(token)
        heard(len(step))
    logprobs, under_base = _likelihoods(scorer, column, list(zip(rows, tokens, strict=True)))
    answers = []
    for row, (prompt, ids) in enumerate(zip(rows, tokens, strict=True)):
        ended = ids[-1] in scorer.stops
        text = str(scorer.tokenizer.decode(ids, skip_special_tokens=True))
        answers.append(
            Generation(
                name=column.name,
                sample=row % request.samples,
                text=text,
                tokens=len(ids),
                ended=ended,
                filled=not ended and limit < request.max_new_tokens,
                prompt_tokens=len(prompt),
                logprob=logprobs[row],
                under_base=under_base[row],
            )
        )
    return [answers[first : first + request.samples] for first in range(0, len(rows), request.samples)]


def _likelihoods(scorer: Scorer, column: Column, rows: Sequence[tuple[Ids, Ids]]) -> tuple[list[Any], list[Any]]:
    """The log-probability of every response, in nats, under the column and under the base."""

    def under(column: Column) -> list[float]:
        return [sum(row.tolist()) for row in score_batches(scorer.model(column), rows)]

    found = under(column)
    return found, found if column.adapter is None else under(column.model_copy(update={"adapter": None}))


def sample_seed(seed: int, number: int) -> int:
    """A seed for sample `number`, the same in every column and for any count of samples."""
    digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
    return int.from_bytes(digest[:7])
