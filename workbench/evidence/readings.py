"""What the engine reads: log-probabilities of responses to probes and to held-out pairs, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """One response: its log-probability in nats, before and after, over `tokens` tokens, the stop token included.

    `kl`: KL(run ‖ base) summed over them, in nats; None where it was not measured. `sampled`: how many of the
    probe's samples were of this family, before and after; None where nothing was sampled.
    """

    before: float
    after: float
    tokens: int
    kl: float | None = None
    sampled: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ProbeReading:
    """What was read on one probe: by family, the named response. `samples` counts the samples of each model."""

    id: str
    kind: str
    group: str
    tags: Sequence[str]
    prompt: str
    responses: Mapping[str, Reading]
    samples: int = 0


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
