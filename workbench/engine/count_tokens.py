"""Counts the tokens of pairs, in a process that `pairs.checks.tokens` starts.

What is counted are the ids that training and scoring use. Only the tokenizer is loaded, not the weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from types import SimpleNamespace
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from workbench.child import Parent, serve
from workbench.engine.model.downloads import embedding_rows, from_pretrained, load_tokenizer
from workbench.engine.model.left_out import left_out, uses_fallback
from workbench.engine.model.rendering import rendered_ids
from workbench.engine.model.token_ids import (
    common_length,
    encode,
    outside,
    pair_ids,
    pair_texts,
    stop_token_ids,
    trains_raw,
)
from workbench.errors import WorkbenchError
from workbench.models import resolve
from workbench.pairs.checks.tokens import PairTokens
from workbench.pairs.pair import Message, from_row, template_arguments
from workbench.trust import UNTRUSTED, Trust

_CHUNK = 200
"""Pairs counted between two words to the parent."""
_PROBE = ((Message("user", "x"),), (Message("assistant", "x"),))


def count(request: Mapping[str, Any], parent: Parent) -> None:
    """Counts the rows in the open file `rows` with the tokenizer of `model`; parts are lists of counts."""
    trust = Trust(**request["trust"])
    counter = TokenCounter.of(request["model"], request["chat_template"], request["template"], trust)
    with os.fdopen(request["rows"], "rb") as rows:
        numbered = enumerate(rows, 1)
        while chunk := list(islice(numbered, _CHUNK)):
            parent.part([counter.measure(json.loads(line), where=f"line {number}") for number, line in chunk])


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """A tokenizer, the tokens at which its model stops, and whether its chat template ends a response by itself.

    `vocabulary`: for how many ids the model has an embedding, where that is known. `template`: what a run gives to the
    chat template, beside what pairs do.
    """

    tokenizer: PreTrainedTokenizerBase
    stops: frozenset[int]
    closes: bool
    vocabulary: int | None = None
    template: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: str,
        chat_template: str = "",
        template: Mapping[str, Any] | None = None,
        trust: Trust = UNTRUSTED,
    ) -> TokenCounter:
        """What `model` measures with, in a chat template (its own where that is empty) that is given `template`.
        Raises `WorkbenchError` where there is no such model."""
        tokenizer = load_tokenizer(model, chat_template, trust)
        try:
            declared = from_pretrained(GenerationConfig, resolve(model))
        except (OSError, ValueError):
            declared = None
        stops = stop_token_ids(tokenizer, SimpleNamespace(generation_config=declared))
        return cls.with_stops(tokenizer, stops, embedding_rows(model, trust), template)

    @classmethod
    def with_stops(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        stops: frozenset[int],
        vocabulary: int | None = None,
        template: Mapping[str, Any] | None = None,
    ) -> TokenCounter:
        """What a tokenizer measures with, for a model that stops at `stops`."""
        prompt, response = _PROBE
        rendered = rendered_ids(tokenizer, (*prompt, *response), {})
        # Where the template leaves a response open, `encode` adds the end-of-sequence token.
        closes = len(rendered) == sum(map(len, encode(tokenizer, prompt, response)))
        return cls(tokenizer, stops, closes, vocabulary, template or {})

    def measure(self, row: dict[str, Any], *, where: str) -> dict[str, Any]:
        """The id of one row, and its `PairTokens`."""
        pair = from_row(row, where=where)
        try:
            template = {**self.template, **template_arguments(row)}
            responses = (pair.chosen, pair.rejected)
            texts = pair_texts(self.tokenizer, pair.prompt, responses, template)
            ids = pair_ids(self.tokenizer, pair.prompt, *responses, template, texts)
            lost = left_out(self.tokenizer, pair.prompt, responses, template, texts[1:] if texts else None)
        except WorkbenchError as error:
            return {"id": pair.id, **asdict(PairTokens(0, 0, 0, 0, stops=True, refused=error.message))}
        open_ended = pair.conversational and not self.closes
        stops = not open_ended and self._ends(ids.chosen) and self._ends(ids.rejected)
        shared = common_length(ids.chosen, ids.rejected)
        raw = trains_raw(self.tokenizer, pair.prompt)
        counts = PairTokens(
            len(ids.prompt),
            len(ids.chosen),
            len(ids.rejected),
            shared,
            stops,
            raw,
            left_out=lost,
            outside=outside(self.tokenizer, ids, self.vocabulary),
            fallback=pair.conversational and uses_fallback(self.tokenizer),
        )
        return {"id": pair.id, **asdict(counts)}

    def _ends(self, ids: Sequence[int]) -> bool:
        """Whether a response ends in a stop token, white space aside."""
        for token in reversed(ids):
            if token in self.stops:
                return True
            if str(self.tokenizer.decode([token])).strip():
                return False
        return False


if __name__ == "__main__":
    serve(count)
