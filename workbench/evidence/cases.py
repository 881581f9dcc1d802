"""Single cases that are worth a look: the worst regressions by name, and a few responses token by token."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.evidence.measurements import BOTH, HELD_OUT, PairReading, ProbeReading
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
    worse = [regression for regression in (*_of_probes(probes), *_of_pairs(pairs)) if regression.worse > 0]
    return sorted(worse, key=lambda regression: (-regression.worse, regression.id, regression.response))[:count]


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


Choice = Literal["worst", "typical"]
"""Why a probe is shown: nowhere does the run do worse, or as many probes of its kind do better as do worse."""


@dataclass(frozen=True, slots=True)
class TokenPiece:
    """Text of one token, or of several that only together are text, with its natural log-probability.

    `ranks` are base's and run's rank of the (first) token, 1 being likeliest; `likeliest` is what the run would have
    said there.
    """

    text: str
    before: float
    after: float
    ranks: tuple[int, int]
    likeliest: str
    special: bool = False


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A response that a probe names, its stop token included; `before` and `after` are sums of log-probabilities."""

    response: str
    before: float
    after: float
    pieces: Sequence[TokenPiece]


@dataclass(frozen=True, slots=True)
class TokenView:
    """One probe with all its responses, and why it is shown."""

    probe: str
    kind: str
    choice: Choice
    prompt: str
    responses: Sequence[TokenResponse]


def choose(readings: Sequence[ProbeReading]) -> list[tuple[ProbeReading, Choice]]:
    """The worst probe of every kind, and a typical one.

    A probe stands the better, the likelier the run makes what should be said and the less likely what should not.
    Where nobody says what should be said, what moved least stands best.
    """
    kinds: dict[str, list[ProbeReading]] = {}
    for reading in readings:
        kinds.setdefault(reading.kind, []).append(reading)
    chosen: list[tuple[ProbeReading, Choice]] = []
    for same_kind in kinds.values():
        order = sorted(same_kind, key=_standing)
        chosen.append((order[0], "worst"))
        if len(order) > 1:
            chosen.append((order[len(order) // 2], "typical"))
    return chosen


def _standing(probe: ProbeReading) -> float:
    signs = {family: wanted(probe.kind, family) for family in probe.responses}
    if any(signs.values()):
        return sum(signs[family] * math.exp(reading.after) for family, reading in probe.responses.items())
    return -sum(abs(reading.after - reading.before) for reading in probe.responses.values())
