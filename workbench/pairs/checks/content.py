"""Pairs with nothing in them: empty texts, and responses that are the same."""

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
