"""Two runs beside each other: which is better, by how much, and on which parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.errors import WorkbenchError
from workbench.evidence.cases import Signs, standing
from workbench.evidence.claims import signs
from workbench.evidence.document import Evidence
from workbench.evidence.measurements import Item, Measurement, Paired, ProbeReading, Table, changed, parts, tabulate
from workbench.evidence.statistics import Change, Estimate, change

ALL = "all"


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """The share of wanted answers less that of unwanted ones, from −1 to 1, over the probes of a kind and part.

    *Before* is the other run, *after* the run; neutral probes do not count, for they are asked to stay as they are.
    """

    kind: str
    part: str
    prompts: int
    change: Change


@dataclass(frozen=True, slots=True)
class Versus:
    """A run beside another one, probe by probe: in every change, *before* is `other` and *after* is `run`.

    `better`: the run whose overall score is higher, where the 95% interval of the difference does not reach 0; else
    None. `scores` has the overall one first, then those of kinds and parts. `left_out` counts probes and held-out pairs
    that only one of the two was measured on.
    """

    run: str
    other: str
    better: str | None
    scores: Sequence[ScoreChange]
    measurements: Sequence[Measurement]
    left_out: int


def versus(run: Evidence, other: Evidence, *, seed: int = 0) -> Versus:
    """The comparison on all that both were measured on.

    Raises `WorkbenchError` where that is no probe with a wanted or an unwanted answer.
    """
    ours, theirs = _common(run.probe_readings, other.probe_readings)
    pairs, their_pairs = _common(run.pair_readings, other.pair_readings)
    scores = _scores(ours, theirs, signs(run.claims.values()), seed)
    if not scores:
        raise WorkbenchError(
            "Nothing to compare by",
            f"{run.run} and {other.run} were measured on no probe in common that says what is wanted.",
            "Measure both on the same suites: workbench evaluate RUN",
        )
    difference = scores[0].change.difference
    measured = len(run.probe_readings) + len(run.pair_readings) + len(other.probe_readings) + len(other.pair_readings)
    return Versus(
        run=run.run,
        other=other.run,
        better=_better(run.run, other.run, difference),
        scores=scores,
        measurements=beside(tabulate(ours, pairs), tabulate(theirs, their_pairs), seed),
        left_out=measured - 2 * (len(ours) + len(pairs)),
    )


def _better(run: str, other: str, difference: Estimate) -> str | None:
    if not difference.has_interval:
        return None
    return run if difference.low > 0 else other if difference.high < 0 else None


def _common(ours: Sequence[Item], theirs: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """What both have, in our order and with our groups and tags."""
    known = {reading.id: reading for reading in theirs}
    both = [
        (reading, known[reading.id])
        for reading in ours
        if reading.id in known and reading.prompt == known[reading.id].prompt
    ]
    return [one for one, _ in both], [replace(two, group=one.group, tags=one.tags) for one, two in both]


def _scores(ours: Sequence[ProbeReading], theirs: Sequence[ProbeReading], signs: Signs, seed: int) -> list[ScoreChange]:
    score = {probe.id: standing(probe, signs) for probe in ours}
    other_score = {probe.id: standing(probe, signs) for probe in theirs}
    judged = [
        probe
        for probe in ours
        if probe.kind != "neutral" and score[probe.id] is not None and other_score[probe.id] is not None
    ]
    kinds: dict[str, list[ProbeReading]] = {}
    for probe in judged:
        kinds.setdefault(probe.kind, []).append(probe)
    parts_of_kinds = [(ALL, "", judged)] if judged else []
    parts_of_kinds += [(kind, part, inside) for kind, of_kind in kinds.items() for part, inside in parts(of_kind)]
    return [
        ScoreChange(
            kind,
            part,
            len(inside),
            change(
                [other_score[probe.id] or 0.0 for probe in inside],
                [score[probe.id] or 0.0 for probe in inside],
                [f"{probe.kind}\0{probe.group}" for probe in inside],
                seed=seed,
            ),
        )
        for kind, part, inside in parts_of_kinds
    ]


def beside(ours: Table, theirs: Table, seed: int) -> list[Measurement]:
    """Every quantity that both have: before is what came after in `theirs`, after what did in `ours`."""
    measurements = []
    for key, paired in ours.items():
        other = theirs.get(key)
        if other is None or len(other.after) != len(paired.after):
            continue  # another number of samples
        both = Paired(other.after, paired.after, paired.groups, paired.prompts, paired.weights)
        measurements.append(Measurement(*key, prompts=paired.prompts, change=changed(both, key.measure, seed=seed)))
    return measurements
