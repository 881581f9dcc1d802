"""Measures a run on what it was never trained on: base beside aligned."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from workbench.config import Quantization
from workbench.engine.model.inference import fitting_threads
from workbench.engine.scoring.asked_model import AskedModel, base_and_run
from workbench.engine.scoring.capabilities import read_tasks
from workbench.engine.scoring.kept_answers import KeptAnswers
from workbench.engine.scoring.merged import Before, evaluate_merged
from workbench.engine.scoring.probing import NEUTRAL, examples, read_pairs, read_probes, sample, token_views
from workbench.engine.scoring.result_cache import ResultCache
from workbench.engine.scoring.scorer import Scorer
from workbench.engine.shipping.model_card import write_card
from workbench.evidence.calibration import calibrate
from workbench.evidence.capabilities import TasksAsked, tabulate_tasks, with_tasks
from workbench.evidence.cases import worst
from workbench.evidence.claims import signs
from workbench.evidence.document import Evidence, Provenance, write_evidence
from workbench.evidence.jobs import check
from workbench.evidence.length_control import LengthControl, control
from workbench.evidence.measurements import PairReading, measure, tabulate
from workbench.evidence.probes import Probe
from workbench.evidence.settings import Plan
from workbench.evidence.verdicts import judge
from workbench.runs.folder import RunFolder
from workbench.runs.quantities import preferred


def evaluate(
    folder: RunFolder,
    probes: Sequence[Probe],
    plan: Plan,
    *,
    suites: Mapping[str, str] | None = None,
    quantization: Quantization | None = None,
    merged: Path | None = None,
    tasks: TasksAsked | None = None,
    cache: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Evidence:
    """Measures the run's adapter against its base, and writes the evidence into the run's folder.

    `suites` has the sha256 of the probes' files. `quantization` is how the base is held, by default as the run was
    trained. `merged`: the folder of the run's merged model, which is measured as well; `tasks` are asked of lm-eval
    besides. `cache`: the file that keeps what the base said, for the next run on it. `progress` is told what is done
    next. The device's lease is the caller's to hold. Raises `WorkbenchError` where the run has no adapter or gives no
    answers, a model cannot be loaded, or a behaviour cannot be told.
    """
    began = time.monotonic()
    settings = plan.settings
    record, seed = folder.record(), settings.seed
    config = record.config
    wanted = signs(plan.claims.values())
    check(folder)
    progress("loading the model")
    with ResultCache(cache) as results:
        load = partial(
            Scorer, config.model, template=config.template, chat_template=folder.template(), trust=config.trust
        )
        scorer = load(quantization or config.quantization)
        models = AskedModel(scorer, base_and_run(folder.adapter), progress, KeptAnswers.of(scorer, results))
        with fitting_threads(scorer.adapters.model):
            on_tasks = read_tasks(models, tasks, seed) if tasks else []  # first: a task may not be known
            asked = [probe for probe in probes if _is_sampled(probe, plan)]
            samples = sample(models, asked, plan) if asked else {}
            on_probes = read_probes(models, probes, samples, plan)
            on_pairs = read_pairs(models, folder.rows(), config.max_length, settings.most_pairs, seed)
            tokens = token_views(models, probes, on_probes, samples, wanted)
        held, digest, vocabulary = scorer.quantization, scorer.adapters.digest(folder.adapter), scorer.vocabulary
        del scorer, models
        shipped = None
        if merged is not None:
            before = Before(probes, asked, samples, on_probes, on_pairs, vocabulary)
            shipped = evaluate_merged(
                folder,
                merged,
                before,
                plan,
                lambda: load(held),
                results,
                progress,
            )
    progress("computing intervals")
    claims = with_tasks(plan.claims, on_tasks)
    table = tabulate(on_probes, on_pairs) | tabulate_tasks(on_tasks)
    groups = [pair.group for pair in on_pairs]
    evidence = Evidence(
        run=folder.id,
        model=config.model,
        quantization=held,
        method=config.method,
        beta=config.beta,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        seed=seed,
        provenance=Provenance(
            adapter=digest,
            suites=dict(suites or {}),
            pairs=hashlib.sha256(folder.pairs.read_bytes()).hexdigest(),
            versions=dict(record.versions),
            settings=settings.model_dump(),
            behaviours={name: behaviour.model_dump() for name, behaviour in plan.behaviours.items()},
        ),
        claims=claims,
        verdicts=judge(table, claims, settings, seed=seed),
        measurements=measure(table, seed=seed),
        length_control=_length_control(on_pairs, seed),
        calibration=calibrate([pair.gain for pair in on_pairs], groups, config.beta, seed=seed),
        regressions=worst(on_probes, on_pairs, wanted),
        examples=examples(asked, samples),
        tokens=tokens,
        probe_readings=on_probes,
        pair_readings=on_pairs,
        merged=shipped,
        task_readings=on_tasks,
    )
    write_evidence(folder.evidence, evidence)
    write_card(folder)
    return evidence


def _is_sampled(probe: Probe, plan: Plan) -> bool:
    """Whether a claim is about the probe's sampled answers, or its divergence is measured on them."""
    if not plan.settings.samples:
        return False
    claimed = any(claim.kind == probe.kind and "samples" in claim.by for claim in plan.claims.values())
    return claimed or (probe.kind == NEUTRAL and not probe.responses)


def _length_control(pairs: Sequence[PairReading], seed: int) -> LengthControl | None:
    return control(
        [preferred(pair.gain) for pair in pairs],
        [pair.chosen.tokens for pair in pairs],
        [pair.rejected.tokens for pair in pairs],
        [pair.group for pair in pairs],
        seed=seed,
    )
