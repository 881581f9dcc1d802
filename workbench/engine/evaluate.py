"""Measures a run on probes that it was never trained on: base beside aligned."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from workbench.engine.evidence_tokens import token_views
from workbench.engine.scorer import Scorer
from workbench.errors import WorkbenchError
from workbench.evidence.document import Evidence, Example, write_evidence
from workbench.evidence.probes import Probe, by_kind
from workbench.evidence.verdicts import CLAIMS, Measure, Readings, judge
from workbench.pairs.pair import Text
from workbench.runs.folder import RunFolder

Matcher = Callable[[str], str | None]
"""Tells the family of a response; None where it is of none."""

SAMPLES = 200
"""A kind of probes."""
MAX_NEW_TOKENS = 128
_EXAMPLES = 3

_Key = tuple[str, str, Measure]


def evaluate(
    folder: RunFolder,
    probes: Sequence[Probe],
    matcher: Matcher | None = None,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Evidence:
    """Measures the run's adapter against its base, and writes the evidence into the run's folder.

    Without a `matcher` nothing is sampled: only probabilities are measured. `progress` is told what is done next.
    Raises `WorkbenchError` where the run has no adapter or the model cannot be loaded.
    """
    began = time.monotonic()
    config = folder.record().config
    if not (folder.adapter / "adapter_config.json").is_file():
        raise WorkbenchError(
            "Nothing to evaluate yet",
            f"{folder.id} has saved no adapter.",
            f"Wait for it to finish, or stop it, which saves one: workbench stop {folder.id}",
        )
    progress("loading the model")
    scorer = Scorer(config.model, config.quantization)
    examples: list[Example] = []
    with scorer.fitting_threads():
        readings = _probabilities(scorer, folder.adapter, probes, progress)
        if matcher is not None:
            sampled, examples = _samples(scorer, folder.adapter, probes, matcher, samples, seed, progress)
            readings |= sampled
        progress("looking at single tokens")
        tokens = token_views(scorer, folder.adapter, probes, readings)
    evidence = Evidence(
        run=folder.id,
        model=config.model,
        quantization=config.quantization,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        readings=readings,
        verdicts=judge(readings, seed=seed),
        examples=examples,
        tokens=tokens,
    )
    write_evidence(folder.evidence, evidence)
    return evidence


def _probabilities(
    scorer: Scorer, adapter: Path, probes: Sequence[Probe], progress: Callable[[str], None]
) -> dict[_Key, Readings]:
    """The probability of every response that the probes name."""
    named = [(probe, family) for probe in probes for family in probe.responses]
    rows: list[tuple[Text, Text]] = [(probe.prompt, probe.responses[family]) for probe, family in named]
    columns = []
    for name, folder in (("the base", None), ("the run", adapter)):
        progress(f"scoring {len(rows)} responses under {name}")
        columns.append([math.exp(logprobs.double().sum().item()) for logprobs in scorer.score_many(rows, folder)])
    places: dict[tuple[str, str], list[int]] = {}
    for place, (probe, family) in enumerate(named):
        places.setdefault((probe.kind, family), []).append(place)
    return {
        (kind, family, "probability"): Readings(
            before=[columns[0][place] for place in found],
            after=[columns[1][place] for place in found],
            groups=[named[place][0].group for place in found],
            probes=len(found),
        )
        for (kind, family), found in places.items()
    }


def _samples(
    scorer: Scorer,
    adapter: Path,
    probes: Sequence[Probe],
    matcher: Matcher,
    count: int,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[dict[_Key, Readings], list[Example]]:
    """Seeded samples of every kind that a claim is about, the probes taken in turn, each told by family."""
    claimed = {claim.kind for claim in CLAIMS}
    kinds = {kind: found for kind, found in by_kind(probes).items() if kind in claimed}
    asked = [probe for found in kinds.values() for probe in itertools.islice(itertools.cycle(found), count)]
    said = []
    for name, folder in (("the base", None), ("the run", adapter)):
        progress(f"sampling {len(asked)} responses from {name}")
        said.append(
            scorer.sample_many(
                [probe.prompt for probe in asked], folder, max_new_tokens=MAX_NEW_TOKENS, temperature=1.0, seed=seed
            )
        )
    families = [[matcher(text) for text in texts] for texts in said]
    readings: dict[_Key, Readings] = {}
    examples = []
    for number, (kind, found) in enumerate(kinds.items()):
        places = range(number * count, (number + 1) * count)
        groups = [asked[place].group for place in places]
        for family in dict.fromkeys(family for probe in found for family in probe.responses):
            readings[kind, family, "samples"] = Readings(
                before=[float(families[0][place] == family) for place in places],
                after=[float(families[1][place] == family) for place in places],
                groups=groups,
                probes=len(found),
            )
        examples += [
            Example(kind, _question(asked[place]), said[0][place], said[1][place])
            for place in places[: min(_EXAMPLES, len(found))]
        ]
    return readings, examples


def _question(probe: Probe) -> str:
    return probe.prompt if isinstance(probe.prompt, str) else probe.prompt[-1].content
