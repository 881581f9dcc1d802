"""What the suites of a workspace can and cannot show, said before anything is trained."""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.behaviours.behaviour import PROPERTIES, told_on
from workbench.evidence.claims import Claim
from workbench.evidence.measurements import ANSWERS, BEGINNINGS, HELD_OUT, OWN
from workbench.evidence.probes import Probe, by_kind, openings_of
from workbench.evidence.settings import Plan
from workbench.evidence.statistics import LEVEL
from workbench.evidence.suites.exactness import KindSize, settled_from, size
from workbench.evidence.suites.prompts import PromptTokens, repeated, trained_on, unreadable
from workbench.figures import plural
from workbench.pairs.checks.findings import SEVERITIES, CheckFinding, Severity
from workbench.pairs.pair import Text
from workbench.text import quoted

CHECKS: Mapping[str, str] = {
    "two-kinds": "one prompt is of two kinds",
    "leak": "a prompt that a data set trains on",
    "template": "the chat template refuses a prompt",
    "too-long": "a prompt and its answer do not fit into the model's context",
    "unmeasured": "a claim that nothing is measured for",
    "no-probes": "a claim about a kind that has no probes",
    "too-few": "fewer probes than a claim needs",
    "few-groups": "so few groups that intervals are wide",
    "out-of-reach": "a threshold that so few probes cannot settle",
    "no-claim": "a kind that no claim speaks of",
    "unknown-name": "a response or opening of no behaviour that is known",
    "duplicate": "a prompt that is asked twice",
    "no-template": "the model has no chat template of its own",
    "plain-prompt": "a prompt that a chat model is asked without its template",
    "no-response": "a probe that names no response",
    "no-opening": "a behaviour of which no way to begin is known",
    "unused-opening": "openings that the base hardly ever uses",
}
"""The names that findings have, the gravest first."""
WHOLE_KIND = "kind"
"""The figure of a finding that is about all probes of a kind: which one."""
_FEW_GROUPS = 10
"""Of fewer groups, no interval is narrow: one group is a tenth of what is known."""
_NAMED = ("probability", "log-probability", "log-probability a token")
"""Measures that are taken of named responses alone."""
_OF_THE_BASE = (ANSWERS, OWN, BEGINNINGS)
"""Responses that the base gives by itself where answers are sampled."""


@dataclass(frozen=True, slots=True)
class ClaimReach:
    """What a claim could be judged by: for each of its measures, how many probes it would be taken on."""

    claim: str
    kind: str
    behaviour: str
    probes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BaseBeginnings:
    """How often answers of the base to the probes of a kind begin as `behaviour` does, on average: a probability."""

    kind: str
    behaviour: str
    probes: int
    mass: float


@dataclass(frozen=True, slots=True)
class SuitesReport:
    """What was found, the gravest first. `openings`: where they were measured."""

    kinds: Sequence[KindSize]
    claims: Sequence[ClaimReach]
    openings: Sequence[BaseBeginnings]
    findings: Sequence[CheckFinding]

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)


@dataclass(slots=True)
class _Suites:
    """The probes, and what they are measured by."""

    probes: Sequence[Probe]
    plan: Plan
    kinds: Mapping[str, Sequence[Probe]] = field(init=False)

    def __post_init__(self) -> None:
        self.kinds = by_kind(self.probes)

    @property
    def claims(self) -> dict[str, Claim]:
        """The claims about probes."""
        return {name: claim for name, claim in self.plan.claims.items() if claim.kind != HELD_OUT}

    def measured(self, claim: Claim, measure: str) -> int:
        """On how many probes `measure` is taken of what `claim` speaks of."""
        probes, name = self.kinds.get(claim.kind, ()), claim.behaviour
        sampled = self.plan.settings.samples > 0
        behaviour = self.plan.behaviours.get(name)
        if measure == "samples":
            told = behaviour is not None and told_on(behaviour, claim.kind)
            return len(probes) if sampled and (told or name in PROPERTIES) else 0
        if measure == "opening":
            return sum(name in openings_of(probe, self.plan.behaviours) for probe in probes)
        if name in _OF_THE_BASE and sampled:
            return len(probes)
        return sum(bool(probe.responses) if name == ANSWERS else name in probe.responses for probe in probes)


