"""Which pairs a trial takes: a whole micro-batch of the longest where there is time, else fewer, shorter ones."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.config import build_config
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.data import row_tokens
from workbench.engine.training.trial import BUDGET, TYPICAL, Gauge, choose

LIMIT = 64


def pairs(count: int, seed: int = 0) -> list[PairIds]:
    draw = random.Random(seed)
    return [PairIds(*([1] * draw.randrange(1, 40) for _ in range(3))) for _ in range(count)]


def config(batch: int = 16, parts: int = 1):
    values = {"pairs": ["x"], "batch_size": batch, "gradient_accumulation": parts, "max_length": LIMIT}
    return build_config(values)


def tokens(chosen: list[PairIds]) -> int:
    return int(row_tokens(chosen, LIMIT).sum())


def test_the_tokens_of_a_pair_are_its_prompt_and_both_responses_as_they_are_cut() -> None:
    cut = [pair.cut(LIMIT) for pair in pairs(30)]
    counted = [len(pair.prompt) + len(pair.chosen) + len(pair.rejected) for pair in cut]
    assert row_tokens(pairs(30), LIMIT).tolist() == counted


@given(st.integers(1, 80), st.sampled_from([1, 2, 16]), st.sampled_from([1, 2]), st.integers(1, 8))
def test_with_time_enough_the_longest_come_first(count: int, batch: int, parts: int, cores: int) -> None:
    if batch % parts:
        return
    train = pairs(count)
    found = choose(train, config(batch, parts), float("inf"), cores)
    assert found.whole
    assert found.part == min(batch // parts, count)
    assert len(found.pairs) >= 2 * found.part
    assert len(found.pairs) % found.part == 0
    assert len(found.pairs) <= (1 + TYPICAL) * found.part
    longest = sorted((len(p.prompt) + max(len(p.chosen), len(p.rejected)) for p in train), reverse=True)
    first = [len(p.prompt) + max(len(p.chosen), len(p.rejected)) for p in found.pairs[: found.part]]
    assert [min(each, LIMIT) for each in longest[: found.part]] == [min(each, LIMIT) for each in first]


@given(st.integers(1, 80), st.integers(1, 6000), st.integers(1, 8))
def test_with_less_time_two_micro_batches_fit_into_it(count: int, affordable: int, cores: int) -> None:
    train = pairs(count)
    found = choose(train, config(), affordable, cores)
    least = 2 * int(row_tokens(train, LIMIT).min())
    assert tokens(found.pairs) <= max(affordable, least)
    if found.whole:
        return
    assert len(found.pairs) == 2 * found.part
    assert 1 <= found.part <= min(16, count)
    # The first are the longest, in the order in which trainers take them.
    sides = [len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) for pair in found.pairs]
    assert sides == sorted(sides, reverse=True)


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_every_core_keeps_a_pair_as_long_as_that_fits(cores: int) -> None:
    train = pairs(200)
    shortest = np.sort(row_tokens(train, LIMIT))
    assert choose(train, config(), int(shortest[: 2 * cores].sum()), cores).part == cores
    assert choose(train, config(), 4_000, cores).part > cores


def test_a_gauge_parts_what_a_pass_takes_from_what_a_token_takes() -> None:
    found = Gauge.between(0.8, 1.4)
    assert (found.token_seconds, found.pass_seconds) == pytest.approx((0.005, 0.76))
    assert found.pass_tokens == pytest.approx(152)
    assert 0 < found.affordable < BUDGET / 0.005
    # A machine of a tenth of the speed reads a tenth as much, and a pass is worth as many tokens.
    slow = Gauge.between(8.0, 14.0)
    assert slow.pass_tokens == pytest.approx(found.pass_tokens)
    assert slow.affordable < found.affordable / 10 + 1
    assert Gauge(0.0, 0.0).affordable == float("inf")


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_whatever_disturbs_a_gauge_it_says_something(short: float, long: float) -> None:
    found = Gauge.between(short, long)
    assert found.token_seconds > 0
    assert found.pass_tokens >= 0
    assert found.affordable >= 0
