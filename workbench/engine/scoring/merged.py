"""What a merged model makes of what base and run were asked before it: the third column of an evaluation.

One model is in memory at a time: base and run first, then the merged model, and at last the base once more, which says
how likely it finds the merged model's answers (babbling is told by that). The divergence is not measured: it takes two
models at once.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from workbench.engine.model.inference import fitting_threads
from workbench.engine.model.loading import revision
from workbench.engine.scoring.asked_model import BASE, Asked, AskedModel, total
from workbench.engine.scoring.classifying import shown_behaviours
from workbench.engine.scoring.kept_answers import KeptAnswers
from workbench.engine.scoring.probing import (
    ProbeSamples,
    as_answer,
    examples,
    held_out,
    named_responses,
    probe_readings,
    read_openings,
    together,
)
from workbench.engine.scoring.result_cache import ResultCache
from workbench.engine.scoring.scorer import Sample, Scorer
from workbench.errors import WorkbenchError
from workbench.evidence.document import MergedModel
from workbench.evidence.measurements import (
    BEGINNING,
    BEGINNINGS,
    OWN,
    PairReading,
    ProbeReading,
    Reading,
    measure,
    tabulate,
)
from workbench.evidence.probes import Probe
from workbench.evidence.settings import Plan
from workbench.evidence.verdicts import judge
from workbench.evidence.versus import beside
from workbench.runs.folder import RunFolder
from workbench.text import quoted

_MERGED: Asked = ("the merged model", None)


@dataclass(frozen=True, slots=True)
class Before:
    """What base and run were asked, and what was read: the probes, those that were sampled, the held-out pairs.

    `vocabulary`: the width of their logits.
    """

    probes: Sequence[Probe]
    sampled: Sequence[Probe]
    samples: Mapping[str, ProbeSamples]
    probe_readings: Sequence[ProbeReading]
    pair_readings: Sequence[PairReading]
    vocabulary: int


def evaluate_merged(
    folder: RunFolder,
    merged: Path,
    before: Before,
    plan: Plan,
    load_base: Callable[[], Scorer],
    results: ResultCache,
    progress: Callable[[str], None],
) -> MergedModel:
    """Measures the model in the folder `merged` on the same, once no other model is held any more.

    `load_base` loads the base as it was measured; `results` keeps what both say. Raises `WorkbenchError` where the
    model cannot be loaded, or has another vocabulary than the base.
    """
    release()
    progress("loading the merged model")
    config = folder.record().config
    scorer = Scorer(str(merged), "none", template=config.template, trust=config.trust)
    if scorer.vocabulary != before.vocabulary:
        raise WorkbenchError(
            "This is no merged model of the run",
            f"{merged} has a vocabulary of {scorer.vocabulary:,} tokens, the run's base one of {before.vocabulary:,}.",
            f"Merge the run: workbench merge {quoted(folder.id)} --to DIR",
        )
    models = AskedModel(scorer, (_MERGED,), progress, KeptAnswers.of(scorer, results))
    seed = plan.settings.seed
    asked = [probe for probe in before.sampled for _ in range(plan.settings.samples)]
    with fitting_threads(scorer.adapters.model):
        responses = _responses(models, before)
        openings = read_openings(models, before.probes, plan)
        pairs = _pairs(models, folder, before, plan)
        prompts = [probe.prompt for probe in asked]
        answers = models.answers(prompts, _MERGED, plan.settings) if asked else []
    dtype = str(scorer.adapters.model.dtype).removeprefix("torch.")
    del scorer, models
    samples = _samples(asked, answers, responses, before, plan, load_base, results, progress) if asked else {}
    base = {reading.id: reading.openings for reading in before.probe_readings}
    masses = {
        identity: {name: (base[identity][name][0], mass) for name, (mass,) in opened.items()}
        for identity, opened in openings.items()
    }
    progress("computing intervals of the merged model")
    readings = probe_readings(before.probes, responses, samples, masses, plan, before.probe_readings)
    table = tabulate(readings, pairs)
    claims = {name: claim for name, claim in plan.claims.items() if "kl a token" not in claim.by}
    return MergedModel(
        folder=merged.name,
        revision=revision(str(merged)),
        dtype=dtype,
        verdicts=judge(table, claims, plan.settings, seed=seed),
        measurements=measure(table, seed=seed),
        against_run=beside(table, tabulate(before.probe_readings, before.pair_readings), seed),
        examples=examples(before.sampled, samples),
        probe_readings=readings,
        pair_readings=pairs,
    )


def release() -> None:
    """Frees what nobody holds any more, on the GPU too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _responses(models: AskedModel, before: Before) -> dict[str, dict[str, Reading]]:
    """By the probe's id, every response that it names, and the base's own answers; after is the merged model."""
    old = {reading.id: reading.responses for reading in before.probe_readings}
    named, rows = named_responses(models.scorer, before.probes)
    answers = [sample for probe in before.sampled for sample in before.samples[probe.id].before]
    logprobs = models.logprobs(rows, _MERGED, "responses") if rows else []
    own = models.logprobs([(each.prompt, each.ids) for each in answers], _MERGED, "answers of the base")
    responses: dict[str, dict[str, Reading]] = {probe.id: {} for probe in before.probes}
    for (probe, name), one in zip(named, logprobs, strict=True):
        responses[probe.id][name] = Reading(old[probe.id][name].before, total(one), len(one))
    rest = iter(own)
    for probe in before.sampled:
        of_probe = [next(rest) for _ in before.samples[probe.id].before]
        for name, most in ((OWN, None), (BEGINNINGS, BEGINNING)):
            read = together([Reading(0.0, total(one[:most]), len(one[:most])) for one in of_probe])
            responses[probe.id][name] = replace(read, before=old[probe.id][name].before)
    return responses


