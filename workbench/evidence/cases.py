"""Single cases that are worth a look: the worst regressions by name, and a few responses token by token."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.evidence.measurements import BOTH, HELD_OUT, PairReading, ProbeReading

Signs = Mapping[tuple[str, str], int]
"""By kind and behaviour, 1 for what should become likelier or stay so, −1 for what should not (`claims.signs`)."""

WORST = 10
CLASSIFIED = 10


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


def worst(
    probes: Iterable[ProbeReading], pairs: Iterable[PairReading], signs: Signs, count: int = WORST
) -> list[Regression]:
    """The worst `count`, worst first; of responses that nobody judges there are none."""
    worse = [regression for regression in (*_of_probes(probes, signs), *_of_pairs(pairs)) if regression.worse > 0]
    return sorted(worse, key=lambda regression: (-regression.worse, regression.id, regression.response))[:count]


def _of_probes(probes: Iterable[ProbeReading], signs: Signs) -> Iterator[Regression]:
    for probe in probes:
        for behaviour, reading in probe.responses.items():
            lost = -signs.get((probe.kind, behaviour), 0) * (reading.after - reading.before)
            yield Regression(probe.id, probe.kind, behaviour, probe.prompt, reading.before, reading.after, lost)


def _of_pairs(pairs: Iterable[PairReading]) -> Iterator[Regression]:
    for pair in pairs:
        before, after = pair.chosen.before - pair.rejected.before, pair.chosen.after - pair.rejected.after
        yield Regression(pair.id, HELD_OUT, BOTH, pair.prompt, before, after, before - after)


@dataclass(frozen=True, slots=True)
class Example:
    """What base and run said to one probe, with the same seed, and the behaviours that each answer shows."""

    probe: str
    kind: str
    prompt: str
    before: str
    after: str
    before_shows: Sequence[str] = ()
    after_shows: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Classified:
    """One answer that was told to show `behaviour`, by the base or by the run (`model`)."""

    kind: str
    behaviour: str
    model: str
    prompt: str
    answer: str


def classified(examples: Sequence[Example], signs: Signs, most: int = CLASSIFIED) -> list[Classified]:
    """`most` answers of every kind and behaviour that somebody judges, for a person to check; the run's first.

    One a probe, and spread over the probes.
    """
    answers: list[Classified] = []
    firsts: dict[str, Example] = {}
    for example in examples:
        firsts.setdefault(example.probe, example)
    for kind, behaviour in signs:
        shown = [
            Classified(kind, behaviour, model, example.prompt, text)
            for model in ("run", "base")
            for example in firsts.values()
            if example.kind == kind
            for text, shows in [
                (example.after, example.after_shows) if model == "run" else (example.before, example.before_shows)
            ]
            if behaviour in shows
        ]
        step = max(1, len(shown) // most)
        answers += shown[::step][:most]
    return answers


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


def choose(readings: Sequence[ProbeReading], signs: Signs) -> list[tuple[ProbeReading, Choice]]:
    """The worst probe of every kind, and a typical one, by their standing after training.

    Where nobody says what should be said, what moved least stands best.
    """
    kinds: dict[str, list[ProbeReading]] = {}
    for reading in readings:
        kinds.setdefault(reading.kind, []).append(reading)
    chosen: list[tuple[ProbeReading, Choice]] = []
    for same_kind in kinds.values():
        judged = any(standing(probe, signs) is not None for probe in same_kind)
        order = sorted(same_kind, key=lambda probe: (standing(probe, signs) or 0.0) if judged else -_moved(probe))
        chosen.append((order[0], "worst"))
        if len(order) > 1:
            chosen.append((order[len(order) // 2], "typical"))
    return chosen


def standing(probe: ProbeReading, signs: Signs) -> float | None:
    """The share of the run's wanted answers less that of unwanted ones, from −1 to 1; None where nobody judges any.

    By the sampled answers, or the probabilities of named responses where nothing was sampled.
    """
    if probe.samples:
        shares = {name: after / probe.samples for name, (_, after) in probe.behaviours.items()}
    else:
        shares = {name: math.exp(reading.after) for name, reading in probe.responses.items()}
    judged = [signs[probe.kind, name] * value for name, value in shares.items() if (probe.kind, name) in signs]
    return sum(judged) if judged else None


def _moved(probe: ProbeReading) -> float:
    return sum(abs(reading.after - reading.before) for reading in probe.responses.values())
