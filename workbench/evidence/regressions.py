"""The worst regressions by name: what to look at first, and what makes the next pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from workbench.evidence.measurements import BOTH, HELD_OUT
from workbench.evidence.readings import PairReading, ProbeReading
from workbench.evidence.verdicts import wanted

WORST = 10


@dataclass(frozen=True, slots=True)
class Regression:
    """What got worse, by `worse` nats, above 0.

    A good response that lost log-probability, a bad one that gained, or, of held-out pairs (`response` is `BOTH`), a
    margin between chosen and rejected that shrank. `before` and `after` are log-probabilities or margins.
    """

    id: str
    kind: str
    response: str
    prompt: str
    before: float
    after: float
    worse: float


def worst(probes: Iterable[ProbeReading], pairs: Iterable[PairReading], count: int = WORST) -> list[Regression]:
    """The worst `count`, worst first; of families that nobody judges there are none."""
    found = [each for each in (*_of_probes(probes), *_of_pairs(pairs)) if each.worse > 0]
    return sorted(found, key=lambda each: (-each.worse, each.id, each.response))[:count]


def _of_probes(probes: Iterable[ProbeReading]) -> Iterator[Regression]:
    for probe in probes:
        for family, reading in probe.responses.items():
            sign = wanted(probe.kind, family)
            lost = -sign * (reading.after - reading.before)
            yield Regression(probe.id, probe.kind, family, probe.prompt, reading.before, reading.after, lost)


def _of_pairs(pairs: Iterable[PairReading]) -> Iterator[Regression]:
    for pair in pairs:
        before, after = pair.chosen.before - pair.rejected.before, pair.chosen.after - pair.rejected.after
        yield Regression(pair.id, HELD_OUT, BOTH, pair.prompt, before, after, before - after)
