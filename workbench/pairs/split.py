"""Train and held-out pairs, parted by prompt: the same prompt is never on both sides."""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from workbench.pairs.pair import Split, Text

_NOT_WORD = re.compile(r"[\W_]+")
Item = TypeVar("Item")


def group_key(prompt: Text) -> str:
    """What a prompt shares with its variants: case, white space, punctuation, and messages of system and developer set
    aside."""
    if isinstance(prompt, str):
        return _folded(prompt)
    return "\n".join(_folded(turn.text) for turn in prompt if turn.role not in ("system", "developer"))


@dataclass(frozen=True, slots=True)
class Sides:
    """For each pair, whether it is held out; and how many prompts are."""

    held: list[bool]
    held_prompts: int


def held_out(prompts: Iterable[tuple[Text, Split | None]], *, fraction: float, seed: int) -> Sides:
    """Parts pairs, given each as its prompt and its own `split`.

    Holds out about `fraction` of the prompts; 0 holds out none but the pairs that are marked so. A prompt's side
    depends on the prompt, the seed and the fraction alone, so it stays when other pairs come and go; but where chance
    would leave a side empty that should not be, the nearest prompt is moved there; a single one trains. A pair's own
    `split` decides for its whole prompt; holdout wins where they disagree. The prompts are read once and not kept.
    """
    groups: dict[bytes, int] = {}
    group_of_pair: list[int] = []
    marks: list[Split | None] = []
    """Of each group."""
    for prompt, mark in prompts:
        group = groups.setdefault(_digest(group_key(prompt), seed), len(groups))
        group_of_pair.append(group)
        if group == len(marks):
            marks.append(mark)
        elif mark == "holdout" or marks[group] is None:
            marks[group] = mark
    draws = [int.from_bytes(digest[:7]) / 2**56 for digest in groups]
    free = [group for group, mark in enumerate(marks) if mark is None]
    held = [mark == "holdout" or (mark is None and draws[group] < fraction) for group, mark in enumerate(marks)]
    if free and all(held):
        held[max(free, key=draws.__getitem__)] = False
    elif free and fraction > 0 and len(groups) > 1 and not any(held):
        held[min(free, key=draws.__getitem__)] = True
    return Sides([held[group] for group in group_of_pair], sum(held))


def weighted(items: Sequence[Item], weight: float, seed: str) -> list[Item]:
    """Every item as often as `weight` has whole parts, and the broken part's share of them once more, drawn by `seed`.

    In the order given. Of a weight of 0.5 half of the items are left, of 2.25 each is there twice and a quarter thrice;
    one is left of the fewest.
    """
    whole = int(weight)
    more = round((weight - whole) * len(items))
    drawn = set(random.Random(seed).sample(range(len(items)), more if whole or more else min(1, len(items))))
    return [item for number, item in enumerate(items) for _ in range(whole + (number in drawn))]


def _folded(text: str) -> str:
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    words = _NOT_WORD.sub(" ", plain.casefold()).strip()
    return words or " ".join(text.split())


def _digest(key: str, seed: int) -> bytes:
    """Stands for a prompt; its first bytes are a number as good as random, that the key and the seed decide."""
    return hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
