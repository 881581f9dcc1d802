"""Columns speaking side by side: their samples token by token, each as random as its seed says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.compare.messages import Column, Generate, Generated, Generation, TextChunk
from workbench.engine.model.inference import sample
from workbench.engine.scoring.token_decoding import TextStream
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.engine.scoring.scorer import Scorer


def speak(scorer: Scorer, request: Generate) -> Iterator[TextChunk | Generated]:
    """A token of every column in turn: pieces of text as they come, then all that was said.

    Raises `WorkbenchError` where a column has no adapter, or the prompt leaves no room in the model's context.
    """
    voices = [_Voice(scorer, request, number) for number in range(len(request.columns))]
    speaking = [voice.pieces() for voice in voices]
    while speaking:
        still = []
        for voice in speaking:
            said = next(voice, None)
            if said is not None:
                still.append(voice)
                yield from said
        speaking = still
    yield Generated(id=request.id, columns=[each for voice in voices for each in voice.whole()])


class _Voice:
    """One column's samples, in one batch."""

    def __init__(self, scorer: Scorer, request: Generate, number: int) -> None:
        self._scorer, self._request, self._number = scorer, request, number
        self._column: Column = request.columns[number]
        prompt, forced = scorer.begun(request.prompt, request.prefix, request.template, self._column)
        self._prompt_tokens, self._ids = len(prompt), [*prompt, *forced]
        self._most = request.max_new_tokens
        if scorer.context is not None:
            self._most = min(self._most, scorer.context - len(self._ids))
        if self._most < 1:
            raise WorkbenchError(
                "No room for a response",
                f"The prompt has {len(self._ids):,} tokens; {scorer.name} reads {scorer.context:,} at most.",
                "Shorten it, or use a model with a longer context.",
            )
        self._streams = [TextStream(scorer.tokenizer, forced) for _ in range(request.samples)]
        self._counts = [0] * request.samples
        self._ended = [False] * request.samples

    def pieces(self) -> Iterator[list[TextChunk]]:
        """For every step of the model, what it added to the samples; at last, what was held back."""
        request, stops = self._request, self._scorer.stops
        steps = sample(
            self._scorer.model(self._column),
            [self._ids] * request.samples,
            stop=stops,
            max_new_tokens=self._most,
            temperature=request.temperature,
            seed=[seed_of(request.seed, number) for number in range(request.samples)],
        )
        while True:
            # Others may have used the model since the last token.
            self._scorer.model(self._column)
            step = next(steps, None)
            if step is None:
                break
            found = []
            for number, token in step:
                self._counts[number] += 1
                self._ended[number] = token in stops
                if not self._ended[number]:
                    found += self._piece(number, self._streams[number].add(token))
            yield found
        yield [piece for number, stream in enumerate(self._streams) for piece in self._piece(number, stream.end())]

    def _piece(self, number: int, text: str) -> list[TextChunk]:
        return [TextChunk(id=self._request.id, column=self._number, sample=number, text=text)] if text else []

    def whole(self) -> list[Generation]:
        """All samples, once they are said."""
        return [
            Generation(
                name=self._column.name,
                sample=number,
                text=stream.text,
                tokens=self._counts[number],
                ended=self._ended[number],
                filled=not self._ended[number] and self._most < self._request.max_new_tokens,
                family=self._scorer.matcher.family(self._request.prefix + stream.text),
                prompt_tokens=self._prompt_tokens,
            )
            for number, stream in enumerate(self._streams)
        ]


def seed_of(seed: int, number: int) -> int:
    """A seed for sample `number`, the same in every column and for any count of samples."""
    digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
    return int.from_bytes(digest[:7])
