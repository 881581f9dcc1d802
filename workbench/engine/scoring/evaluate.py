"""Measures a run on what it was never trained on: base beside aligned."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from workbench.config import Quantization
from workbench.engine.model.inference import fitting_threads
from workbench.engine.scoring.probing import BaseAndRun, Matcher, read_pairs, read_probes, sample, token_views
from workbench.engine.scoring.scorer import Scorer
from workbench.engine.shipping.model_card import write_card
from workbench.evidence.calibration import calibrate
from workbench.evidence.cases import worst
from workbench.evidence.document import Evidence, Provenance, write_evidence
from workbench.evidence.jobs import check
from workbench.evidence.length_control import LengthControl, control
from workbench.evidence.measurements import PairReading, measure, preferred, tabulate
from workbench.evidence.probes import Probe
from workbench.evidence.settings import Settings
from workbench.evidence.verdicts import claims, judge
from workbench.runs.folder import RunFolder


def evaluate(
    folder: RunFolder,
    probes: Sequence[Probe],
    matcher: Matcher | None = None,
    *,
    settings: Settings | None = None,
    suites: Mapping[str, str] | None = None,
    quantization: Quantization | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Evidence:
    """Measures the run's adapter against its base, and writes the evidence into the run's folder.

    Without a `matcher` nothing is sampled: only probabilities are measured. `suites` has the sha256 of the probes'
    files. `quantization` is how the base is held, by default as the run was trained. `progress` is told what is done
    next. The device's lease is the caller's to hold. Raises `WorkbenchError`
    where the run has no adapter or gives no answers, or the model cannot be loaded.
    """
    began = time.monotonic()
    settings = settings or Settings()
    record, seed = folder.record(), settings.seed
    config = record.config
    check(folder)
    progress("loading the model")
    scorer = Scorer(config.model, quantization or config.quantization)
    models = BaseAndRun(scorer, folder.adapter, progress)
    with fitting_threads(scorer.adapters.model):
        claimed = {claim.kind for claim in claims(settings) if claim.measure is None}
        asked = [probe for probe in probes if probe.kind in claimed]
        samples = sample(models, asked, matcher, settings.samples, seed) if matcher and settings.samples else None
        on_probes = read_probes(models, probes, samples)
        on_pairs = read_pairs(models, folder.rows(), config.max_length, settings.most_pairs, seed)
        tokens = token_views(models, probes, on_probes)
    progress("computing intervals")
    table = tabulate(on_probes, on_pairs)
    groups = [pair.group for pair in on_pairs]
    evidence = Evidence(
        run=folder.id,
        model=config.model,
        quantization=scorer.quantization,
        method=config.method,
        beta=config.beta,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        seed=seed,
        provenance=Provenance(
            adapter=scorer.adapters.digest(folder.adapter),
            suites=dict(suites or {}),
            pairs=hashlib.sha256(folder.pairs.read_bytes()).hexdigest(),
            versions=dict(record.versions),
            settings=settings.model_dump(),
        ),
        verdicts=judge(table, settings, seed=seed),
        measurements=measure(table, seed=seed),
        length_control=_length_control(on_pairs, seed),
        calibration=calibrate([pair.gain for pair in on_pairs], groups, config.beta, seed=seed),
        regressions=worst(on_probes, on_pairs),
        examples=samples.examples if samples else [],
        tokens=tokens,
        probe_readings=on_probes,
        pair_readings=on_pairs,
    )
    write_evidence(folder.evidence, evidence)
    write_card(folder)
    return evidence


def _length_control(pairs: Sequence[PairReading], seed: int) -> LengthControl | None:
    return control(
        [preferred(pair.gain) for pair in pairs],
        [pair.chosen.tokens for pair in pairs],
        [pair.rejected.tokens for pair in pairs],
        [pair.group for pair in pairs],
        seed=seed,
    )
