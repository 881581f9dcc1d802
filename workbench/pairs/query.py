"""Finds pairs: words that must all occur, and field:value conditions. Pure; the search line and the filters use it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from workbench.errors import WorkbenchError
from workbench.pairs.pair import SPLITS, STATUSES, Pair, plain

_TERM = re.compile(r'(?P<field>[A-Za-z_]+):(?!/)(?P<value>"[^"]*"?|\S*)|"(?P<exact>[^"]*)"?|(?P<word>\S+)')

Test = Callable[[Pair], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: a pair matches where every test holds."""

    text: str
    tests: tuple[Test, ...]

    def __call__(self, pair: Pair) -> bool:
        """Whether the pair is found."""
        return all(test(pair) for test in self.tests)


def parse(text: str) -> Query:
    """The query in `text`: words and "exact words" (all must occur, whatever the case), status: split: tag: source:.

    A field with nothing after the colon matches everything: it is still being typed. Raises `WorkbenchError` for
    fields and values that do not exist, naming the nearest that does.
    """
    fields: list[Test] = []
    words: list[str] = []
    for term in _TERM.finditer(text):
        if term["field"]:
            value = term["value"].strip('"').casefold()
            make = _FIELDS.get(term["field"].casefold())
            if make is None:
                raise _unknown("field", term["field"], tuple(_FIELDS))
            if value:
                fields.append(make(value))
        elif word := (term["exact"] or term["word"] or "").casefold():
            words.append(word)
    # Words last: they cost most, and the fields before them leave fewer pairs.
    return Query(text, (*fields, _words(words)) if words else tuple(fields))


def matches(pair: Pair, query: Query | str) -> bool:
    """Whether a pair is found by a query (a text is parsed first, and may raise as `parse` does)."""
    return (parse(query) if isinstance(query, str) else query)(pair)


def select(pairs: Iterable[Pair], query: Query | str) -> list[int]:
    """The indices of the pairs that a query finds, ascending."""
    parsed = parse(query) if isinstance(query, str) else query
    return [index for index, pair in enumerate(pairs) if parsed(pair)]


def _words(words: Sequence[str]) -> Test:
    def holds(pair: Pair) -> bool:
        text = "\n".join((plain(pair.prompt), plain(pair.chosen), plain(pair.rejected), pair.note, pair.id)).casefold()
        return all(word in text for word in words)

    return holds


def _status(value: str) -> Test:
    status = _one_of("status", value, STATUSES)
    return lambda pair: pair.status == status


def _split(value: str) -> Test:
    side = _one_of("split", value, (*SPLITS, "none"))
    return lambda pair: (pair.split or "none") == side


def _tag(value: str) -> Test:
    return lambda pair: any(tag.casefold() == value for tag in pair.tags)


def _source(value: str) -> Test:
    return lambda pair: value in pair.source.casefold()


_FIELDS: dict[str, Callable[[str], Test]] = {"status": _status, "split": _split, "tag": _tag, "source": _source}


def _one_of(field: str, value: str, known: Sequence[str]) -> str:
    """The known value that `value` is or begins ("status:acc"); raises `WorkbenchError` where it is none."""
    found = [each for each in known if each.startswith(value)]
    if not found:
        raise _unknown(field, value, known)
    return found[0]


def _unknown(what: str, given: str, known: Sequence[str]) -> WorkbenchError:
    close = difflib.get_close_matches(given.casefold(), known, n=1, cutoff=0.5)
    return WorkbenchError(
        f"No {what} {given!r} to search by",
        f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}.",
        'To find words with a colon in them, put them in quotes: "like: this".',
    )
