"""Train and held-out pairs, parted by prompt: the same prompt is never on both sides."""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.pairs.pair import Pair, Text

_NOT_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Split:
    """The two sides, each in the order given. `conflicts` counts prompts that were marked train and holdout both."""

    train: list[Pair]
    holdout: list[Pair]
    conflicts: int


def trainable(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs that may train or be evaluated on: all but the dropped."""
    return [pair for pair in pairs if pair.status != "dropped"]


def group_key(prompt: Text) -> str:
    """What a prompt shares with its variants: case, white space, punctuation and system messages set aside."""
    if isinstance(prompt, str):
        return _folded(prompt)
    return "\n".join(_folded(turn.content) for turn in prompt if turn.role != "system")


def split(pairs: Sequence[Pair], *, fraction: float, seed: int) -> Split:
    """Holds out about `fraction` of the prompts; 0 holds out none but the pairs that are marked so.

    A prompt's side depends on the prompt, the seed and the fraction alone, so it stays when other pairs come and
    go; but where chance would leave a side empty that should not be, the nearest prompt is moved there. A pair's
    own `split` decides for its whole prompt; holdout wins where they disagree.
    """
    groups: dict[str, list[Pair]] = {}
    keys = [group_key(pair.prompt) for pair in pairs]
    for key, pair in zip(keys, pairs, strict=True):
        groups.setdefault(key, []).append(pair)
    marks = {key: {pair.split for pair in group} for key, group in groups.items()}
    held = {key for key, found in marks.items() if "holdout" in found}
    conflicts = sum("train" in marks[key] for key in held)
    free = {key: _draw(key, seed) for key, found in marks.items() if found == {None}}
    held |= {key for key, drawn in free.items() if drawn < fraction}
    if free and fraction > 0 and len(groups) > 1:
        if not held:
            held.add(min(free, key=free.__getitem__))
        elif len(held) == len(groups):
            held.remove(max(free, key=free.__getitem__))
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for key, pair in zip(keys, pairs, strict=True):
        sides[key in held].append(pair)
    return Split(*sides, conflicts)


def weighted(pairs: Sequence[Pair], weight: float, seed: str) -> list[Pair]:
    """Every pair as often as `weight` has whole parts, and the broken part's share of them once more, drawn by `seed`.

    In the order given. Of a weight of 0.5 half of the pairs are left, of 2.25 each is there twice and a quarter thrice.
    """
    whole = int(weight)
    drawn = set(random.Random(seed).sample(range(len(pairs)), round((weight - whole) * len(pairs))))
    return [pair for place, pair in enumerate(pairs) for _ in range(whole + (place in drawn))]


def _folded(text: str) -> str:
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    words = _NOT_WORD.sub(" ", plain.casefold()).strip()
    return words or " ".join(text.split())


def _draw(key: str, seed: int) -> float:
    """A number from 0 to 1, as good as random, that the key and the seed decide."""
    digest = hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7]) / 2**56
