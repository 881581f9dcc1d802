"""Base beside aligned: one copy of the weights, any number of adapters, and what they say of prompts and responses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from workbench.compare.messages import (
    Column,
    Distribution,
    DistributionAt,
    NextToken,
    OpeningColumn,
    OpeningsScored,
    Prompt,
    Response,
    Scored,
    ScoreOpenings,
    ScoreResponse,
)
from workbench.config import Quantization
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.inference import (
    Ids,
    next_logits,
    opening_logprobs,
    response_logits,
    sample,
    score_batches,
)
from workbench.engine.model.loading import load_base
from workbench.engine.model.token_ids import PairIds, continued, encode, outside, prompt_ids, stop_token_ids
from workbench.engine.scoring.loaded_adapters import Adapters, version
from workbench.engine.scoring.logit_scoring import LogitCache, Logits, distribution, score_columns
from workbench.engine.scoring.token_decoding import TokenText
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Text
from workbench.trust import UNTRUSTED, Trust

_SAMPLED_TOKENS = 65536
"""Prompts and samples in one batch: 8 GiB of keys and values for a model of 8 billion parameters."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled answer: ids of its prompt and of its tokens, with the stop token where there is one. `cut`: without."""

    prompt: Ids
    ids: Ids
    text: str
    cut: bool


