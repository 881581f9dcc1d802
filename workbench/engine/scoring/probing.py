"""Reads what base and run make of probes and of held-out pairs: log-probabilities, divergence, samples, tokens."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from torch import Tensor

from workbench.behaviours.behaviour import Answer
from workbench.compare.messages import ScoredColumn
from workbench.compare.token_text import text_spans
from workbench.engine.model.inference import Ids
from workbench.engine.model.token_ids import continued, encode, pair_ids
from workbench.engine.scoring.asked_model import AskedModel, total
from workbench.engine.scoring.classifying import shown_behaviours
from workbench.engine.scoring.scorer import Sample, Scorer, log_mass
from workbench.evidence.cases import Example, Signs, TokenPiece, TokenResponse, TokenView, choose
from workbench.evidence.claims import Claim
from workbench.evidence.measurements import BEGINNING, BEGINNINGS, OWN, PairReading, ProbeReading, Reading
from workbench.evidence.probes import Probe, openings_of
from workbench.evidence.settings import Plan
from workbench.pairs.pair import Pair, Text, from_row, template_arguments
from workbench.pairs.split import group_key

NEUTRAL = "neutral"
"""The kind of probes on which the divergence from the base is measured."""
_DECIMALS = 4
"""Of a logarithm: of more, a reader of single tokens learns nothing."""


@dataclass(frozen=True, slots=True)
class ProbeSamples:
    """The answers to one probe: what base and run said, with the same seeds, and the behaviours that each shows.

    `own`: the base's answers, scored under both, and `begun` the first tokens of each.
    """

    before: Sequence[Sample]
    after: Sequence[Sample]
    before_shows: Sequence[tuple[str, ...]]
    after_shows: Sequence[tuple[str, ...]]
    own: Reading
    begun: Reading


def read_probes(
    models: AskedModel,
    probes: Sequence[Probe],
    samples: Mapping[str, ProbeSamples],
    plan: Plan,
) -> list[ProbeReading]:
    """What was read on every probe: its named responses, its openings, its samples, the divergence on neutral ones.

    `samples`: by the probe's id. Raises `WorkbenchError`.
    """
    named, rows = named_responses(models.scorer, probes)
    readings = _both(models, rows, "responses") if rows else []
    responses: dict[str, dict[str, Reading]] = {probe.id: {} for probe in probes}
    for (probe, behaviour), reading in zip(named, readings, strict=True):
        responses[probe.id][behaviour] = reading
    for identity, sampled in samples.items():
        responses[identity] |= {OWN: sampled.own, BEGINNINGS: sampled.begun}
    neutral: list[tuple[Probe, str, tuple[Ids, Ids]]] = [
        (probe, name, row) for (probe, name), row in zip(named, rows, strict=True) if probe.kind == NEUTRAL
    ]
    neutral += [
        (probe, OWN, (sample.prompt, sample.ids))
        for probe in probes
        if probe.kind == NEUTRAL and not probe.responses and probe.id in samples
        for sample in samples[probe.id].before
    ]
    for (probe, name, _), kl in zip(neutral, models.divergence([row for *_, row in neutral]), strict=True):
        reading = responses[probe.id][name]
        responses[probe.id][name] = replace(reading, kl=kl + (reading.kl or 0.0))
    return probe_readings(probes, responses, samples, read_openings(models, probes, plan), plan)


def _both(models: AskedModel, rows: Sequence[tuple[Ids, Ids]], what: str) -> list[Reading]:
    """Log-probabilities of the responses under base and run. Raises `WorkbenchError`."""
    before, after = (models.logprobs(rows, column, what) for column in models.columns)
    return [_reading(first, then) for first, then in zip(before, after, strict=True)]


def named_responses(scorer: Scorer, probes: Sequence[Probe]) -> tuple[list[tuple[Probe, str]], list[tuple[Ids, Ids]]]:
    """Every response that a probe names: the probe with the behaviour, and the ids."""
    named = [(probe, behaviour) for probe in probes for behaviour in probe.responses]
    return named, [
        encode(scorer.tokenizer, probe.prompt, probe.responses[behaviour], template=scorer.template)
        for probe, behaviour in named
    ]


def probe_readings(
    probes: Sequence[Probe],
    responses: Mapping[str, Mapping[str, Reading]],
    samples: Mapping[str, ProbeSamples],
    openings: Mapping[str, Mapping[str, Sequence[float]]],
    plan: Plan,
    beside: Iterable[ProbeReading] = (),
) -> list[ProbeReading]:
    """What was read, probe by probe; the mappings are by the probe's id. `openings`: before and after, by behaviour.

    What is counted in readings that these stand `beside` is counted here too.
    """
    told = _told(probes, samples, plan.claims.values())
    for reading in beside:
        told[reading.kind] |= dict.fromkeys(reading.behaviours)
    return [
        ProbeReading(
            id=probe.id,
            kind=probe.kind,
            group=probe.group,
            tags=probe.tags,
            prompt=question(probe.prompt),
            responses=responses[probe.id],
            samples=len(samples[probe.id].before) if probe.id in samples else 0,
            behaviours=_counts(samples[probe.id], told[probe.kind]) if probe.id in samples else {},
            openings={name: (before, after) for name, (before, after) in openings[probe.id].items()},
        )
        for probe in probes
    ]


def read_openings(models: AskedModel, probes: Sequence[Probe], plan: Plan) -> dict[str, dict[str, list[float]]]:
    """By probe and behaviour, the log-probability of an answer that begins so under each column, in nats.

    The openings are the probe's own, or those of the behaviour.
    """
    asked = {probe.id: openings_of(probe, plan.behaviours) for probe in probes}
    masses: dict[str, dict[str, list[float]]] = {probe.id: {} for probe in probes}
    some = [probe for probe in probes if asked[probe.id]]
    sums: dict[str, list[list[float]]] = {probe.id: [] for probe in some}
    ids = {
        probe.id: [
            (behaviour, *continued(models.scorer.tokenizer, probe.prompt, text, template=models.scorer.template))
            for behaviour, texts in asked[probe.id].items()
            for text in texts
        ]
        for probe in some
    }
    rows_of_probes = [(ids[probe.id][0][1], [opening for *_, opening in ids[probe.id]]) for probe in some]
    for column in models.columns if some else ():
        for probe, of_probe in zip(some, models.openings(rows_of_probes, column), strict=True):
            sums[probe.id].append(of_probe)
    for probe in some:
        for behaviour in asked[probe.id]:
            rows = [number for number, (name, *_) in enumerate(ids[probe.id]) if name == behaviour]
            openings = [tuple(ids[probe.id][row][2]) for row in rows]
            masses[probe.id][behaviour] = [
                log_mass([column[row] for row in rows], openings) for column in sums[probe.id]
            ]
    return masses


def read_pairs(
    models: AskedModel, rows: Iterable[Mapping[str, Any]], max_length: int, most: int, seed: int
) -> list[PairReading]:
    """What was read on the run's held-out rows, cut as in training; of more than `most` as many, drawn by `seed`.

    A pair whose prompt fills the limit is left out, as it is in training.
    """
    pairs, encoded = held_out(models.scorer, rows, max_length, most, seed)
    if not pairs:
        return []
    readings = _both(models, encoded, "responses of held-out pairs")
    return [
        PairReading(pair.id, _group(pair), pair.tags, question(pair.prompt), chosen, rejected)
        for pair, chosen, rejected in zip(pairs, readings[::2], readings[1::2], strict=True)
    ]


def held_out(
    scorer: Scorer, rows: Iterable[Mapping[str, Any]], max_length: int, most: int, seed: int
) -> tuple[list[Pair], list[tuple[Ids, Ids]]]:
    """The pairs that are read, and the ids of their prompts and responses: chosen and rejected in turn. Answers that
    are judged alone are no pairs."""
    held = [
        (row, pair)
        for number, row in enumerate((row for row in rows if row.get("split") == "holdout"), 1)
        if not (pair := from_row(row, where=f"held-out pair {number}")).lacks
    ]
    if len(held) > most:
        held = [held[index] for index in sorted(Random(seed).sample(range(len(held)), most))]
    pairs: list[Pair] = []
    encoded: list[tuple[Ids, Ids]] = []
    limit = min(max_length, scorer.context or max_length)
    for row, pair in held:
        ids = pair_ids(scorer.tokenizer, pair.prompt, pair.chosen, pair.rejected, template_arguments(row))
        if responses := ids.responses(limit):
            pairs.append(pair)
            encoded += responses
    return pairs, encoded


def sample(models: AskedModel, probes: Sequence[Probe], plan: Plan) -> dict[str, ProbeSamples]:
    """Seeded answers of base and run to every probe, and the behaviours that they show, by the probe's id.

    Raises `WorkbenchError`.
    """
    asked = [probe for probe in probes for _ in range(plan.settings.samples)]
    before, after = (
        models.answers([probe.prompt for probe in asked], column, plan.settings) for column in models.columns
    )
    said = [(answer.prompt, answer.ids) for answer in before]
    logprobs = [models.logprobs(said, column, "answers of the base") for column in models.columns]
    own, begun = (
        [_reading(first[:most], then[:most]) for first, then in zip(*logprobs, strict=True)]
        for most in (None, BEGINNING)
    )
    under_base = map(
        total,
        models.logprobs([(answer.prompt, answer.ids) for answer in after], models.columns[0], "answers of the run"),
    )
    likelihoods = [*(reading.before for reading in own), *under_base]
    shows = shown_behaviours(
        [
            as_answer(probe, answer, likelihood)
            for probe, answer, likelihood in zip(asked * 2, [*before, *after], likelihoods, strict=True)
        ],
        plan.known,
        models.progress,
    )
    samples = {}
    for number, probe in enumerate(probes):
        first = number * plan.settings.samples
        of_probe, second = slice(first, first + plan.settings.samples), len(asked) + first
        samples[probe.id] = ProbeSamples(
            before[of_probe],
            after[of_probe],
            shows[of_probe],
            shows[second : second + plan.settings.samples],
            together(own[of_probe]),
            together(begun[of_probe]),
        )
    return samples


def as_answer(probe: Probe, sampled: Sample, under_base: float) -> Answer:
    """What is told apart; `under_base` is the answer's log-probability under the base, in nats."""
    count = len(sampled.ids)
    return Answer(probe.kind, question(probe.prompt), sampled.text, sampled.cut, count, under_base / count)


