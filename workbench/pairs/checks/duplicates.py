"""Pairs that say exactly what an earlier pair says."""

from __future__ import annotations

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.watch import Watch


def duplicate(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs with the prompt, roles and both responses of an earlier one. The earlier one is not named."""
    first: dict[tuple[str, str, str, str], int] = {}
    copies: dict[int, list[int]] = {}
    rows = list(zip(columns.prompts, columns.chosen, columns.rejected, columns.shapes, strict=True))
    for place, row in watch.each(rows):
        if (original := first.setdefault(row, place)) != place:
            copies.setdefault(original, []).append(place)
    if not copies:
        return []
    later = sorted(place for group in copies.values() for place in group)
    return [
        Finding(
            "duplicate",
            "warning",
            columns.named(later),
            f"{plural(len(later), 'pair repeats', 'pairs repeat')} an earlier pair word for word"
            f" ({plural(len(copies), 'pair is', 'pairs are')} repeated).",
            "Drop the later copies: they weigh what they say twice.",
            groups=tuple(columns.named([original, *copies[original]]) for original in sorted(copies)),
        )
    ]
