"""A pair as lines of styled text: the conversation by role, then chosen and rejected with their differences marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from workbench.pairs.diff import Span
from workbench.pairs.pair import Message, Pair, Text, plain
from workbench.text import safe
from workbench.tui.widgets.pair_cells import lengths
from workbench.tui.widgets.wrap import Line, Run, padded, wrap

SIDE_BY_SIDE = 72
"""The fewest cells in which chosen and rejected stand beside each other; in fewer, one below the other."""

_ROLE = 11
_RULE = " │ "
# A text of megabytes would hold up every move of the cursor; nobody reads that much of it here.
_SHOWN = 60_000

_SIGN_STYLES = {"+": "plus", "−": "minus"}
_ONLY_STYLES = {"+": "added", "−": "removed"}

Marks = tuple[list[Span], list[Span]]
"""The differences between chosen and rejected, as `word_diff` tells them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The lines of a pair; the line where the last user turn begins, and the one where the responses do."""

    lines: list[Line]
    question: int
    responses: int


def lay_out(pair: Pair, width: int, marks: Marks | None, tokens: tuple[int, int] | None = None) -> Layout:
    """The pair in lines of at most `width` cells. Without `marks`, differences are not shown; lengths are in `tokens`
    (of chosen and rejected) where these are given, else in words."""
    lines: list[Line] = []
    question = 0
    turns = _turns(pair.prompt)
    last_user = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=len(turns) - 1)
    for index, turn in enumerate(turns):
        if index == last_user:
            question = len(lines)
        style = "text" if index == last_user else "dim"
        texts = wrap([(style, _shown(turn.content))], max(1, width - _ROLE))
        for number, text in enumerate(texts):
            label = turn.role if number == 0 else ""
            lines.append([("role", f"{label:<{_ROLE}}"), *text])
    lines.append([])
    responses = len(lines)
    spans = marks or (None, None)
    chosen, rejected = _heads(pair, tokens)
    if width >= SIDE_BY_SIDE:
        left = (width - len(_RULE)) // 2
        right = width - len(_RULE) - left
        sides = (
            [chosen, *wrap(_runs(pair.chosen, spans[0], "+"), left)],
            [rejected, *wrap(_runs(pair.rejected, spans[1], "−"), right)],
        )
        lines += [[*padded(one or [], left), ("rule", _RULE), *(other or [])] for one, other in zip_longest(*sides)]
    else:
        lines += [chosen, *wrap(_runs(pair.chosen, spans[0], "+"), width), []]
        lines += [rejected, *wrap(_runs(pair.rejected, spans[1], "−"), width)]
    return Layout(lines, question, responses)


def _turns(prompt: Text) -> tuple[Message, ...]:
    return (Message("prompt", prompt),) if isinstance(prompt, str) else prompt


def _heads(pair: Pair, tokens: tuple[int, int] | None) -> tuple[Line, Line]:
    chosen, rejected = lengths(pair, tokens)
    unit = "token" if tokens else "word"
    delta = rejected - chosen
    sign = "+" if delta > 0 else "−" if delta < 0 else "±"
    return (
        [("chosen", "✔ chosen"), ("dim", f"  {_count(chosen, unit)}")],
        [("rejected", "✘ rejected"), ("dim", f"  {_count(rejected, unit)} ({sign}{abs(delta):,})")],
    )


def _count(number: int, unit: str) -> str:
    return f"1 {unit}" if number == 1 else f"{number:,} {unit}s"


def _runs(text: Text, spans: list[Span] | None, sign: str) -> Iterator[Run]:
    """A response in styled runs; each stretch that the other response lacks begins with `sign`."""
    if spans is None or sum(len(span.text) for span in spans) > _SHOWN:
        yield "text", _shown(plain(text))
        return
    begun = ""
    for number, span in enumerate(spans):
        following = spans[number + 1].text if number + 1 < len(spans) else ""
        text, begun = begun + span.text, ""
        if span.kind == "same":
            # A word that begins alike is a different word: the sign goes before it, not into it.
            if text[-1].isalnum() and following and not following[0].isspace():
                begun = text.split()[-1]
                text = text.removesuffix(begun)
            yield "text", safe(text)
            continue
        words_of = text.lstrip()
        yield "text", safe(text[: len(text) - len(words_of)])
        if words_of:
            yield _SIGN_STYLES[sign], sign
            yield _ONLY_STYLES[sign], safe(words_of)


def _shown(text: str) -> str:
    more = len(text) - _SHOWN
    return safe(text) if more <= 0 else f"{safe(text[:_SHOWN])}… and {more:,} more characters"