def examples(probes: Sequence[Probe], samples: Mapping[str, ProbeSamples]) -> list[Example]:
    """Every sampled answer of base and run to each probe."""
    return [
        Example(probe.id, probe.kind, question(probe.prompt), before.text, after.text, before_shows, after_shows)
        for probe in probes
        if probe.id in samples
        for before, after, before_shows, after_shows in zip(
            samples[probe.id].before,
            samples[probe.id].after,
            samples[probe.id].before_shows,
            samples[probe.id].after_shows,
            strict=True,
        )
    ]


def token_views(
    models: AskedModel,
    probes: Sequence[Probe],
    readings: Sequence[ProbeReading],
    samples: Mapping[str, ProbeSamples],
    signs: Signs,
) -> list[TokenView]:
    """The worst and a typical probe of every kind, by `readings`, with every token of their responses.

    Where a probe names none, of what base and run said. Raises `WorkbenchError`.
    """
    models.progress("looking at responses token by token")
    responses: dict[str, Mapping[str, str]] = {probe.id: probe.responses for probe in probes}
    for identity, sampled in samples.items():
        if not responses[identity]:
            responses[identity] = {OWN: sampled.before[0].text, "run's answer": sampled.after[0].text}
    known = {probe.id: probe for probe in probes}
    return [
        TokenView(
            probe=reading.id,
            kind=reading.kind,
            choice=choice,
            prompt=reading.prompt,
            responses=[
                _token_response(models, known[reading.id].prompt, name, text)
                for name, text in responses[reading.id].items()
            ],
        )
        for reading, choice in choose([reading for reading in readings if responses[reading.id]], signs)
    ]


