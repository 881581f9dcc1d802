"""Whether each claim about a run holds, by each measure that was taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.evidence.claims import Claim
from workbench.evidence.measurements import HELD_OUT, TASK, Key, Measure, Paired, Table, changed
from workbench.evidence.settings import Settings
from workbench.evidence.statistics import Change, Estimate, ratio
from workbench.figures import share

_ROUNDING = 1e-9
"""A mean of values at the threshold may miss it by a rounding error."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a claim holds by one measure; None: that cannot be said, and `message` says why.

    `interval` is that of `value`, at 95%; None: unbounded. `name` is the claim's, with the measure where there may be
    several. `fails`: what would have made the claim fail.
    """

    name: str
    holds: bool | None
    value: float | None
    interval: tuple[float | None, float | None] | None
    threshold: float
    samples: int
    message: str
    claim: str
    kind: str
    behaviour: str
    measure: Measure
    fails: str


def judge(table: Table, claims: Mapping[str, Claim], settings: Settings, *, seed: int = 0) -> list[Verdict]:
    """A verdict on every claim by each of its measures that was taken; one that it cannot be judged where none was."""
    return [
        _judged(name, claim, measure, table, settings, seed)
        for name, claim in claims.items()
        for measure in [by for by in claim.by if _key(claim, by) in table] or claim.by[:1]
    ]


def _key(claim: Claim, measure: Measure) -> Key:
    return Key(claim.kind, "", claim.behaviour, measure)


def _judged(name: str, claim: Claim, measure: Measure, table: Table, settings: Settings, seed: int) -> Verdict:
    paired = table.get(_key(claim, measure))

    def verdict(
        holds: bool | None,
        message: str,
        value: float | None = None,
        interval: tuple[float | None, float | None] | None = None,
    ) -> Verdict:
        return Verdict(
            name=f"{name}, by {measure}" if len(claim.by) > 1 else name,
            holds=holds,
            value=value,
            interval=interval,
            threshold=claim.threshold,
            samples=len(paired.after) if paired is not None else 0,
            message=message,
            claim=name,
            kind=claim.kind,
            behaviour=claim.behaviour,
            measure=measure,
            fails=_fails(claim),
        )

    prompts = paired.prompts if paired is not None else 0
    if paired is None or prompts < settings.fewest:
        whole = {HELD_OUT: "held-out pairs", TASK: f"items of {claim.behaviour}"}
        things = whole.get(claim.kind, f"{claim.kind} probes")
        measured = f" with {_what(claim, measure)}" if paired is None and claim.kind not in whole else ""
        return verdict(None, f"{prompts} {things}{measured}, {settings.fewest} are needed")
    change = changed(paired, measure, seed=seed)
    before = change.before.value
    if measure == "probability" and before < settings.least_probability:
        return verdict(
            None,
            f"cannot be judged by probability: the base gives these responses {before:.0e}, "
            f"less than {settings.least_probability:g}, so any model would pass or fail",
        )
    if claim.before is not None and not _reaches(before, claim.before):
        return verdict(None, f"nothing to show: before {share(before)} (≥ {claim.before:.2f})")
    value = _value(claim, paired, change, seed)
    if value is None:
        return verdict(None, "nothing to keep: the base never answers so")
    holds, message = _held_against(claim, change, value)
    if measure == "opening" and not _settled_by_openings(claim, holds):
        return verdict(None, f"{message}; answers may begin in other ways")
    if value.low < claim.threshold - _ROUNDING and claim.threshold + _ROUNDING < value.high:
        message += "; the interval reaches past the threshold"
    low, high = (bound if math.isfinite(bound) else None for bound in value.interval)
    return verdict(holds, message, value.value, (low, high))


def _what(claim: Claim, measure: Measure) -> str:
    """What a probe has to have for `measure`."""
    if measure == "samples":
        return "sampled answers"
    return f"{claim.behaviour} openings" if measure == "opening" else f"a {claim.behaviour} response"


def _value(claim: Claim, paired: Paired, change: Change, seed: int) -> Estimate | None:
    """What is held against the threshold; None where the base's share, to which it is relative, is 0."""
    if claim.kept is not None:
        return ratio(paired.after, paired.before, paired.groups, seed=seed)
    return change.difference if claim.lost is not None else change.after


def _held_against(claim: Claim, change: Change, value: Estimate) -> tuple[bool, str]:
    """Whether the value meets the threshold, and what was found beside what is needed."""
    needs = "" if claim.before is None else f" (≥ {claim.before:.2f})"
    found = f"before {share(change.before.value)}{needs}, after {share(change.after.value)}"
    if claim.at_most is not None:
        return _reaches(-value.value, -claim.at_most), f"{found} (≤ {claim.at_most:.2f})"
    if claim.at_least is not None:
        return _reaches(value.value, claim.at_least), f"{found} (≥ {claim.at_least:.2f})"
    if claim.kept is not None:
        return _reaches(value.value, claim.kept), f"{found}, ratio {share(value.value)} (≥ {claim.kept:.2f})"
    return _reaches(value.value, claim.threshold), f"{found}, change {value.value:+.3f} (≥ {claim.threshold:.2f})"


def _settled_by_openings(claim: Claim, holds: bool) -> bool:
    """Whether the openings' mass says enough: it is a lower bound, for a behaviour may begin in other ways as well.

    That what the base began with is gone says something; that the run does not begin so does not.
    """
    if claim.at_most is not None:
        return not holds or claim.before is not None
    return holds


def _fails(claim: Claim) -> str:
    if claim.at_most is not None:
        return f"above {claim.at_most:g} after training"
    if claim.at_least is not None:
        return f"below {claim.at_least:g} after training"
    if claim.kept is not None:
        return f"below {claim.kept:g} of the base's"
    return f"more than {claim.lost:g} below the base's"


def _reaches(value: float, threshold: float) -> bool:
    return value >= threshold - _ROUNDING
