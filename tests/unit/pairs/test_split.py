"""The same prompt is never on both sides, and a prompt stays on its side when others come."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.pairs.pair import SPLITS, Message, Pair
from workbench.pairs.split import group_key, held_out, weighted

prompts = st.sampled_from(
    ["Why?", "why", "WHY ", "How do I?", "how do\ni", "?", "!", "ﬁne", "fine", "Straße", "STRASSE"]
)
marks = st.sampled_from([None, None, *SPLITS])
pairs_of_groups = st.lists(st.tuples(prompts, marks), max_size=12).map(
    lambda rows: [Pair(str(number), prompt, "c", "r", split=mark) for number, (prompt, mark) in enumerate(rows)]
)


@given(st.integers(0, 40), st.floats(0.01, 5), st.text(max_size=3))
@example(20, 0.01, "")  # One is left, however few that would be.
def test_a_weight_takes_its_share_of_the_pairs_in_their_order(count: int, weight: float, seed: str) -> None:
    pairs = many(count)
    found = weighted(pairs, weight, seed)
    whole = int(weight)
    times = [found.count(pair) for pair in pairs]
    assert set(times) <= {whole, whole + 1}
    assert len(found) == max(whole * count + round((weight - whole) * count), min(1, count))
    assert found == sorted(found, key=pairs.index)
    assert found == weighted(pairs, weight, seed)


@dataclass
class Sides:
    train: list[Pair]
    holdout: list[Pair]


def split(pairs: list[Pair], *, fraction: float, seed: int) -> Sides:
    held = held_out(((pair.prompt, pair.split) for pair in pairs), fraction=fraction, seed=seed)
    sides = zip(pairs, held.held, strict=True)
    found = Sides([], [])
    for pair, is_held in sides:
        (found.holdout if is_held else found.train).append(pair)
    assert held.held_prompts == len({group_key(pair.prompt) for pair in found.holdout})
    return found


def many(count: int) -> list[Pair]:
    return [Pair(str(number), f"Question number {number}?", "c", "r") for number in range(count)]


@given(pairs_of_groups, st.sampled_from([0, 0.1, 0.5, 0.99]), st.integers(0, 5))
def test_no_prompt_is_on_both_sides_and_no_pair_is_lost(pairs: list[Pair], fraction: float, seed: int) -> None:
    found = split(pairs, fraction=fraction, seed=seed)
    train, held = ({group_key(pair.prompt) for pair in side} for side in (found.train, found.holdout))
    assert not train & held
    assert sorted(map(id, found.train + found.holdout)) == sorted(map(id, pairs))
    marked = {group_key(pair.prompt) for pair in pairs if pair.split == "holdout"}
    assert marked <= held
    assert {group_key(pair.prompt) for pair in pairs if pair.split == "train"} - marked <= train
    if {group_key(pair.prompt) for pair in pairs if pair.split is None} - marked:
        assert train
    if fraction == 0:
        assert held == marked
    elif all(pair.split is None for pair in pairs) and len(train | held) > 1:
        assert held


@pytest.mark.parametrize("fraction", [0, 0.1, 0.99])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_single_prompt_trains_and_a_second_is_held_out(count: int, fraction: float) -> None:
    same = [Pair(str(number), "Why?", "c", "r") for number in range(count)]
    assert split(same, fraction=fraction, seed=0) == Sides(same, [])
    marked = Pair("held", "How do I?", "c", "r", split="holdout")
    assert split([*same, marked], fraction=fraction, seed=0) == Sides(same, [marked])
    two = split([*same, Pair("other", "How do I?", "c", "r")], fraction=fraction, seed=0)
    assert (bool(two.train), bool(two.holdout)) == (True, fraction > 0)


@given(st.integers(0, 10), st.sampled_from([0.1, 0.3]))
def test_about_the_fraction_and_always_the_same(seed: int, fraction: float) -> None:
    pairs = many(600)
    found = split(pairs, fraction=fraction, seed=seed)
    assert abs(len(found.holdout) / 600 - fraction) < 0.07
    assert split(pairs, fraction=fraction, seed=seed) == found


def test_a_seed_holds_out_the_same_prompts_in_every_version() -> None:
    held = split(many(60), fraction=0.1, seed=1).holdout
    assert [pair.id for pair in held] == ["4", "8", "27", "38", "41", "59"]


def test_other_pairs_move_nothing_and_other_seeds_do() -> None:
    held = {pair.id for pair in split(many(300), fraction=0.1, seed=1).holdout}
    more = {pair.id for pair in split(many(900), fraction=0.1, seed=1).holdout}
    assert held == {each for each in more if int(each) < 300}
    assert held != {pair.id for pair in split(many(300), fraction=0.1, seed=2).holdout}


def test_holdout_wins_a_conflict() -> None:
    pairs = [Pair("1", "Why?", "c", "r", split="train"), Pair("2", "why", "c", "r", split="holdout"), *many(3)]
    found = split(pairs, fraction=0, seed=0)
    assert [pair.id for pair in found.holdout] == ["1", "2"]


def test_a_system_message_makes_no_other_prompt() -> None:
    asked = Message("user", "Why?")
    assert group_key((Message("system", "Be kind."), asked)) == group_key((asked,)) == group_key("why")


@pytest.mark.parametrize("signs", ["?", "🙂", ""])
def test_prompts_without_words_are_prompts_too(signs: str) -> None:
    assert group_key(signs) == signs


def test_width_makes_no_other_prompt() -> None:
    assert group_key("Ｗｈｙ？") == group_key("Why?")


@pytest.mark.parametrize("seed", range(5))
def test_what_is_moved_to_a_side_that_chance_left_empty_is_the_nearest(seed: int) -> None:
    held = [
        {pair.id for pair in split(many(8), fraction=fraction, seed=seed).holdout}
        for fraction in (1e-9, 0.1, 0.3, 0.5, 0.7, 0.9, 1 - 1e-9)
    ]
    assert (len(held[0]), len(held[-1])) == (1, 7)
    for fewer, more in pairwise(held):
        assert fewer <= more


def test_nothing_is_moved_where_a_mark_fills_the_side() -> None:
    marked = Pair("train", "How do I?", "c", "r", split="train")
    assert split([marked, *many(1)], fraction=1 - 1e-9, seed=0).train == [marked]
