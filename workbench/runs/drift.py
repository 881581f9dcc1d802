"""How far a merged model's log-probabilities lie from those of the adapter as it was trained, in plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Side:
    """Merged minus live, over `count` responses, in nats (natural logarithms).

    `mean` is of the responses' log-probabilities with their signs, `mean_absolute` and `largest` without; `token` is
    the mean without signs over all their tokens, `largest_token` the largest of these.
    """

    count: int
    mean: float
    mean_absolute: float
    largest: float
    token: float
    largest_token: float


@dataclass(frozen=True, slots=True)
class Drift:
    """Of the held-out pairs that were measured: both sides, and how many pairs have another preferred response now."""

    pairs: int
    chosen: Side
    rejected: Side
    turned: int

    def to_json(self) -> dict[str, Any]:
        """As a document."""
        return asdict(self)

    def told(self) -> list[str]:
        """The same in a line a side."""
        lines = [
            f"{name}: mean {side.mean:+.4f}, mean absolute {side.mean_absolute:.4f}, at most {side.largest:.4f} nats a "
            f"response; {side.token:.4f} a token, at most {side.largest_token:.4f}; n = {side.count}"
            for name, side in (("chosen", self.chosen), ("rejected", self.rejected))
        ]
        return [*lines, f"{self.turned} of {self.pairs} pairs prefer the other response now"]


def drift_from(document: Mapping[str, Any]) -> Drift:
    """What `Drift.to_json` gave."""
    chosen, rejected = Side(**document["chosen"]), Side(**document["rejected"])
    return Drift(int(document["pairs"]), chosen, rejected, int(document["turned"]))


def drift(live: Sequence[Sequence[float]], merged: Sequence[Sequence[float]]) -> Drift:
    """The drift of one model's token log-probabilities from another's; responses alternate: chosen, rejected, chosen …

    Raises `ValueError` where the two do not have the same responses, or there is none.
    """
    sides = [_side(live[place::2], merged[place::2]) for place in (0, 1)]
    before, after = ([math.fsum(response) for response in each] for each in (live, merged))
    pairs = range(0, len(live), 2)
    turned = sum((before[at] > before[at + 1]) != (after[at] > after[at + 1]) for at in pairs)
    return Drift(len(pairs), sides[0], sides[1], turned)


def _side(live: Sequence[Sequence[float]], merged: Sequence[Sequence[float]]) -> Side:
    tokens = [
        [after - before for before, after in zip(one, other, strict=True)]
        for one, other in zip(live, merged, strict=True)
    ]
    sums = [math.fsum(response) for response in tokens]
    single = [abs(token) for response in tokens for token in response]
    if not single:
        raise ValueError("no tokens to compare")
    return Side(
        count=len(sums),
        mean=math.fsum(sums) / len(sums),
        mean_absolute=math.fsum(map(abs, sums)) / len(sums),
        largest=max(map(abs, sums)),
        token=math.fsum(single) / len(single),
        largest_token=max(single),
    )
