"""Responses of a few probes token by token, base beside run: which probes are shown, and how they are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.evidence.readings import ProbeReading
from workbench.evidence.verdicts import wanted

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
    for found in kinds.values():
        order = sorted(found, key=_standing)
        chosen.append((order[0], "worst"))
        if len(order) > 1:
            chosen.append((order[len(order) // 2], "typical"))
    return chosen


def _standing(probe: ProbeReading) -> float:
    signs = {family: wanted(probe.kind, family) for family in probe.responses}
    if any(signs.values()):
        return sum(signs[family] * math.exp(reading.after) for family, reading in probe.responses.items())
    return -sum(abs(reading.after - reading.before) for reading in probe.responses.values())
