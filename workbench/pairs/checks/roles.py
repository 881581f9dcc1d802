"""Conversations whose turns are out of order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from workbench.figures import plural
from workbench.pairs.checks.findings import CheckFinding, Watch
from workbench.pairs.checks.text_columns import TextColumns, shape
from workbench.pairs.pair import Pair

_PROMPT = re.compile(r"s?d?(u(at+)*a)*u(at+)*")
_RESPONSE = re.compile(r"a(t+a)*(u(at+)*a)*")
_ROUGH_MARKER = r"(?:Human|Assistant|User)\s?:|<\|"
_MARKER = re.compile(r"(?:^|\n)\s*(?:Human|Assistant|User)\s?:|<\|(?:im_start|im_end|eot_id|start_header_id)\|>")
_NAMES = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}


def roles(columns: TextColumns, _: Watch) -> Iterator[CheckFinding]:
    """Prompts that do not go (system, developer) user assistant user … user, and responses that the assistant does not
    open and close. Tools answer the assistant."""
    reasons = {turns: reason for turns in set(columns.shapes) if turns and (reason := _wrong(turns))}
    if not reasons:
        return
    named = [index for index, turns in enumerate(columns.shapes) if turns in reasons]
    counts = Counter(reasons[columns.shapes[index]] for index in named)
    examples = "; ".join(f"{count:,} {reason}" for reason, count in counts.most_common(3))
    yield CheckFinding(
        "roles",
        "error",
        columns.named(named),
        f"{plural(len(named), 'pair has', 'pairs have')} turns out of order ({examples}).",
        "Most chat templates refuse or misread such a conversation: join, add or take out turns.",
        figures={"reasons": dict(counts)},
    )


def turn_markers(columns: TextColumns, _: Watch) -> Iterator[CheckFinding]:
    """Responses with the marker of another turn in them, as of a transcript that was not parted there."""
    named = [
        index
        for index in columns.matching(_ROUGH_MARKER, "chosen", "rejected")
        if _MARKER.search(columns.chosen[index]) or _MARKER.search(columns.rejected[index])
    ]
    if not named:
        return
    yield CheckFinding(
        "turn-marker",
        "warning",
        columns.named(named),
        f'{plural(len(named), "pair has", "pairs have")} a turn marker ("Human:", "Assistant:") inside a response.',
        "Cut the response off there: the model would learn to speak for the user.",
    )


def order_fault(pair: Pair) -> str:
    """Why the turns of one pair are out of order; empty where they are not, and for plain text."""
    turns = shape(pair)
    return _wrong(turns) if turns else ""


def _wrong(turns: str) -> str:
    """Why the turns are out of order; empty where they are not."""
    prompt, chosen, rejected = turns.split("|")
    for name, response in (("chosen", chosen), ("rejected", rejected)):
        if not _RESPONSE.fullmatch(response):
            return f"{name}: {_fault(response, ends='a')}"
    return "" if _PROMPT.fullmatch(prompt) else f"prompt: {_fault(prompt, ends='ut')}"


def _fault(turns: str, ends: str) -> str:
    if not turns:
        return "no turn"
    opening = "" if ends == "a" else turns[: len(turns) - len(re.sub("^s?d?", "", turns))]
    if inside := re.search("[sd]", turns[len(opening) :]):
        return f"a {_NAMES[inside.group()]} turn inside"
    for one, other in pairwise(turns):
        if one == other != "t":
            return f"two {_NAMES[one]} turns in a row"
    if turns[-1] not in ends:
        return f"ends with a {_NAMES[turns[-1]]} turn"
    first = turns[len(opening) :][:1]
    if first != ("a" if ends == "a" else "u"):
        return f"begins with {'an' if first == 'a' else 'a'} {_NAMES.get(first, 'missing')} turn"
    return "a tool turn where none was called"
