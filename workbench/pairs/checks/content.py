"""Pairs with nothing in them to learn: empty texts, and responses that are the same or too much alike for DPO."""

from __future__ import annotations

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.keys import same_words
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.watch import Watch


def empty(columns: Texts, watch: Watch) -> list[Finding]:
    """Prompts and responses with nothing but white space in them, and empty turns among others."""
    watch.tick(0, 1)
    blank = {
        name: [place for place, text in enumerate(texts) if not text or text.isspace()]
        for name, texts in columns.fields.items()
    }
    findings = []
    if places := sorted({place for found in blank.values() for place in found}):
        parts = ", ".join(f"{len(found):,} {name}" for name, found in blank.items() if found)
        findings.append(
            Finding(
                "empty",
                "error",
                columns.named(places),
                f"{plural(len(places), 'pair has', 'pairs have')} an empty text ({parts}).",
                "Write what is missing, or drop them.",
            )
        )
    whole = set(places)
    if turns := [place for place in columns.empty_turns if place not in whole]:
        findings.append(
            Finding(
                "empty-turn",
                "warning",
                columns.named(turns),
                f"{plural(len(turns), 'pair has', 'pairs have')} an empty turn in the conversation.",
                "Take the turn out, or write what was said; some chat templates render nothing for it.",
            )
        )
    return findings


def identical(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs whose responses are the same, exactly or but for case, white space and typographic signs."""
    watch.tick(0, 1)
    same: list[int] = []
    alike: list[int] = []
    shapes = columns.shapes
    for place, (chosen, rejected) in watch.each(list(zip(columns.chosen, columns.rejected, strict=True))):
        if not chosen.strip() and not rejected.strip():
            continue
        if chosen == rejected:
            if _one_shape(shapes[place]):
                same.append(place)
        elif _may_be_alike(chosen, rejected) and same_words(chosen) == same_words(rejected):
            alike.append(place)
    findings = []
    if same:
        findings.append(
            Finding(
                "identical",
                "error",
                columns.named(same),
                f"{plural(len(same), 'pair has', 'pairs have')} the same text as chosen and as rejected.",
                "Such a pair has no gradient: edit one side, or drop it.",
            )
        )
    if alike:
        findings.append(
            Finding(
                "identical-words",
                "warning",
                columns.named(alike),
                f"{plural(len(alike), 'pair differs', 'pairs differ')} only in case, white space or typographic signs.",
                "The model would learn the form alone: edit one side, or drop it.",
            )
        )
    return findings


def _one_shape(shape: str) -> bool:
    _, _, responses = shape.partition("|")
    chosen, _, rejected = responses.partition("|")
    return chosen == rejected


def _may_be_alike(chosen: str, rejected: str) -> bool:
    """Whether the first letter or digit in both is the same: nearly all pairs part there already."""
    one, other = _first(chosen), _first(rejected)
    return not one or not other or one == other or not (one + other).isascii()


def _first(text: str) -> str:
    for sign in text[:20]:
        if sign.isalnum():
            return sign.lower()
    return ""


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
