"""Pairs whose responses are too much alike for DPO."""

from __future__ import annotations

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.keys import same_words
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.watch import Watch

LIMIT = 0.1
"""Edits a character of the longer response: about the 6.5% at which the authors of DPO-Positive saw DPO lower both."""
_CHUNK = 4000


def too_similar(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs whose responses are within `LIMIT` by edit distance and yet not the same words.

    Their shared tokens drown the few that differ: DPO then pushes down chosen and rejected alike (displacement).
    """
    from rapidfuzz.distance import Levenshtein

    places = [place for place, (one, other) in enumerate(_responses(columns)) if one != other and _may_be(one, other)]
    named: list[int] = []
    for done in range(0, len(places), _CHUNK):
        watch.tick(done, len(places))
        for place in places[done : done + _CHUNK]:
            one, other = columns.chosen[place], columns.rejected[place]
            most = int(LIMIT * max(len(one), len(other)))
            close = Levenshtein.distance(one, other, score_cutoff=most) <= most
            if close and same_words(one) != same_words(other):
                named.append(place)
    if not named:
        return []
    return [
        Finding(
            "too-similar",
            "warning",
            columns.named(named),
            f"{plural(len(named), 'pair has', 'pairs have')} responses that differ in less than {LIMIT:.0%} of their"
            " characters.",
            "Likely displacement (both responses lose probability): make the difference larger, or train with an"
            " added likelihood term (loss sigmoid + sft).",
        )
    ]


def _responses(columns: Texts) -> list[tuple[str, str]]:
    return list(zip(columns.chosen, columns.rejected, strict=True))


def _may_be(one: str, other: str) -> bool:
    """Whether the lengths allow it, and some stretch that one edit in ten must leave whole is in both."""
    long = max(len(one), len(other))
    most = int(LIMIT * long)
    if not most or abs(len(one) - len(other)) > most:
        return False
    # Cut into most + 1 pieces, at least one piece of `one` is untouched; the first few pieces tell in most cases.
    piece = max(1, len(one) // (most + 1))
    return any(one[start : start + piece] in other for start in range(0, len(one), piece))
