"""Reads what base and run make of probes and of held-out pairs: log-probabilities, divergence, samples, tokens."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from workbench.compare.messages import Column, Scored, ScoredColumn, ScoreResponse, Turn
from workbench.compare.token_text import text_spans
from workbench.engine.model.inference import Ids, summed_kl
from workbench.engine.model.token_ids import encode, pair_ids, prompt_ids
from workbench.engine.scoring.scorer import Scorer
from workbench.evidence.cases import TokenPiece, TokenResponse, TokenView, choose
from workbench.evidence.document import Example
from workbench.evidence.measurements import PairReading, ProbeReading, Reading
from workbench.evidence.probes import Probe, by_kind
from workbench.pairs.pair import Pair, Text, from_row, template_arguments
from workbench.pairs.split import group_key

Matcher = Callable[[str], str | None]
"""Tells the family of a response; None where it is of none."""

NEUTRAL = "neutral"
"""The kind of probes on which the divergence from the base is measured."""
MAX_NEW_TOKENS = 128
_WINDOW = 512
"""Responses between two words about how far it is."""
_ALIKE = 32
"""Prompts of fewer tokens are of like length, as are those of up to twice as many, and so on."""
_EXAMPLES = 3
_DECIMALS = 4
"""Of a logarithm: of more, a reader of single tokens learns nothing."""


@dataclass(frozen=True, slots=True)
class Samples:
    """How many samples of each probe, by its id, were of which family, before and after, of how many each."""

    counts: Mapping[str, tuple[Counter[str], Counter[str]]]
    of: Mapping[str, int]
    examples: Sequence[Example]


@dataclass(frozen=True, slots=True)
class BaseAndRun:
    """The base beside one run's adapter. `progress` is told what is done next."""

    scorer: Scorer
    adapter: Path
    progress: Callable[[str], None]

    @property
    def columns(self) -> tuple[tuple[str, Path | None], ...]:
        """Both, each with its name."""
        return ("the base", None), ("the run", self.adapter)

    def read(self, rows: Sequence[tuple[Ids, Ids]], what: str) -> list[Reading]:
        """Log-probabilities of the responses. Raises `WorkbenchError`."""
        sums: list[list[float]] = []
        for name, adapter in self.columns:
            self.progress(f"scoring {len(rows):,} {what} under {name}")
            totals: list[float] = []
            for start in range(0, len(rows), _WINDOW):
                if start:
                    self.progress(f"scoring under {name}: {start:,} of {len(rows):,} {what}")
                window = self.scorer.score_ids(rows[start : start + _WINDOW], adapter)
                totals += [logprobs.double().sum().item() for logprobs in window]
            sums.append(totals)
        return [Reading(before, after, len(response)) for before, after, (_, response) in zip(*sums, rows, strict=True)]

    def divergence(self, rows: Sequence[tuple[Ids, Ids]]) -> list[float]:
        """KL(run ‖ base) summed over every response, in nats."""
        switched = self.scorer.adapters.switched
        return summed_kl(lambda: switched(None), lambda: switched(self.adapter), rows, self.scorer.vocabulary)

    def tokens(self, prompt: Text, response: str, top_k: int = 0) -> Scored:
        """Every token of a response under both, with the likeliest `top_k` there. Raises `WorkbenchError`."""
        turns = prompt if isinstance(prompt, str) else [Turn(role=turn.role, content=turn.content) for turn in prompt]
        columns = [Column(name=name, adapter=str(folder) if folder else None) for name, folder in self.columns]
        return self.scorer.score(ScoreResponse(prompt=turns, response=response, columns=columns, top_k=top_k))


def read_probes(models: BaseAndRun, probes: Sequence[Probe], samples: Samples | None) -> list[ProbeReading]:
    """The log-probability of every response that the probes name, and the divergence on neutral ones."""
    named = [(probe, family) for probe in probes for family in probe.responses]
    tokenizer = models.scorer.tokenizer
    rows = [encode(tokenizer, probe.prompt, probe.responses[family]) for probe, family in named]
    readings = models.read(rows, "responses")
    neutral = [index for index, (probe, _) in enumerate(named) if probe.kind == NEUTRAL]
    divergences = dict(zip(neutral, models.divergence([rows[index] for index in neutral]), strict=True))
    by_family: dict[str, dict[str, Reading]] = {probe.id: {} for probe in probes}
    for index, ((probe, family), reading) in enumerate(zip(named, readings, strict=True)):
        by_family[probe.id][family] = Reading(
            before=reading.before,
            after=reading.after,
            tokens=reading.tokens,
            kl=divergences.get(index),
            sampled=_sampled(samples, probe, family),
        )
    return [
        ProbeReading(
            id=probe.id,
            kind=probe.kind,
            group=probe.group,
            tags=probe.tags,
            prompt=question(probe.prompt),
            responses=by_family[probe.id],
            samples=samples.of.get(probe.id, 0) if samples else 0,
        )
        for probe in probes
    ]


