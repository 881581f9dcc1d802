"""What the checks look for and what they find. Light: help, completion and screens read it."""

from __future__ import annotations

import base64
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, TypeVar

CHECKS: dict[str, str] = {
    "empty": "empty or white space",
    "empty-turn": "an empty turn in the conversation",
    "undrafted": "an answer is to be drafted",
    "balance": "many more answers judged good than bad, or the other way",
    "identical": "chosen equals rejected",
    "identical-words": "chosen and rejected differ only in case, white space or typographic signs",
    "roles": "turns out of order",
    "turn-marker": "a transcript's turn marker inside a response",
    "contradiction": "A over B here, B over A there",
    "good-and-bad": "an answer judged good here and bad there",
    "leak": "the same prompt in train and holdout",
    "duplicate": "word for word an earlier pair",
    "repeated-answer": "an answer that is judged alone, twice",
    "near-duplicate": "nearly an earlier pair",
    "length-bias": "chosen is systematically longer or shorter",
    "too-similar": "responses so alike that both may lose probability",
    "invisible": "control, direction or invisible characters",
    "encoding": "text read in the wrong encoding",
    "lost-characters": "characters lost to a wrong encoding",
    "refusal": "chosen refuses what seems harmless",
    "swap": "rejected looks better",
    "plain-text": "plain text, where the model has a chat template",
    "template": "the chat template refuses the conversation",
    "outside": "tokens that the model has no embedding for",
    "identical-rendered": "chosen and rejected are the same in the chat template",
    "left-out": "the chat template leaves out what turns say",
    "fallback-template": "the model has no chat template",
    "dropped": "the prompt alone fills max_length",
    "truncated": "the end of a response is cut off at max_length",
    "identical-cut": "chosen and rejected are the same once cut",
    "no-stop": "a response does not end in a stop token",
}
"""The names that findings have, the gravest first; the last ten need a model."""

NEEDS_MODEL = frozenset(list(CHECKS)[-10:])
SLOW = frozenset({"near-duplicate"})
_ORDER = {name: number for number, name in enumerate(CHECKS)}

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class CheckFinding:
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

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> CheckFinding:
        """The finding whose fields went through JSON."""
        lists = {name: fields[name] and tuple(fields[name]) for name in ("ids", "to_mend")}
        return cls(**{**fields, **lists, "groups": tuple(map(tuple, fields["groups"]))})

    @property
    def gravity(self) -> tuple[int, int]:
        """The gravest findings have the least."""
        return SEVERITIES.index(self.severity), _ORDER[self.check]

    @property
    def count(self) -> int:
        """How many pairs it names."""
        return len(self.ids)

    def to_json(self, *, repair: bool) -> dict[str, Any]:
        """The finding as `workbench check --json` prints it; `repair` says whether there is a repair for it."""
        document: dict[str, Any] = {
            "check": self.check,
            "severity": self.severity,
            "count": self.count,
            "ids": list(self.ids),
            "message": self.message,
            "hint": self.hint,
            "repair": repair,
        }
        if self.groups:
            document["groups"] = [list(group) for group in self.groups]
        if self.figures:
            document["figures"] = dict(self.figures)
        return document


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """Tokens of chosen and rejected by id, in 16 bytes a pair.

    Ids are kept as 64-bit hashes, ascending: among a million pairs two of them meet once in 40 million data sets.
    """

    keys: array[int]
    chosen: array[int]
    rejected: array[int]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, int, int]]) -> TokenLengths:
        """Of (id, tokens of chosen, tokens of rejected)."""
        counts = sorted((_key(identity), chosen, rejected) for identity, chosen, rejected in pairs)
        return cls(*(array(kind, (row[column] for row in counts)) for column, kind in enumerate("QII")))

    @classmethod
    def from_json(cls, columns: list[str]) -> TokenLengths:
        """What `to_json` made."""
        return cls(*(array(kind, base64.b64decode(text)) for kind, text in zip("QII", columns, strict=True)))

    def to_json(self) -> list[str]:
        """The columns as base64, for another process of this machine."""
        return [base64.b64encode(column.tobytes()).decode() for column in (self.keys, self.chosen, self.rejected)]

    def __len__(self) -> int:
        return len(self.keys)

    def get(self, identity: str) -> tuple[int, int] | None:
        """The tokens of the pair's chosen and rejected; None where they are not known."""
        key = _key(identity)
        entry = bisect_left(self.keys, key)
        if entry < len(self.keys) and self.keys[entry] == key:
            return self.chosen[entry], self.rejected[entry]
        return None


def _key(identity: str) -> int:
    return int.from_bytes(blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class ChecksReport:
    """What all checks found: the gravest first, and the lengths of the responses, biased or not.

    `rows` are the pairs of the data set, `checked` those that were looked at: all but the dropped. `tokens` are the
    lengths of their responses, where they were checked with a model.
    """

    rows: int
    checked: int
    findings: tuple[CheckFinding, ...]
    lengths: Mapping[str, Any]
    seconds: Mapping[str, float]
    tokens: TokenLengths | None = None

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)


def checks_by_id(findings: Iterable[CheckFinding]) -> dict[str, tuple[str, ...]]:
    """The names of the checks that found something wrong with each pair, for those that have any."""
    checks: dict[str, tuple[str, ...]] = {}
    for finding in findings:
        alone = (finding.check,)  # One tuple for all pairs of one finding: there may be many.
        for identity in dict.fromkeys(finding.ids):
            names = checks.get(identity)
            checks[identity] = alone if names is None else names + alone
    return checks


_Item = TypeVar("_Item")
OnProgress = Callable[[str, float], None]
"""Called with the name of a check, and how much of it is done, from 0 to 1."""
_EVERY = 2000


@dataclass(frozen=True, slots=True)
class Watch:
    """Tells how far one check is."""

    check: str
    on_progress: OnProgress

    def tick(self, done: int, total: int) -> None:
        """`done` of `total` is done."""
        self.on_progress(self.check, done / total if total else 1.0)

    def over(self, items: Sequence[_Item]) -> Iterator[tuple[int, _Item]]:
        """The items with their numbers, ticking now and then."""
        for number, item in enumerate(items):
            if number % _EVERY == 0:
                self.tick(number, len(items))
            yield number, item
