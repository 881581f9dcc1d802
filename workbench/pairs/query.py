"""What pairs to show, and in which order: the language of the search line. Finding is `search`'s."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.errors import WorkbenchError
from workbench.pairs.pair import SPLITS, STATUSES

Kind = Literal["label", "text", "length", "margin", "finding"]
ANYWHERE = ("prompt", "chosen", "rejected", "note", "id")
"""Where words without a field are looked for."""

NONE = "none"
"""The value of a label that is not set."""

UNDRAFTED = "undrafted"
"""As a status: pairs whose chosen or rejected answer is to be drafted, whatever they are besides."""

_CLOSED: dict[str, tuple[str, ...]] = {"status": (*STATUSES, UNDRAFTED), "split": (*SPLITS, NONE)}
_LABELS = ("status", "split", "tag", "source")
FIELDS = (*_LABELS, "finding", *ANYWHERE)
MEANINGS: dict[str, str] = {
    "status:": "new, accepted, dropped or flagged; undrafted: an answer is missing; several with commas between",
    "split:": "train, holdout or none",
    "tag:": "a tag; none: pairs without one",
    "finding:": "what a check found (c runs them)",
    "len>": "how many times as long as rejected chosen is: len>1.5",
    "len<": "the same, for chosen shorter than rejected: len<0.5",
    "margin>": "by how much the data prefer chosen (a margin column, scores, ranks): margin>1",
    "margin<": "the same, for less; below 0 they prefer rejected: margin<0",
    "source:": "where a pair is from, or a part of that",
    "prompt:": "words in the prompt; also a /regular expression/",
    "chosen:": "words in the chosen response",
    "rejected:": "words in the rejected response",
    "note:": "words in the note",
    "id:": "a part of the id",
}
"""How a term can begin, and what it then looks for. A minus sign before a term turns it round."""
_VALUE = r'/(?:\\.|[^/\\])*/?(?=\s|$)|(?:"[^"]*"?|[^\s"]+)*'
_TERM = re.compile(
    rf"(?P<minus>-(?=\S))?(?:(?P<field>[A-Za-z_]+):(?!//)(?P<value>{_VALUE})"
    r"|(?P<len>(?i:len|margin))(?P<sign>>=|<=|>|<|=)(?P<number>\S*)"
    r'|"(?P<exact>[^"]*)"?'
    r"|/(?P<regex>(?:\\.|[^/\\])*)/?(?=\s|$)"
    r"|(?P<word>\S+))"
)


@dataclass(frozen=True, slots=True)
class Order:
    """By a column (row, ratio, a text or a label), or by the margins that the run with the id `run` gave."""

    by: str = "row"
    descending: bool = False
    run: str = ""


class QueryError(WorkbenchError):
    """What is wrong with a query, at `position` (from 0), `length` long; `expected`: what could stand there."""

    def __init__(self, title: str, expected: str, position: int, length: int, hint: str = "") -> None:
        super().__init__(title, expected, hint)
        self.expected = expected
        self.position = position
        self.length = length


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. For labels and findings one of `values` is the value (a part of it for source); for text `value`
    is to occur in one of `fields`, whatever the case; for length, chosen words ÷ rejected words stand in the relation
    `sign` to `number`, for margin that by which the data prefer chosen."""

    kind: Kind
    fields: tuple[str, ...]
    values: tuple[str, ...]
    sign: str = ""
    number: float = 0.0
    regex: bool = False
    negated: bool = False

    @property
    def value(self) -> str:
        """The only value, where there can be no other."""
        return self.values[0]


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: a pair is found where every term holds."""

    text: str
    terms: tuple[Term, ...]


def parse(text: str) -> Query:
    """The query in `text`.

    Words, "exact words" and /regular expressions/ (RE2's syntax) are looked for in all text; field:value in a field,
    field:one,other for either; len>1.5 compares how many times as long as rejected chosen is, margin>1 by how much the
    data prefer chosen; a minus sign before a term turns it round. A term that is still being typed ("status:", "len>")
    matches everything. Raises `QueryError`.
    """
    terms = []
    for match in _TERM.finditer(text):
        term = _term(match)
        if term is not None:
            terms.append(term)
    return Query(text, tuple(terms))


def complete(
    text: str, cursor: int, known: Mapping[str, Sequence[str]] | None = None, *, begin: bool = False
) -> list[str]:
    """How the term that ends at `cursor` could go on: whole terms, best first.

    `known` has the values that occur for "tag", "source" and "finding". `begin`: also where nothing is typed yet.
    """
    typed = text[term_begin(text, cursor) : cursor]
    minus = "-" if typed.startswith("-") else ""
    typed = typed.removeprefix("-")
    field, colon, value = typed.partition(":")
    if not colon:
        return [minus + name for name in MEANINGS if name.startswith(typed.casefold()) and (typed or begin)]
    field = field.casefold()
    values = (*_CLOSED.get(field, ()), *(known or {}).get(field, ()), *((NONE,) if field == "tag" else ()))
    before, comma, value = value.rpartition(",") if field in _LABELS else ("", "", value)
    value, there = value.strip('"').casefold(), before.casefold().split(",")
    values = tuple(option for option in values if option.casefold() not in there)
    begins = [option for option in values if option.casefold().startswith(value)]
    holds = [option for option in values if value in option.casefold() and option not in begins]
    quoted = [f'"{option}"' if re.search(r"[\s,]", option) else option for option in (*begins, *holds)]
    return [f"{minus}{field}:{before}{comma}{option}" for option in quoted]


def term_begin(text: str, cursor: int) -> int:
    """Where the term that ends at `cursor` begins."""
    return max(text.rfind(" ", 0, cursor), text.rfind("\t", 0, cursor)) + 1


def _term(match: re.Match[str]) -> Term | None:
    negated = bool(match["minus"])
    if match["len"]:
        return _length(match, negated=negated)
    if match["field"] is None:
        regex = match["regex"] is not None
        value = match["regex"] if regex else match["exact"] if match["exact"] is not None else match["word"]
        return _text(value, ANYWHERE, regex=regex, negated=negated, at=match.start("regex"))
    field, value = match["field"].casefold(), match["value"]
    at = match.start("value")
    if field not in FIELDS:
        raise _unknown("field", match["field"], (*FIELDS, "len", "margin"), match.start("field"))
    if field in ANYWHERE:
        regex = value.startswith("/") and len(value) > 1
        value = value[1:].removesuffix("/") if regex else value.strip('"')
        return _text(value, (field,), regex=regex, negated=negated, at=at + regex)
    values = tuple(_values(field, value, at))
    return Term("finding" if field == "finding" else "label", (field,), values, negated=negated) if values else None


def _values(field: str, given: str, at: int) -> Iterator[str]:
    """The values between the commas; quotes keep a comma from parting them."""
    for match in re.finditer(r'"(?P<quoted>[^"]*)"?|(?P<plain>[^,"]+)', given):
        value = (match["quoted"] if match["plain"] is None else match["plain"]).casefold()
        if value:
            yield _one_of(field, value, _CLOSED[field], at + match.start()) if field in _CLOSED else value


def _text(value: str, fields: tuple[str, ...], *, regex: bool, negated: bool, at: int) -> Term | None:
    if not value:
        return None
    if regex:
        _check_regex(value, at)
    return Term("text", fields, (value,), regex=regex, negated=negated)


def _length(match: re.Match[str], *, negated: bool) -> Term | None:
    if not match["number"]:
        return None
    kind: Kind = "margin" if match["len"].casefold() == "margin" else "length"
    try:
        number = float(match["number"].removesuffix("x"))
    except ValueError:
        at = match.start("number")
        raise QueryError(
            f"Not a number: {match['number']!r}",
            "After len> comes how many times as long as rejected chosen is, such as 1.5."
            if kind == "length"
            else "After margin> comes by how much the data prefer chosen, such as 1.",
            at,
            len(match["number"]),
        ) from None
    return Term(kind, (), (match["number"],), sign=match["sign"], number=number, negated=negated)


def _check_regex(value: str, at: int) -> None:
    # Imported here: most queries need no Arrow, and it takes 0.1 s.
    import pyarrow as pa
    import pyarrow.compute as pc

    from workbench.pairs.arrow import strings

    try:
        pc.match_substring_regex(strings([""]), value)
    except (pa.ArrowException, UnicodeEncodeError) as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise QueryError(
            "Not a regular expression", reason, at, len(value), "Look for the signs themselves in quotes."
        ) from None


def _one_of(field: str, value: str, known: Sequence[str], at: int) -> str:
    """The known value that `value` is or begins ("status:acc")."""
    matches = [option for option in known if option.startswith(value)]
    if not matches:
        raise _unknown(field, value, known, at)
    return matches[0]


def _unknown(what: str, given: str, known: Sequence[str], at: int) -> QueryError:
    close = difflib.get_close_matches(given.casefold(), known, n=1, cutoff=0.5)
    return QueryError(
        f"No {what} {given!r} to search by",
        f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}.",
        at,
        len(given),
        'To find words with a colon in them, put them in quotes: "like: this".',
    )