def read_pairs(
    models: BaseAndRun, rows: Iterable[Mapping[str, Any]], max_length: int, most: int, seed: int
) -> list[PairReading]:
    """What was read on the run's held-out rows, cut as in training; of more than `most` as many, drawn by `seed`.

    A pair whose prompt fills the limit is left out, as it is in training.
    """
    held = [row for row in rows if row.get("split") == "holdout"]
    if len(held) > most:
        held = [held[index] for index in sorted(Random(seed).sample(range(len(held)), most))]
    pairs: list[Pair] = []
    encoded: list[tuple[Ids, Ids]] = []
    limit = min(max_length, models.scorer.context or max_length)
    for number, row in enumerate(held, 1):
        pair = from_row(row, where=f"held-out pair {number}")
        ids = pair_ids(models.scorer.tokenizer, pair.prompt, pair.chosen, pair.rejected, template_arguments(row))
        if responses := ids.responses(limit):
            pairs.append(pair)
            encoded += responses
    if not pairs:
        return []
    readings = models.read(encoded, "responses of held-out pairs")
    return [
        PairReading(pair.id, _group(pair), pair.tags, question(pair.prompt), chosen, rejected)
        for pair, chosen, rejected in zip(pairs, readings[::2], readings[1::2], strict=True)
    ]


def sample(models: BaseAndRun, probes: Sequence[Probe], matcher: Matcher, count: int, seed: int) -> Samples:
    """`count` seeded samples of every kind of `probes`, its probes taken in turn, each told by family."""
    kinds = by_kind(probes)
    asked = [probe for of_kind in kinds.values() for probe in itertools.islice(itertools.cycle(of_kind), count)]
    answers = []
    for name, folder in models.columns:
        models.progress(f"sampling {len(asked):,} responses from {name}")
        answers.append(_answers(models.scorer, folder, [probe.prompt for probe in asked], seed))
    counts: dict[str, tuple[Counter[str], Counter[str]]] = {probe.id: (Counter(), Counter()) for probe in asked}
    for column, texts in enumerate(answers):
        for probe, text in zip(asked, texts, strict=True):
            counts[probe.id][column][matcher(text) or ""] += 1
    examples = [
        Example(kind, question(asked[index].prompt), answers[0][index], answers[1][index])
        for number, (kind, of_kind) in enumerate(kinds.items())
        for index in range(number * count, number * count + min(_EXAMPLES, len(of_kind), count))
    ]
    return Samples(counts, Counter(probe.id for probe in asked), examples)


def token_views(models: BaseAndRun, probes: Sequence[Probe], readings: Sequence[ProbeReading]) -> list[TokenView]:
    """The worst and a typical probe of every kind, by `readings`, with every token of their responses.

    Raises `WorkbenchError`.
    """
    models.progress("looking at responses token by token")
    known = {probe.id: probe for probe in probes}
    return [
        TokenView(
            probe=reading.id,
            kind=reading.kind,
            choice=choice,
            prompt=reading.prompt,
            responses=[_token_response(models, known[reading.id], family) for family in reading.responses],
        )
        for reading, choice in choose(readings)
    ]


def question(prompt: Text) -> str:
    """What the response answers, and how much was said before it."""
    if isinstance(prompt, str):
        return prompt
    before = len(prompt) - 1
    return f"({before} turn{'s' if before > 1 else ''} before) {prompt[-1].content}" if before else prompt[-1].content


def _answers(scorer: Scorer, adapter: Path | None, prompts: Sequence[Text], seed: int) -> list[str]:
    """One seeded sample a prompt. Prompts of like length go together: each would be padded to the longest."""
    parts: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        parts.setdefault((len(prompt_ids(scorer.tokenizer, prompt)) // _ALIKE).bit_length(), []).append(index)
    answers = [""] * len(prompts)
    for number, indices in sorted(parts.items()):
        some = [prompts[index] for index in indices]
        texts = scorer.sample_many(some, adapter, max_new_tokens=MAX_NEW_TOKENS, temperature=1.0, seed=seed + number)
        for index, text in zip(indices, texts, strict=True):
            answers[index] = text
    return answers


def _sampled(samples: Samples | None, probe: Probe, family: str) -> tuple[int, int] | None:
    if samples is None or probe.id not in samples.counts:
        return None
    before, after = samples.counts[probe.id]
    return before[family], after[family]


def _group(pair: Pair) -> str:
    """What the pair shares with those like it: its column `group`, where it has one, else its prompt."""
    named = pair.extra.get("group")
    return named if isinstance(named, str) and named else group_key(pair.prompt)


def _token_response(models: BaseAndRun, probe: Probe, family: str) -> TokenResponse:
    base, run = models.tokens(probe.prompt, probe.responses[family], top_k=1).columns
    return TokenResponse(family, round(base.sum, _DECIMALS), round(run.sum, _DECIMALS), _token_pieces(base, run))


def _token_pieces(base: ScoredColumn, run: ScoredColumn) -> list[TokenPiece]:
    """The tokens, those that only together are a character as one."""
    merged = []
    for piece in text_spans(run.tokens):
        inside, first = slice(piece.first, piece.last + 1), run.tokens[piece.first]
        merged.append(
            TokenPiece(
                text=piece.text,
                before=round(sum(token.logprob for token in base.tokens[inside]), _DECIMALS),
                after=round(sum(token.logprob for token in run.tokens[inside]), _DECIMALS),
                ranks=(base.tokens[piece.first].rank, first.rank),
                likeliest=first.top[0][0],
                special=first.special,
            )
        )
    return merged