class Scorer:
    """Answers requests about one base model and the adapters trained on it.

    The base is loaded once; an adapter is attached when it is first asked for, and again when its file has changed.
    Not for use from several threads at once.
    """

    def __init__(
        self,
        model: str,
        quantization: Quantization = "nf4",
        device: str | None = None,
        *,
        template: Mapping[str, Any] | None = None,
        chat_template: str = "",
        trust: Trust = UNTRUSTED,
    ) -> None:
        """Loads the base. `template`: what the chat template is given in all requests, which may say otherwise.
        `chat_template` takes the place of the model's own; `trust`: what the model's files may do.

        Raises `WorkbenchError` where that fails.
        """
        self.name, self.quantization, self.template = model, quantization, dict(template or {})
        self.tokenizer = load_tokenizer(model, chat_template, trust)
        base = load_base(model, quantization, device=device, trust=trust)
        self.adapters = Adapters(base)
        self.stops = stop_token_ids(self.tokenizer, base)
        self.text = TokenText(self.tokenizer)
        self.parameters = int(base.num_parameters())
        """Of the base, adapters not counted."""
        config = base.config.get_text_config()
        self.vocabulary = int(config.vocab_size)
        """Width of the logits."""
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        """The most tokens of prompt and response together; None where the model does not say."""
        self._logit_cache = LogitCache()

    @property
    def device(self) -> str:
        """Where the model is: cpu, cuda:0."""
        return str(self.adapters.model.device)

    def forget_logits(self) -> None:
        """Lets go of the logits kept from earlier requests."""
        self._logit_cache = LogitCache()

    def model(self, column: Column) -> Any:
        """The model as `column` has it. Raises `WorkbenchError` where its adapter cannot be had."""
        return self.adapters.switched(_folder(column))

    def next_token(self, request: NextToken) -> Distribution:
        """The tokens likeliest to come next in any column. Raises `WorkbenchError`."""
        logits, prompts = [], []
        forced: list[int] = []
        for column in request.columns:
            prompt, begun = self.prefix_ids(request.prompt, request.prefix, request.template, column)
            forced = [*begun, *self._known(request.taken)]
            self.check_room(len(prompt) + len(forced), "The prompt")
            prompts.append(len(prompt))
            logits.append(next_logits(self.model(column), [*prompt, *forced]))
        return distribution(request, logits, self.text, prompts, forced)

    def score(self, request: ScoreResponse) -> Scored:
        """Every token of the response, the stop token included, under every column. Raises `WorkbenchError`."""
        *_, whole = self.score_steps(request)
        assert whole is not None
        return whole

    def score_steps(self, request: ScoreResponse) -> Iterator[Scored | None]:
        """The same column by column, with a None after each, so that it can be given up in between."""
        columns = []
        for column in request.columns:
            columns.append(self._logits(request, column))
            yield None
        yield Scored.model_construct(id=request.id, columns=score_columns(columns, self.text, request.top_k))

    def distribution_at(self, request: DistributionAt) -> Distribution:
        """Every column's distribution at a position of a response. Raises `WorkbenchError`."""
        columns = [self._logits(request, column) for column in request.columns]
        before = [column.tokens[: request.position + 1] for column in columns]
        count = min(len(column.tokens) for column in columns)
        if request.position >= count:
            raise WorkbenchError("No such token", f"The last token of the response is number {count - 1}, from 0.")
        if len(set(before)) > 1:
            raise WorkbenchError(
                "The columns split the response differently",
                "A system message before a plain text prompt changed the tokens at the seam.",
                "Use a prompt with roles, or remove the column with the system message.",
            )
        *forced, said = before[0]
        logits = [column.values[request.position] for column in columns]
        return distribution(request, logits, self.text, [column.prompt_tokens for column in columns], forced, said)

    def openings(self, request: ScoreOpenings) -> OpeningsScored:
        """The probability of answers that begin in one of several ways. Raises `WorkbenchError`."""
        columns = []
        for column in request.columns:
            pieces = [self.prefix_ids(request.prompt, text, request.template, column) for text in request.openings]
            prompt, openings = pieces[0][0], [tuple(forced) for _, forced in pieces]
            if not prompt or not all(openings):
                raise _nothing_before() if not prompt else WorkbenchError("An opening is empty", "", "Give some words.")
            self.check_room(len(prompt) + max(map(len, openings)), "Prompt and opening together")
            sums = opening_logprobs(self.model(column), prompt, openings)
            mass = log_mass(sums, openings)
            columns.append(OpeningColumn(name=column.name, mass=mass, probability=math.exp(mass), sums=sums))
        return OpeningsScored(id=request.id, columns=columns)

    def score_ids(self, rows: Sequence[tuple[Ids, Ids]], adapter: Path | None = None) -> list[Tensor]:
        """Log-probabilities, (tokens,) each, of every (prompt, response), batched. Raises `WorkbenchError`."""
        for prompt, response in rows:
            self.check_response(prompt, response)
        return score_batches(self.adapters.switched(adapter), rows)

    def sample_many(
        self,
        prompts: Sequence[Text],
        adapter: Path | None = None,
        *,
        max_new_tokens: int = 128,
        temperature: float = 1.0,
        seed: int = 0,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Sample]:
        """One seeded sample a prompt, batched. `progress` is told the tokens so far. Raises `WorkbenchError`."""
        rows = [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        sampled = self.sample_ids(
            rows, adapter, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, progress=progress
        )
        return [self.as_sample(*each) for each in zip(rows, sampled, strict=True)]

    def sample_ids(
        self,
        rows: Sequence[Ids],
        adapter: Path | None,
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        progress: Callable[[int], None],
    ) -> list[Ids]:
        """The tokens of one seeded sample a prompt of `rows`, otherwise as `sample_many`."""
        model = self.adapters.switched(adapter)
        tokens: list[list[int]] = [[] for _ in rows]
        width = max(map(len, rows), default=0) + max_new_tokens
        size = max(1, _SAMPLED_TOKENS // width)
        done = 0
        for start in range(0, len(rows), size):
            for step in sample(
                model,
                rows[start : start + size],
                stop=self.stops,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                seed=seed + start,
            ):
                for index, token in step:
                    tokens[start + index].append(token)
                done += len(step)
                progress(done)
        return [*tokens]

    def as_sample(self, prompt: Ids, ids: Ids) -> Sample:
        """The answer that `ids` are."""
        return Sample(prompt, ids, str(self.tokenizer.decode(ids, skip_special_tokens=True)), ids[-1] not in self.stops)

    def prefix_ids(
        self, prompt: Prompt, prefix: str, template: Mapping[str, Any], column: Column
    ) -> tuple[list[int], list[int]]:
        """The ids of the prompt as `column` has it, and of an unfinished response to it. Raises `WorkbenchError`."""
        given = self._given(column, template)
        ids, forced = continued(self.tokenizer, as_text(prompt), prefix, column.system, given)
        if not ids and not forced:
            raise _nothing_before()
        self._check_tokens(ids, forced)
        return ids, forced

    def check_room(self, tokens: int, what: str) -> None:
        """Raises `WorkbenchError` where `tokens` are more than the model's context: numbers would mean nothing."""
        if self.context is not None and tokens > self.context:
            raise WorkbenchError(
                "Longer than the model's context",
                f"{what} has {tokens:,} tokens; {self.name} reads {self.context:,} at most.",
                "Shorten it, or use a model with a longer context.",
            )

    def check_response(self, prompt: Sequence[int], response: Sequence[int]) -> None:
        """Raises `WorkbenchError` where the response cannot be scored after the prompt."""
        if not prompt:
            raise _nothing_before()
        if not response:
            raise WorkbenchError(
                "Nothing of the response is left",
                f"In the chat template of {self.name}, the conversation ends where the response should begin.",
                "Correct the template in the model's folder (chat_template.jinja), or use another model.",
            )
        self._check_tokens(prompt, response)
        self.check_room(len(prompt) + len(response), "Prompt and response together")

    def _logits(self, request: ScoreResponse | DistributionAt, column: Column) -> Logits:
        """The response as `column` reads it, kept from before where it was read."""
        folder = _folder(column)
        asked = request.model_dump_json(include={"prompt", "response", "template"})
        template = self._given(column, request.template)
        key: Hashable = (asked, folder, version(folder), column.system, json.dumps(template, default=str))
        known = self._logit_cache.get(key)
        if known is None:
            prompt, response = encode(
                self.tokenizer, as_text(request.prompt), as_text(request.response), column.system, template
            )
            self.check_response(prompt, response)
            values = response_logits(self.model(column), prompt, response)
            known = Logits(column.name, len(prompt), tuple(response), values)
            self._logit_cache.put(key, known)
        return Logits(column.name, known.prompt_tokens, known.tokens, known.values)

    def _given(self, column: Column, template: Mapping[str, Any]) -> dict[str, Any]:
        """What the chat template is given: by the request, else by the column, else by the scorer."""
        return {**self.template, **column.template, **template}

    def _check_tokens(self, prompt: Sequence[int], response: Sequence[int]) -> None:
        """Raises `WorkbenchError` where the model has no embedding for a token that its tokenizer makes."""
        if max(max(prompt, default=0), max(response, default=0)) >= self.vocabulary:
            beyond = outside(self.tokenizer, PairIds([*prompt], [*response], []), self.vocabulary)
            raise WorkbenchError(
                "The model has no embedding for a token",
                f"{', '.join(beyond)}; the model has {self.vocabulary:,} embeddings, 0 to {self.vocabulary - 1:,}.",
                "Its tokenizer has more tokens than the model: take the added ones out, or resize the embedding.",
            )

    def _known(self, tokens: Sequence[int]) -> list[int]:
        for token in tokens:
            if not 0 <= token < self.vocabulary:
                raise WorkbenchError("No such token", f"The model has no token {token}.")
        return list(tokens)


def log_mass(sums: Sequence[float], openings: Sequence[tuple[int, ...]]) -> float:
    """The log-probability, in nats, of an answer that begins with any of `openings`, whose `sums` are given.

    Of openings that begin alike the shortest counts: the others are part of it.
    """
    distinct = {
        opening: total
        for opening, total in zip(openings, sums, strict=True)
        if not any(opening != other and opening[: len(other)] == other for other in openings)
    }
    likeliest = max(distinct.values())
    return likeliest + math.log(math.fsum(math.exp(total - likeliest) for total in distinct.values()))


def as_text(text: Prompt | Response) -> Text:
    """A prompt or a response as pairs have it."""
    return text if isinstance(text, str) else tuple(turn.message() for turn in text)


def _folder(column: Column) -> Path | None:
    return Path(column.adapter) if column.adapter is not None else None


def _nothing_before() -> WorkbenchError:
    return WorkbenchError(
        "Nothing comes before the response",
        "The model tells the probability of a token after another one, and here there is none before the first.",
        "Give a prompt.",
    )
