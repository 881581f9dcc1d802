"""Pairs with nothing in them to learn: empty texts, and responses that are the same or too much alike for DPO."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.figures import plural
from workbench.pairs.checks.findings import CheckFinding, Watch
from workbench.pairs.checks.keys import same_words
from workbench.pairs.checks.text_columns import TextColumns

_UNEVEN = 1.5
"""How many answers of one kind for each of the other kto takes without other weights: arXiv 2402.01306, eq. 9."""


def empty(columns: TextColumns, _: Watch) -> Iterator[CheckFinding]:
    """Answers that are to be drafted, texts with nothing but white space in them, and empty turns among others."""
    if columns.undrafted:
        yield from _lacking(columns)
    blank = {
        name: [index for index, text in enumerate(texts) if not text or text.isspace()]
        for name, texts in columns.fields.items()
    }
    if indices := sorted({index for blanks in blank.values() for index in blanks}):
        parts = ", ".join(f"{len(blanks):,} {name}" for name, blanks in blank.items() if blanks)
        yield CheckFinding(
            "empty",
            "error",
            columns.named(indices),
            f"{plural(len(indices), 'pair has', 'pairs have')} an empty text ({parts}).",
            "Write what is missing, or drop them.",
        )
    whole = set(indices)
    if turns := [index for index in columns.empty_turns if index not in whole]:
        yield CheckFinding(
            "empty-turn",
            "warning",
            columns.named(turns),
            f"{plural(len(turns), 'pair has', 'pairs have')} an empty turn in the conversation.",
            "Take the turn out, or write what was said; some chat templates render nothing for it.",
        )


def _lacking(columns: TextColumns) -> Iterator[CheckFinding]:
    """Pairs that lack an answer, and whether kto, which takes the other one by itself, finds as many good as bad."""
    count, good = len(columns.undrafted), sum(each.good for each in columns.alone)
    bad = len(columns.alone) - good
    judged = f" (kto does, on the answers that are there: {good:,} good, {bad:,} bad)" if good + bad else ""
    yield CheckFinding(
        "undrafted",
        "warning",
        tuple(columns.undrafted),
        f"{plural(count, 'pair lacks', 'pairs lack')} a chosen or rejected answer, and no pairwise method trains on"
        f" {'it' if count == 1 else 'them'} before it is there{judged}.",
        "Have it drafted: workbench draft NAME --as rejected (or chosen), or r on the Pairs screen. Or write it.",
    )
    all_good, all_bad = good + len(columns), bad + len(columns)
    most = max(all_good, all_bad)
    if good + bad > len(columns) and most > _UNEVEN * min(all_good, all_bad):
        yield CheckFinding(
            "balance",
            "note",
            tuple(columns.undrafted),
            f"{all_good:,} answers are judged good and {all_bad:,} bad.",
            "For kto, weigh the fewer ones more (--set desirable_weight=…, undesirable_weight=…), or add such answers.",
            figures={"good": all_good, "bad": all_bad},
        )


def identical(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
    """Pairs whose responses are the same, exactly or but for case, white space and typographic signs."""
    same: list[int] = []
    alike: list[int] = []
    shapes = columns.shapes
    for index, (chosen, rejected) in watch.over(list(zip(columns.chosen, columns.rejected, strict=True))):
        if not chosen.strip() and not rejected.strip():
            continue
        if chosen == rejected:
            if _one_shape(shapes[index]):
                same.append(index)
        elif _may_be_alike(chosen, rejected) and same_words(chosen) == same_words(rejected):
            alike.append(index)
    if same:
        yield CheckFinding(
            "identical",
            "error",
            columns.named(same),
            f"{plural(len(same), 'pair has', 'pairs have')} the same text as chosen and as rejected.",
            "Such a pair has no gradient: edit one side, or drop it.",
        )
    if alike:
        yield CheckFinding(
            "identical-words",
            "warning",
            columns.named(alike),
            f"{plural(len(alike), 'pair differs', 'pairs differ')} only in case, white space or typographic signs.",
            "The model would learn the form alone: edit one side, or drop it.",
        )


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


def too_similar(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
    """Pairs whose responses are within `LIMIT` by edit distance and yet not the same words.

    Their shared tokens drown the few that differ: DPO then pushes down chosen and rejected alike (displacement).
    """
    from rapidfuzz.distance import Levenshtein

    indices = [index for index, (one, other) in enumerate(_responses(columns)) if one != other and _may_be(one, other)]
    named: list[int] = []
    for done in range(0, len(indices), _CHUNK):
        watch.tick(done, len(indices))
        for index in indices[done : done + _CHUNK]:
            one, other = columns.chosen[index], columns.rejected[index]
            most = int(LIMIT * max(len(one), len(other)))
            close = Levenshtein.distance(one, other, score_cutoff=most) <= most
            if close and same_words(one) != same_words(other):
                named.append(index)
    if not named:
        return
    yield CheckFinding(
        "too-similar",
        "warning",
        columns.named(named),
        f"{plural(len(named), 'pair has', 'pairs have')} responses that differ in less than {LIMIT:.0%} of their"
        " characters.",
        "Likely displacement (both responses lose probability): make the difference larger, or train with an"
        " added likelihood term (loss sigmoid + sft).",
    )


def _responses(columns: TextColumns) -> list[tuple[str, str]]:
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