def check_suites(
    probes: Sequence[Probe],
    plan: Plan,
    training: Mapping[str, Iterable[Text]],
    tokens: PromptTokens | None = None,
    openings: Mapping[str, Mapping[str, float]] | None = None,
) -> SuitesReport:
    """What `probes` can show under `plan`.

    `training`: by data set, the prompts that it trains on. `openings`: by the probes' ids and by behaviour, how
    probable it is that an answer of the base begins so.
    """
    suites = _Suites(probes, plan)
    begun = list(_begun(suites, openings or {}))
    findings = [
        *repeated(probes),
        *trained_on(probes, training),
        *_sizes(suites),
        *_claims(suites),
        *_names(suites),
        *_responses(suites),
        *_openings(suites),
        *(unreadable(probes, tokens, plan.settings.answer_tokens) if tokens else ()),
        *_unused(suites, begun),
    ]
    order = list(CHECKS)
    findings.sort(key=lambda finding: (SEVERITIES.index(finding.severity), order.index(finding.check)))
    reach = [
        ClaimReach(name, claim.kind, claim.behaviour, {by: suites.measured(claim, by) for by in claim.by})
        for name, claim in suites.claims.items()
    ]
    return SuitesReport([size(kind, same_kind) for kind, same_kind in suites.kinds.items()], reach, begun, findings)


def _sizes(suites: _Suites) -> Iterator[CheckFinding]:
    for kind, probes in suites.kinds.items():
        about = [name for name, claim in suites.claims.items() if claim.kind == kind]
        if not about:
            yield _of_kind(
                "no-claim",
                "warning",
                kind,
                probes,
                f"No claim speaks of the kind {kind!r}: its {plural(len(probes), 'probe is', 'probes are')} measured,"
                f" and no verdict follows.{_meant(kind, {claim.kind for claim in suites.claims.values()})}",
                f'Add a claim to workbench.toml: [claim."…"] with kind = "{kind}", or change the kind.',
            )
        elif len(probes) < suites.plan.settings.fewest:
            yield _of_kind(
                "too-few",
                "warning",
                kind,
                probes,
                f"{plural(len(probes), 'probe is', 'probes are')} of the kind {kind}, {suites.plan.settings.fewest} are"
                f" needed: nothing can be said of {_list(about)}.",
                "Add probes, or lower `fewest` in workbench.toml, section [evidence].",
            )
        elif (found := size(kind, probes)).groups < _FEW_GROUPS:
            width = "unknown" if found.width[0] is None else f"± {found.width[0]:.2f} at worst"
            yield _of_kind(
                "few-groups",
                "warning",
                kind,
                probes,
                f"The {len(probes)} {kind} probes are in {plural(found.groups, 'group')}:"
                f" the interval of a share is {width}.",
                "Add probes about other subjects, or give probes that are not alike groups of their own.",
            )


def _claims(suites: _Suites) -> Iterator[CheckFinding]:
    absent: defaultdict[str, list[str]] = defaultdict(list)
    for name, claim in suites.claims.items():
        probes = suites.kinds.get(claim.kind, ())
        if not probes:
            absent[claim.kind].append(name)
            continue
        counts = {by: suites.measured(claim, by) for by in claim.by}
        most = max(counts.values())
        if not most:
            yield _of_kind(
                "unmeasured",
                "warning",
                claim.kind,
                probes,
                f"Nothing is measured for the claim {name!r}: {_lacks(suites, claim)}.",
                _way_out(suites, claim),
            )
        elif most < suites.plan.settings.fewest <= len(probes):
            yield CheckFinding(
                "too-few",
                "warning",
                tuple(probe.id for probe in probes if claim.behaviour not in probe.responses),
                f"The claim {name!r} is measured on {most} of the {len(probes)} {claim.kind} probes,"
                f" {suites.plan.settings.fewest} are needed.",
                _way_out(suites, claim),
            )
        elif (
            claim.at_most is not None
            and counts.get("samples")
            and suites.plan.settings.fewest <= len(probes) < (need := settled_from(claim.at_most))
        ):
            least = 1 - ((1 - LEVEL) / 2) ** (1 / len(probes))
            yield _of_kind(
                "out-of-reach",
                "note",
                claim.kind,
                probes,
                f"{len(probes)} {claim.kind} probes cannot settle {name!r} (≤ {claim.at_most:g}):"
                f" where none does so the interval still reaches {least:.3f}.",
                f"The verdict goes by the value, and says so. For the interval to stay below it takes {need:,} probes.",
                figures={"needed": need, "reaches": least},
            )
    for kind, names in absent.items():
        yield CheckFinding(
            "no-probes",
            "warning",
            (),
            f"There are no probes of the kind {kind!r}: nothing can be said of {_list(names)}.",
            f"Add some: workbench probes add --list, or workbench probes import FILE --kind {quoted(kind)}",
        )


def _lacks(suites: _Suites, claim: Claim) -> str:
    named = [by for by in claim.by if by in _NAMED]
    if suites.plan.settings.samples == 0 and "samples" in claim.by:
        return f"no answers are sampled, and no {claim.kind} probe names a {claim.behaviour!r} response or opening"
    if named:
        return f"no {claim.kind} probe names a {claim.behaviour!r} response"
    return f"{claim.behaviour!r} is measured by {', '.join(claim.by)}, which no {claim.kind} probe allows"