def question(prompt: Text) -> str:
    """What the response answers, and how much was said before it."""
    if isinstance(prompt, str):
        return prompt
    before = len(prompt) - 1
    return f"({before} turn{'s' if before > 1 else ''} before) {prompt[-1].text}" if before else prompt[-1].text


def _reading(before: Tensor, after: Tensor) -> Reading:
    return Reading(total(before), total(after), len(before))


def together(readings: Sequence[Reading]) -> Reading:
    """One reading of several answers together."""
    before, after = (sum(getattr(reading, side) for reading in readings) for side in ("before", "after"))
    return Reading(before, after, sum(reading.tokens for reading in readings))


def _counts(samples: ProbeSamples, behaviours: Iterable[str]) -> dict[str, tuple[int, int]]:
    """How many answers of base and of run show each of `behaviours`."""
    before, after = (Counter(itertools.chain(*shows)) for shows in (samples.before_shows, samples.after_shows))
    return {name: (before[name], after[name]) for name in behaviours}


def _told(
    probes: Sequence[Probe], samples: Mapping[str, ProbeSamples], claims: Iterable[Claim]
) -> dict[str, dict[str, None]]:
    """By kind, the behaviours that are counted: what a claim is about, then what any answer shows."""
    told: dict[str, dict[str, None]] = {probe.kind: {} for probe in probes}
    for claim in claims:
        if "samples" in claim.by and claim.kind in told:
            told[claim.kind][claim.behaviour] = None
    for probe in probes:
        if probe.id in samples:
            shows = (*samples[probe.id].before_shows, *samples[probe.id].after_shows)
            told[probe.kind] |= dict.fromkeys(itertools.chain(*shows))
    return told


def _group(pair: Pair) -> str:
    """What the pair shares with those like it: its column `group`, where it has one, else its prompt."""
    named = pair.extra.get("group")
    return named if isinstance(named, str) and named else group_key(pair.prompt)


def _token_response(models: AskedModel, prompt: Text, name: str, text: str) -> TokenResponse:
    base, run = models.tokens(prompt, text, top_k=1).columns
    return TokenResponse(name, round(base.sum, _DECIMALS), round(run.sum, _DECIMALS), _token_pieces(base, run))


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
