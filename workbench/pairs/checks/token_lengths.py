"""The tokens of every pair's responses, in a form that costs little to keep and to send."""

from __future__ import annotations

import base64
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """Tokens of chosen and rejected by id, in 16 bytes a pair.

    Ids are kept as 64-bit hashes, ascending: among a million pairs two of them meet once in 40 million data sets.
    """

    keys: array[int]
    chosen: array[int]
    rejected: array[int]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, int, int]]) -> TokenLengths:
        """Of (id, tokens of chosen, tokens of rejected)."""
        every = sorted((_key(identity), chosen, rejected) for identity, chosen, rejected in pairs)
        return cls(*(array(kind, (each[at] for each in every)) for at, kind in enumerate("QII")))

    @classmethod
    def from_json(cls, found: list[str]) -> TokenLengths:
        """What `to_json` made."""
        columns = [array(kind) for kind in "QII"]
        for column, text in zip(columns, found, strict=True):
            column.frombytes(base64.b64decode(text))
        return cls(*columns)

    def to_json(self) -> list[str]:
        """The columns as base64, for another process of this machine."""
        return [base64.b64encode(column.tobytes()).decode() for column in (self.keys, self.chosen, self.rejected)]

    def __len__(self) -> int:
        return len(self.keys)

    def get(self, identity: str) -> tuple[int, int] | None:
        """The tokens of the pair's chosen and rejected; None where they are not known."""
        key = _key(identity)
        place = bisect_left(self.keys, key)
        if place < len(self.keys) and self.keys[place] == key:
            return self.chosen[place], self.rejected[place]
        return None


def _key(identity: str) -> int:
    return int.from_bytes(blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