def _pairs(models: AskedModel, folder: RunFolder, before: Before, plan: Plan) -> list[PairReading]:
    settings, longest = plan.settings, folder.record().config.max_length
    _, rows = held_out(models.scorer, folder.rows(), longest, settings.most_pairs, settings.seed)
    sums = [total(one) for one in models.logprobs(rows, _MERGED, "responses of held-out pairs")] if rows else []
    return [
        replace(pair, chosen=replace(pair.chosen, after=chosen), rejected=replace(pair.rejected, after=rejected))
        for pair, chosen, rejected in zip(before.pair_readings, sums[::2], sums[1::2], strict=True)
    ]


def _samples(
    asked: Sequence[Probe],
    answers: Sequence[Sample],
    responses: Mapping[str, Mapping[str, Reading]],
    before: Before,
    plan: Plan,
    load_base: Callable[[], Scorer],
    results: ResultCache,
    progress: Callable[[str], None],
) -> dict[str, ProbeSamples]:
    """The answers of base and merged model, and the behaviours that they show, by the probe's id."""
    release()
    progress("loading the base again")
    scorer = load_base()
    base = AskedModel(scorer, (BASE,), progress, KeptAnswers.of(scorer, results))
    with fitting_threads(scorer.adapters.model):
        rows = [(answer.prompt, answer.ids) for answer in answers]
        likelihoods = [total(one) for one in base.logprobs(rows, BASE, "answers of the merged model")]
    told = [as_answer(*each) for each in zip(asked, answers, likelihoods, strict=True)]
    shows = shown_behaviours(told, plan.known, progress)
    samples = {}
    for number, probe in enumerate(before.sampled):
        of_probe = slice(number * plan.settings.samples, (number + 1) * plan.settings.samples)
        samples[probe.id] = replace(
            before.samples[probe.id],
            after=answers[of_probe],
            after_shows=shows[of_probe],
            own=responses[probe.id][OWN],
            begun=responses[probe.id][BEGINNINGS],
        )
    return samples