def _way_out(suites: _Suites, claim: Claim) -> str:
    if suites.plan.settings.samples == 0 and "samples" in claim.by:
        return "Let answers be sampled: samples = 2 in workbench.toml, section [evidence]."
    return f'Name what such an answer would be: "responses": {{"{claim.behaviour}": "…"}}'


def _names(suites: _Suites) -> Iterator[CheckFinding]:
    """Names of responses and openings that mean nothing: most likely they are misspelt."""
    known = {*suites.plan.behaviours, *PROPERTIES}
    for kind, probes in suites.kinds.items():
        claimed = {claim.behaviour for claim in suites.claims.values() if claim.kind == kind}
        if ANSWERS in claimed:
            continue  # Whatever a response is called there: the divergence is measured on it.
        unknown: defaultdict[str, list[str]] = defaultdict(list)
        for probe in probes:
            for name in dict.fromkeys([*probe.responses, *probe.openings]):
                if name not in known | claimed:
                    unknown[name].append(probe.id)
        for name, ids in unknown.items():
            yield CheckFinding(
                "unknown-name",
                "warning",
                tuple(ids),
                f"{plural(len(ids), f'{kind} probe names', f'{kind} probes name')} {name!r},"
                f" which is no known behaviour and in no claim.{_meant(name, known | claimed)}",
                f"Rename it, or define it in workbench.toml: [behaviour.{name}]",
            )


def _responses(suites: _Suites) -> Iterator[CheckFinding]:
    for kind, probes in suites.kinds.items():
        named = {
            claim.behaviour for claim in suites.claims.values() if claim.kind == kind and set(claim.by) & set(_NAMED)
        }
        without = tuple(probe.id for probe in probes if not probe.responses)
        if without and named - set(_OF_THE_BASE) and len(without) < len(probes):
            yield CheckFinding(
                "no-response",
                "note",
                without,
                f"{len(without)} of {len(probes)} {kind} probes name no response: what is measured in nats a token,"
                " displacement among it, is measured on the others alone.",
                f"Name responses ({', '.join(sorted(named))}), or leave it to samples.",
            )


def _openings(suites: _Suites) -> Iterator[CheckFinding]:
    unknown: defaultdict[str, list[str]] = defaultdict(list)
    for claim in suites.claims.values():
        if claim.kind in suites.kinds and "opening" in claim.by and not suites.measured(claim, "opening"):
            unknown[claim.kind].append(claim.behaviour)
    for kind, behaviours in unknown.items():
        probes = suites.kinds[kind]
        yield _of_kind(
            "no-opening",
            "note",
            kind,
            probes,
            f"Neither {kind} probes nor behaviours say how {_list(behaviours)} answers begin: their share is known from"
            " samples alone, not from the probability of their beginnings.",
            f'Say so in the probes: "openings": {{"{behaviours[0]}": ["…"]}}, or for all in workbench.toml.',
        )


def _begun(suites: _Suites, openings: Mapping[str, Mapping[str, float]]) -> Iterator[BaseBeginnings]:
    for kind, probes in suites.kinds.items():
        masses: defaultdict[str, list[float]] = defaultdict(list)
        for probe in probes:
            for behaviour, mass in openings.get(probe.id, {}).items():
                masses[behaviour].append(mass)
        for behaviour, of_kind in masses.items():
            yield BaseBeginnings(kind, behaviour, len(of_kind), math.fsum(of_kind) / len(of_kind))


def _unused(suites: _Suites, begun: Iterable[BaseBeginnings]) -> Iterator[CheckFinding]:
    least = suites.plan.settings.least_probability
    for found in begun:
        if found.mass < least:
            yield _of_kind(
                "unused-opening",
                "note",
                found.kind,
                suites.kinds[found.kind],
                f"The base begins answers to {found.kind} probes as {found.behaviour!r} does with a probability of"
                f" {found.mass:.1g} (less than {least:g}): it can rise from there, but hardly fall.",
                "If the base answers so in other words, add those to the openings: workbench generate shows them.",
                {"mass": found.mass},
            )


def _of_kind(
    check: str,
    severity: Severity,
    kind: str,
    probes: Iterable[Probe],
    message: str,
    hint: str,
    figures: Mapping[str, Any] | None = None,
) -> CheckFinding:
    """A finding about all probes of a kind."""
    ids = tuple(probe.id for probe in probes)
    return CheckFinding(check, severity, ids, message, hint, figures={WHOLE_KIND: kind, **(figures or {})})


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
