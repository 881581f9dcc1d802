"""Responses of a few probes token by token, base beside aligned: which probes are shown, and how they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from workbench.evidence.probes import Probe, by_kind
from workbench.evidence.verdicts import CLAIMS, Readings
from workbench.pairs.pair import Text, plain

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

    family: str
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

    def to_json(self) -> dict[str, Any]:
        """As in evidence.json. Numbers have four decimals: of more, a reader of single tokens learns nothing."""
        return {
            "probe": self.probe,
            "kind": self.kind,
            "choice": self.choice,
            "prompt": self.prompt,
            "responses": [
                {
                    "response": each.family,
                    "before": round(each.before, 4),
                    "after": round(each.after, 4),
                    "tokens": [
                        asdict(piece)
                        | {"before": round(piece.before, 4), "after": round(piece.after, 4), "ranks": list(piece.ranks)}
                        for piece in each.pieces
                    ],
                }
                for each in self.responses
            ],
        }


def choose(probes: Sequence[Probe], readings: Mapping[tuple[str, str, Any], Readings]) -> list[tuple[Probe, Choice]]:
    """The worst probe of every kind and a typical one, by the probabilities in `readings`, which are in their order.

    A probe stands the better, the likelier the run makes the responses that are claimed to be kept or raised, and the
    less likely those that are claimed to vanish. Where nothing is claimed of a kind, what moved least stands best.
    """
    chosen: list[tuple[Probe, Choice]] = []
    for kind, found in by_kind(probes).items():
        standings = _standings(kind, found, readings)
        if not standings:
            continue
        order = sorted(range(len(found)), key=lambda place: (standings[place], place))
        worst, typical = order[0], order[len(order) // 2]
        chosen.append((found[worst], "worst"))
        if typical != worst:
            chosen.append((found[typical], "typical"))
    return chosen


def question(probe: Probe) -> str:
    """A probe's prompt as one text: roles are told where there is more than one turn."""
    prompt: Text = probe.prompt
    if isinstance(prompt, str) or len(prompt) == 1:
        return plain(prompt)
    return "\n".join(f"{turn.role}: {turn.content}" for turn in prompt)


def _standings(kind: str, probes: Sequence[Probe], readings: Mapping[tuple[str, str, Any], Readings]) -> list[float]:
    """How well each probe stands; empty where a response of theirs was not measured."""
    signs = {claim.family: -1 if claim.at_most is not None else 1 for claim in CLAIMS if claim.kind == kind}
    standings = [0.0] * len(probes)
    for family in dict.fromkeys(family for probe in probes for family in probe.responses):
        found = readings.get((kind, family, "probability"))
        places = [place for place, probe in enumerate(probes) if family in probe.responses]
        if found is None or len(found.after) != len(places):
            return []
        for place, before, after in zip(places, found.before, found.after, strict=True):
            standings[place] += signs.get(family, 0) * after if signs else -abs(after - before)
    return standings
