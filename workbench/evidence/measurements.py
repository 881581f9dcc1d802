"""From readings to measurements: what the engine read of each response, and every quantity before and after.

Readings are log-probabilities of responses to probes and to held-out pairs. A quantity is measured on all prompts of a
kind and on each of its parts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from workbench.evidence.length_control import matched
from workbench.evidence.statistics import Change, change
from workbench.runs.quantities import preferred


@dataclass(frozen=True, slots=True)
class Reading:
    """One response: its log-probability in nats, before and after, over `tokens` tokens, the stop token included.

    `kl`: KL(run ‖ base) summed over them, in nats; None where it was not measured.
    """

    before: float
    after: float
    tokens: int
    kl: float | None = None


@dataclass(frozen=True, slots=True)
class ProbeReading:
    """What was read on one probe.

    `responses`: by behaviour, the named response; under `OWN` and `BEGINNINGS` those that the base gave, `samples` of
    them. `behaviours`: how many of the samples of base and of run showed each. `openings`: by behaviour, the
    log-probability of an answer that begins so, before and after, in nats.
    """

    id: str
    kind: str
    group: str
    tags: Sequence[str]
    prompt: str
    responses: Mapping[str, Reading]
    samples: int = 0
    behaviours: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    openings: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PairReading:
    """What was read on one held-out pair."""

    id: str
    group: str
    tags: Sequence[str]
    prompt: str
    chosen: Reading
    rejected: Reading

    @property
    def gain(self) -> float:
        """The difference Δ of the log-ratios to the base, in nats: beta times it is the implicit reward's margin."""
        return (self.chosen.after - self.chosen.before) - (self.rejected.after - self.rejected.before)


Measure = Literal[
    "samples",
    "opening",
    "probability",
    "log-probability",
    "log-probability a token",
    "accuracy",
    "ranking",
    "margin",
    "kl a token",
    "task score",
]
"""What was measured; *before* is the base and *after* the run.

samples: share of seeded answers that show the behaviour. opening: probability that an answer begins in one of the ways
that are listed for the behaviour. probability: of the whole named response, exp of the sum. log-probability: of the
whole response, in nats. accuracy: share of pairs whose implicit reward prefers chosen
(`quantities.PREFERENCE_ACCURACY`). ranking: share of pairs whose chosen is the likelier response. margin:
log-probability of chosen less that of rejected, in nats. kl a token: KL(run ‖ base) at the tokens of the named
responses, or where a probe names none of the base's own, in nats. task score: a public task's own metric, an item.
"""

HELD_OUT = "held-out"
"""The kind of the pairs that the run held out."""
TASK = "task"
"""The kind of the items of public tasks."""
BOTH = "chosen over rejected"
OWN = "base's answers"
"""The response of what the base answers by itself: sampled, then scored under base and run."""
BEGINNINGS = "base's beginnings"
"""The first `BEGINNING` tokens of those: where a run answers otherwise it parts from the base there."""
BEGINNING = 8
ANSWERS = "answers"
"""The response of a divergence: all that are named, or the base's own."""
LENGTH_MATCHED = "length-matched"
_COUNTED = ("samples", "accuracy", "ranking")
_FEWEST_IN_PART = 4
"""Prompts; of fewer a part is not told by itself."""
_MOST_PARTS = 24
"""Tags of a kind, the most frequent ones."""

Item = TypeVar("Item", ProbeReading, PairReading)


class Key(NamedTuple):
    """What is measured. `part`: "" for all of the kind, else a tag or `LENGTH_MATCHED`.

    `kind` is that of the probes (attack, benign, …) or `HELD_OUT`; `response` a behaviour, `OWN` or `ANSWERS`, or of
    pairs chosen, rejected or `BOTH`.
    """

    kind: str
    part: str
    response: str
    measure: Measure


