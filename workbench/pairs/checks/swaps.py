"""Pairs whose rejected response looks better: chosen and rejected were likely exchanged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.watch import Watch
from workbench.pairs.checks.words import ABUSE, ASKED_FOR

_SCORES = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("chosen_rating", "rejected_rating"))
SCORES = frozenset(name for names in _SCORES for name in names)
"""Columns that say how good a response is."""
_SENTENCE = re.compile(r"[.!?\n]\s*")
_MANY = 6
_LONG = 150
_SHORT = 15


def swap(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs whose own scores say the opposite, and those whose chosen response insults, repeats itself over and over
    or stops at its first word while the rejected one does not. A heuristic but for the scores."""
    watch.tick(0, 1)
    reasons: dict[int, str] = {}
    for place, extra in columns.extras.items():
        if _scored_the_other_way(extra):
            reasons[place] = "scored the other way round"
    for place in columns.matching(ABUSE.pattern, "chosen", ignore_case=True):
        chosen, rejected = columns.chosen[place], columns.rejected[place]
        if _insults(chosen) and not _insults(rejected) and not ASKED_FOR.search(columns.prompts[place]):
            reasons.setdefault(place, "chosen insults")
    for place, (chosen, rejected) in watch.each(list(zip(columns.chosen, columns.rejected, strict=True))):
        if len(chosen) <= _SHORT and len(rejected) >= _LONG and _breaks_off(chosen) and not _breaks_off(rejected):
            reasons.setdefault(place, "chosen breaks off")
        elif len(chosen) > _LONG and _repeats(chosen) and not _repeats(rejected):
            reasons.setdefault(place, "chosen repeats itself")
    if not reasons:
        return []
    counts = Counter(reasons.values())
    told = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    return [
        Finding(
            "swap",
            "warning",
            columns.named(sorted(reasons)),
            f"{plural(len(reasons), 'pair looks', 'pairs look')} exchanged: rejected seems the better one ({told}).",
            "Read them; swap where the rejected response is the better one.",
            figures={"reasons": dict(counts)},
        )
    ]


def _scored_the_other_way(extra: Mapping[str, Any]) -> bool:
    for better, worse in _SCORES:
        one, other = extra.get(better), extra.get(worse)
        if isinstance(one, int | float) and isinstance(other, int | float):
            return one < other
    return False


def _insults(text: str) -> bool:
    return any(not _quoted(text, match.start()) for match in ABUSE.finditer(text))


def _quoted(text: str, place: int) -> bool:
    """Whether a place lies between quotation marks."""
    return text[:place].count('"') % 2 == 1 or text[:place].count("“") > text[:place].count("”")


def _breaks_off(text: str) -> bool:
    """Whether a text ends without a sign that ends a sentence, a list or a quotation."""
    return not text.rstrip().endswith((".", "!", "?", ":", ")", "]", '"', "'", "”", "’", "…", "`"))


def _repeats(text: str) -> bool:
    """Whether half of the text's sentences, six or more of them, are copies, as of a model caught in a loop."""
    parts = [part for part in _SENTENCE.split(text) if part]
    return len(parts) >= _MANY and len(set(parts)) <= len(parts) / 2
