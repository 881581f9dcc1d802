"""MinHash over word shingles, all texts at once in numpy: which texts may be nearly the same.

Of 160,000 texts nothing is kept but their signatures, 64 numbers of 32 bits each: 41 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BANDS, ROWS = 16, 4
"""TextColumns that share 0.8 of their shingles meet in a band with probability 0.9998, at 0.5 with 0.64."""
_WORDS = 3
_CHUNK = 1 << 20
"""Bytes hashed at a time: what stays in the cache."""
_BASE = 0x9E3779B97F4A7C15

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]


def signatures(texts: Sequence[Sequence[str]], tick: Callable[[int], None]) -> U32:
    """MinHash signatures, shape (texts, BANDS * ROWS), of the sets of three words in a row, case set aside.

    Each text is given in parts, joined only while it is hashed. One without a word has a signature that is its own.
    `tick` is told how many texts are done, and may raise.
    """
    signed = np.empty((len(texts), BANDS * ROWS), np.uint32)
    rng = np.random.default_rng(7)
    factors = rng.integers(0, 1 << 63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    first = 0
    while first < len(texts):
        block: list[bytes] = []
        size = 0
        while first + len(block) < len(texts) and (size < _CHUNK or not block):
            block.append("\n".join(texts[first + len(block)]).lower().encode("utf-8", "surrogatepass"))
            size += len(block[-1]) + 1
        _sign(block, factors, signed[first : first + len(block)])
        bare = [number for number, text in enumerate(block, first) if not text.strip()]
        for number in bare:
            signed[number] = rng.integers(0, 1 << 32, BANDS * ROWS, dtype=np.uint32)
        first += len(block)
        tick(first)
    return signed


def candidates(signed: U32) -> NDArray[np.int64]:
    """Pairs of places (earlier, later) that may be nearly the same, each once, ascending; shape (pairs, 2).

    Of the texts that meet in a band, each is paired with the first and with the one before it, so that a thousand
    copies of one text make two thousand pairs, not half a million.
    """
    pairs: list[NDArray[np.int64]] = []
    for band in range(BANDS):
        rows = signed[:, band * ROWS : (band + 1) * ROWS].astype(np.uint64)
        key = rows[:, 0]
        for column in range(1, ROWS):
            key = _mixed(key * np.uint64(_BASE) + rows[:, column])
        order = np.argsort(key, kind="stable").astype(np.int64)
        ordered = key[order]
        begins = np.ones(len(order), bool)
        begins[1:] = ordered[1:] != ordered[:-1]
        heads = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))] if len(order) else order
        inside = np.flatnonzero(~begins)
        later = order[inside]
        pairs += [np.stack([heads[inside], later], 1), np.stack([order[inside - 1], later], 1)]
    every = np.concatenate(pairs)
    many = np.int64(max(len(signed), 1))
    return np.stack(np.divmod(np.unique(every[:, 0] * many + every[:, 1]), many), 1)


def likeness(signed: U32, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """The estimated share of shingles that the texts of each pair have in common; its standard error is about 0.05."""
    shares = [
        (signed[part[:, 0]] == signed[part[:, 1]]).mean(1)
        for part in np.array_split(pairs, max(1, len(pairs) // 50_000))
    ]
    return np.concatenate(shares) if shares else np.empty(0)


def _sign(texts: Sequence[bytes], factors: U64, into: U32) -> None:
    data = np.frombuffer(b"\n".join(texts) + b"\n", np.uint8)
    ends_of_texts = np.cumsum([len(text) + 1 for text in texts])
    in_word = _WORD_BYTE[data]
    edges = np.flatnonzero(np.diff(in_word.astype(np.int8), prepend=0, append=0))
    begins, ends = edges[::2], edges[1::2]
    words = _hashes(data, begins, ends)
    after = np.searchsorted(begins, ends_of_texts)
    counts = np.diff(after, prepend=0)
    starts = after - counts
    shingles = words.copy()
    for step in range(1, _WORDS):
        # Past a text's last words a shingle is shorter: a text of one or two words has shingles too.
        following = np.zeros_like(words)
        following[:-step] = words[step:]
        last = np.repeat(after, counts)
        following[np.arange(len(words)) + step >= last] = 0
        shingles = _mixed(shingles * np.uint64(_BASE) + following)
    filled = np.flatnonzero(counts)
    if not len(filled):
        into[:] = 0
        return
    for number, factor in enumerate(factors):
        high = ((shingles * factor) >> np.uint64(32)).astype(np.uint32)
        into[filled, number] = np.minimum.reduceat(high, starts[filled])


def _hashes(data: NDArray[np.uint8], begins: NDArray[np.intp], ends: NDArray[np.intp]) -> U64:
    """A hash of each word: the difference of two prefix sums of a polynomial, shifted back by the inverse power."""
    powers, inverses = _powers(max(len(data), 2 * _CHUNK))
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum((data.astype(np.uint64) + np.uint64(1)) * powers[: len(data)], out=sums[1:])
    return _mixed((sums[ends] - sums[begins]) * inverses[begins])


@lru_cache(1)
def _powers(size: int) -> tuple[U64, U64]:
    """The powers of an odd base and of its inverse, modulo 2**64, from the 0th on."""
    return _running(_BASE, size), _running(pow(_BASE, -1, 1 << 64), size)


def _running(base: int, length: int) -> U64:
    factors = np.full(length, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _mixed(values: U64) -> U64:
    values = (values ^ (values >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return values ^ (values >> np.uint64(32))


_WORD_BYTE = np.zeros(256, bool)
_WORD_BYTE[[*b"abcdefghijklmnopqrstuvwxyz0123456789", *range(0x80, 0x100)]] = True