@dataclass(frozen=True, slots=True)
class Paired:
    """One quantity on many prompts: values before and after, the group of each, and how many `prompts` they are of.

    `weights`: tokens, where the values are sums over them.
    """

    before: Sequence[float]
    after: Sequence[float]
    groups: Sequence[str]
    prompts: int
    weights: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One quantity before and after, on `prompts` probes or pairs. See `Key` for the first four fields."""

    kind: str
    part: str
    response: str
    measure: Measure
    prompts: int
    change: Change

    @property
    def key(self) -> Key:
        """What is measured."""
        return Key(self.kind, self.part, self.response, self.measure)


Table = Mapping[Key, Paired]


def tabulate(probes: Iterable[ProbeReading], pairs: Iterable[PairReading]) -> dict[Key, Paired]:
    """Every quantity of every kind and part that has readings enough: all of a kind first, then its parts."""
    table: dict[Key, Paired] = {}
    kinds: dict[str, list[ProbeReading]] = {}
    for probe in probes:
        kinds.setdefault(probe.kind, []).append(probe)
    for kind, probes_of_kind in kinds.items():
        for part, inside in parts(probes_of_kind):
            table |= _of_probes(kind, part, inside)
    held = list(pairs)
    for part, pairs_of_part in parts(held):
        table |= _of_pairs(part, pairs_of_part)
    even = [pair for pair in held if matched(pair.chosen.tokens, pair.rejected.tokens)]
    if even:
        table |= _of_pairs(LENGTH_MATCHED, even)
    return table


def measure(table: Table, *, seed: int = 0) -> list[Measurement]:
    """Every quantity with intervals and a paired test."""
    return [
        Measurement(*key, prompts=paired.prompts, change=changed(paired, key.measure, seed=seed))
        for key, paired in table.items()
    ]


def changed(paired: Paired, measure: Measure, *, seed: int = 0) -> Change:
    """The change of one quantity."""
    trials = paired.prompts if measure in _COUNTED else None
    return change(paired.before, paired.after, paired.groups, weights=paired.weights, trials=trials, seed=seed)


def parts(items: Sequence[Item]) -> Iterator[tuple[str, list[Item]]]:
    """All, and those of every tag that some but not all have."""
    if not items:
        return
    yield "", list(items)
    tags = Counter(tag for item in items for tag in dict.fromkeys(item.tags))
    for tag in sorted(dict(tags.most_common(_MOST_PARTS))):
        if _FEWEST_IN_PART <= tags[tag] < len(items):
            yield tag, [item for item in items if tag in item.tags]


def _of_probes(kind: str, part: str, probes: Sequence[ProbeReading]) -> dict[Key, Paired]:
    table: dict[Key, Paired] = {}
    for behaviour in _names(probe.behaviours for probe in probes):
        sampled = [(probe, probe.behaviours[behaviour]) for probe in probes if behaviour in probe.behaviours]
        table[Key(kind, part, behaviour, "samples")] = Paired(
            [hit for probe, (hits, _) in sampled for hit in _hits(hits, probe.samples)],
            [hit for probe, (_, hits) in sampled for hit in _hits(hits, probe.samples)],
            [probe.group for probe, _ in sampled for _ in range(probe.samples)],
            len(sampled),
        )
    for behaviour in _names(probe.openings for probe in probes):
        opened = [(probe, probe.openings[behaviour]) for probe in probes if behaviour in probe.openings]
        table[Key(kind, part, behaviour, "opening")] = Paired(
            [math.exp(before) for _, (before, _) in opened],
            [math.exp(after) for _, (_, after) in opened],
            [probe.group for probe, _ in opened],
            len(opened),
        )
    for response in _names(probe.responses for probe in probes):
        named = [(probe, probe.responses[response]) for probe in probes if response in probe.responses]
        groups, readings = [probe.group for probe, _ in named], [reading for _, reading in named]
        if response not in (OWN, BEGINNINGS):
            table[Key(kind, part, response, "probability")] = Paired(
                [math.exp(reading.before) for reading in readings],
                [math.exp(reading.after) for reading in readings],
                groups,
                len(named),
            )
        table |= _log_probabilities(kind, part, response, readings, groups)
    diverging = [
        (probe, reading.kl, reading.tokens)
        for probe in probes
        for reading in probe.responses.values()
        if reading.kl is not None
    ]
    if diverging:
        table[Key(kind, part, ANSWERS, "kl a token")] = Paired(
            [0.0] * len(diverging),
            [kl for _, kl, _ in diverging],
            [probe.group for probe, _, _ in diverging],
            len({probe.id for probe, _, _ in diverging}),
            [float(tokens) for _, _, tokens in diverging],
        )
    return table


def _names(named: Iterable[Mapping[str, Any]]) -> list[str]:
    """All names, in the order in which they come."""
    return list(dict.fromkeys(name for names in named for name in names))


def _of_pairs(part: str, pairs: Sequence[PairReading]) -> dict[Key, Paired]:
    groups = [pair.group for pair in pairs]

    def both(measure: Measure, before: Callable[[PairReading], float], after: Callable[[PairReading], float]) -> None:
        values = [before(pair) for pair in pairs], [after(pair) for pair in pairs]
        table[Key(HELD_OUT, part, BOTH, measure)] = Paired(*values, groups, len(pairs))

    table: dict[Key, Paired] = {}
    both("accuracy", lambda _: 0.5, lambda pair: preferred(pair.gain))
    both(
        "ranking",
        lambda pair: preferred(pair.chosen.before - pair.rejected.before),
        lambda pair: preferred(pair.chosen.after - pair.rejected.after),
    )
    both(
        "margin",
        lambda pair: pair.chosen.before - pair.rejected.before,
        lambda pair: pair.chosen.after - pair.rejected.after,
    )
    for side in ("chosen", "rejected"):
        readings = [pair.chosen if side == "chosen" else pair.rejected for pair in pairs]
        table |= _log_probabilities(HELD_OUT, part, side, readings, groups)
    return table


def _log_probabilities(
    kind: str, part: str, response: str, readings: Sequence[Reading], groups: Sequence[str]
) -> dict[Key, Paired]:
    before, after = [reading.before for reading in readings], [reading.after for reading in readings]
    tokens = [float(reading.tokens) for reading in readings]
    return {
        Key(kind, part, response, "log-probability"): Paired(before, after, groups, len(readings)),
        Key(kind, part, response, "log-probability a token"): Paired(before, after, groups, len(readings), tokens),
    }


def _hits(hits: int, samples: int) -> list[float]:
    return [1.0] * hits + [0.0] * (samples - hits)
