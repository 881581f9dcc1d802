"""What a check finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.pairs.checks.token_lengths import TokenLengths

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and the pairs it is wrong with.

    *error*: the pairs cannot teach what they say, or an evaluation on them would be false; *warning*: likely a mistake;
    *note*: to be known. `ids` are in the order of the file, `hint` says what to do, `groups` are the pairs that belong
    together (each copy with what it copies), `figures` the numbers behind the message, `to_mend` the pairs
    that a repair changes where those are not the named ones.
    """

    check: str
    severity: Severity
    ids: tuple[str, ...]
    message: str
    hint: str
    groups: tuple[tuple[str, ...], ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    to_mend: tuple[str, ...] | None = None

    @property
    def count(self) -> int:
        """How many pairs it names."""
        return len(self.ids)

    def to_json(self, *, repair: bool) -> dict[str, Any]:
        """The finding as `workbench check --json` prints it; `repair` says whether there is a repair for it."""
        found: dict[str, Any] = {
            "check": self.check,
            "severity": self.severity,
            "count": self.count,
            "ids": list(self.ids),
            "message": self.message,
            "hint": self.hint,
            "repair": repair,
        }
        if self.groups:
            found["groups"] = [list(group) for group in self.groups]
        if self.figures:
            found["figures"] = dict(self.figures)
        return found


def finding_from(found: Mapping[str, Any]) -> Finding:
    """The finding that `asdict` and JSON made `found` of."""
    whole = {**found, "ids": tuple(found["ids"]), "groups": tuple(tuple(group) for group in found["groups"])}
    return Finding(**{**whole, "to_mend": None if found["to_mend"] is None else tuple(found["to_mend"])})


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks found: the gravest first, and the lengths of the responses, biased or not.

    `rows` are the pairs of the data set, `checked` those that were looked at: all but the dropped. `tokens` are the
    lengths of their responses, where they were checked with a model.
    """

    rows: int
    checked: int
    findings: tuple[Finding, ...]
    lengths: Mapping[str, Any]
    seconds: Mapping[str, float]
    tokens: TokenLengths | None = None

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)

    def by_id(self) -> dict[str, tuple[str, ...]]:
        """The names of the checks that found something wrong with each pair, for those that have any."""
        found: dict[str, tuple[str, ...]] = {}
        for finding in self.findings:
            for identity in finding.ids:
                names = found.get(identity, ())
                if finding.check not in names:
                    found[identity] = (*names, finding.check)
        return found


def plural(count: int, one: str, many: str) -> str:
    """ "1 pair has" or "1,234 pairs have"."""
    return f"{count:,} {one if count == 1 else many}"
