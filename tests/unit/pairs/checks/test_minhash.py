"""Near-duplicates are found again, and different texts are not."""

from __future__ import annotations

import random

import numpy as np

from tests.unit.pairs.checks.build import found, talk
from workbench.pairs.checks import minhash
from workbench.pairs.checks.run import run_checks


def _texts(count: int, rng: random.Random) -> list[list[str]]:
    words = [f"w{number}" for number in range(400)]
    return [rng.choices(words, k=rng.randrange(12, 200)) for _ in range(count)]


def _shingles(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[place : place + 3]) for place in range(len(words) - 2)}


def test_planted_copies_are_found_and_their_likeness_is_right() -> None:
    rng = random.Random(3)
    texts = _texts(1500, rng)
    for place in range(300):
        copy = list(texts[place])
        copy[rng.randrange(len(copy))] = "other"
        texts.append(copy)
    signed = minhash.signatures([(" ".join(words),) for words in texts], lambda _: None)
    pairs = minhash.candidates(signed)
    exact = {}
    for one, other in pairs.tolist():
        mine, theirs = _shingles(texts[one]), _shingles(texts[other])
        exact[one, other] = len(mine & theirs) / len(mine | theirs)
    errors = minhash.likeness(signed, pairs) - np.array([exact[one, other] for one, other in pairs.tolist()])
    assert abs(float(errors.mean())) < 0.02
    close = [place for place in range(300) if len(texts[place]) > 30]
    assert sum((place, 1500 + place) in exact for place in close) >= 0.99 * len(close)
    assert len(pairs) < 700


def test_short_empty_and_wild_texts() -> None:
    texts = [(each,) for each in ("", "...", "a", "a b", "a b", "\ud800", "é" * 9, "x" * 3_000_000)]
    pairs = minhash.candidates(minhash.signatures(texts, lambda _: None)).tolist()
    assert pairs == [[3, 4]]


def test_one_prompt_with_other_answers_is_no_near_duplicate() -> None:
    prompt = "Tell me " + " ".join(f"word{number}" for number in range(200))
    answers = ["Yes, by all means.", "No, never.", "Perhaps on Sunday.", "Ask me later."]
    pairs = [talk(str(at), prompt, answer, answer[::-1]) for at, answer in enumerate(answers)]
    assert "near-duplicate" not in found(run_checks(pairs))
    pairs += [talk("copy", prompt + " please", answers[0], answers[0][::-1])]
    assert found(run_checks(pairs))["near-duplicate"].groups == (("0", "copy"),)
