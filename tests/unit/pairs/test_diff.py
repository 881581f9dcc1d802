"""Differences are told by words, cover both texts exactly, and take bounded time."""

import random
import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workbench.pairs.diff import word_diff

words = st.lists(st.sampled_from(["the", "a", "sky", "is", "blue", ", ", " ", ".", "\n", "Straße"]), max_size=30)
texts = words.map("".join) | st.text(max_size=40)


def only(spans: list) -> list[str]:
    return [text for text, kind in spans if kind == "only"]


@given(texts, texts)
def test_spans_give_the_texts_back_and_shared_ones_are_shared(chosen: str, rejected: str) -> None:
    left, right = word_diff(chosen, rejected)
    assert "".join(text for text, _ in left) == chosen
    assert "".join(text for text, _ in right) == rejected
    assert "".join(t for t, kind in left if kind == "same") == "".join(t for t, kind in right if kind == "same")
    assert all(one.kind != other.kind for spans in (left, right) for one, other in pairwise(spans))
    if chosen == rejected:
        assert not only(left)


def test_words_are_never_cut() -> None:
    left, right = word_diff("The sky is blue.", "The sky is black.")
    assert (only(left), only(right)) == (["blue"], ["black"])


def test_white_space_and_signs_do_not_break_a_difference() -> None:
    left, right = word_diff("one, two, end", "three, four, end")
    assert (only(left), only(right)) == (["one, two"], ["three, four"])


def test_an_insertion_is_only_on_its_side() -> None:
    left, right = word_diff("It was declined.", "It was most rudely declined.")
    assert only(left) == []
    assert "".join(only(right)).strip() == "most rudely"


def test_ten_thousand_words_take_bounded_time() -> None:
    source = random.Random(0)
    for vocabulary in (2, 50, 10**6):
        chosen, rejected = (" ".join(str(source.randrange(vocabulary)) for _ in range(10_000)) for _ in range(2))
        begin = time.perf_counter()
        word_diff(chosen, rejected)
        # About 0.2 s; a quadratic algorithm takes half a minute.
        assert time.perf_counter() - begin < 5
