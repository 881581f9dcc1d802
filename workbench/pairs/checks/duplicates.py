"""Pairs that say what an earlier pair says: word for word, or nearly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


_LIKENESS = 0.7
"""Share of three-word shingles that two pairs must share; MinHash estimates it."""
_SIMILARITY = 90.0
"""Per cent of characters that stay in each of prompt, chosen and rejected."""


def near_duplicate(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs whose prompt and responses are nearly those of an earlier pair, word-for-word copies left out.

    MinHash finds who may be alike; each of prompt, chosen and rejected is then compared by edit distance, so that long
    shared prompts with different answers are not named.
    """
    from workbench.pairs.checks import minhash

    first: dict[tuple[str, str, str, str], int] = {}
    for place, row in enumerate(zip(columns.prompts, columns.chosen, columns.rejected, columns.shapes, strict=True)):
        first.setdefault(row, place)
    unique, places = list(first), list(first.values())
    del first
    signed = minhash.signatures([row[:3] for row in unique], lambda done: watch.tick(done, 2 * len(unique)))
    found = minhash.candidates(signed)
    found = found[minhash.likeness(signed, found) >= _LIKENESS]
    del signed
    groups = _Groups(len(unique))
    for done, (one, other) in enumerate(found.tolist()):
        if done % 2000 == 0:
            watch.tick(len(found) + done, 2 * len(found))
        # Each against the first of its group, lest a chain of small changes lead from one thing to another.
        head, last = sorted((groups.head(one), groups.head(other)))
        if head != last and _alike(unique[head], unique[last]):
            groups.join(head, last)
    copies = [[places[member] for member in group] for group in groups.groups()]
    if not copies:
        return []
    later = sorted(place for group in copies for place in group[1:])
    across = sum(_both_sides(columns, group) for group in copies)
    leak = f" {plural(across, 'group is', 'groups are')} in train and holdout both." if across else ""
    return [
        Finding(
            "near-duplicate",
            "warning",
            columns.named(later),
            f"{plural(len(later), 'pair is', 'pairs are')} nearly the same as an earlier pair"
            f" ({plural(len(copies), 'group', 'groups')}).{leak}",
            "Compare each with the first of its group; drop the later ones where they teach nothing new.",
            groups=tuple(columns.named(group) for group in copies),
        )
    ]


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    from rapidfuzz import fuzz

    return all(
        mine == theirs or fuzz.ratio(mine, theirs, score_cutoff=_SIMILARITY) > 0
        for mine, theirs in zip(one, other, strict=True)
    )


def _both_sides(columns: Texts, group: list[int]) -> bool:
    return {"train", "holdout"} <= {columns.splits[place] for place in group}


class _Groups:
    """Sets that grow together (union-find); the head of each is its first member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def head(self, member: int) -> int:
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.head(one), self.head(other)))
        self._parent[second] = first

    def groups(self) -> Iterator[list[int]]:
        """Every set of two or more, members ascending."""
        found: dict[int, list[int]] = {}
        for member in range(len(self._parent)):
            if (head := self.head(member)) != member:
                found.setdefault(head, [head]).append(member)
        yield from found.values()
