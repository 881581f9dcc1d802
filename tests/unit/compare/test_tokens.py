import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.compare.messages import ScoredColumn, TokenScore
from workbench.compare.tokens import delta_log_odds, deltas, log_odds, preference_probability, shift

logprobs = st.floats(min_value=-200, max_value=0)


def column(name: str, *tokens: tuple[int, float, int]) -> ScoredColumn:
    scores = [
        TokenScore(id=token, text=str(token), logprob=logprob, rank=rank, top=[]) for token, logprob, rank in tokens
    ]
    return ScoredColumn(name=name, sum=0, mean=0, probability=1, tokens=scores)


@pytest.mark.parametrize(
    ("rank", "expected"), [(1, "unshifted"), (2, "marginal"), (3, "marginal"), (4, "shifted"), (5000, "shifted")]
)
def test_a_shift_is_told_by_the_rank(rank: int, expected: str) -> None:
    assert shift(rank) == expected


def test_deltas_are_aligned_less_base() -> None:
    base = column("base", (7, -0.5, 1), (8, -2.0, 3))
    aligned = column("run", (7, -3.0, 4), (8, -0.25, 1))
    assert deltas(aligned, base) == [-2.5, 1.75]


def test_deltas_of_different_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="different tokens"):
        deltas(column("run", (7, -1.0, 1)), column("base", (8, -1.0, 1)))


def test_log_odds_of_known_probabilities() -> None:
    assert log_odds(math.log(0.5)) == pytest.approx(0)
    assert log_odds(math.log(0.9)) == pytest.approx(math.log(9))
    assert delta_log_odds(math.log(0.93), math.log(0.14)) == pytest.approx(4.4, abs=0.01)


@given(logprobs, logprobs)
def test_log_odds_are_finite_and_rise_with_the_probability(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert math.isfinite(log_odds(low))
    assert log_odds(low) <= log_odds(high)
    assert delta_log_odds(one, other) == -delta_log_odds(other, one)


def test_log_odds_take_what_is_no_probability_for_certainty() -> None:
    assert math.isfinite(log_odds(0.0))
    assert math.isfinite(log_odds(1e-7))
    assert math.isfinite(log_odds(-math.inf))


def test_a_preference_is_the_logistic_of_beta_times_the_difference() -> None:
    assert preference_probability(0.0) == 0.5
    assert preference_probability(20.0, beta=0.1) == pytest.approx(1 / (1 + math.exp(-2)))


@given(st.floats(min_value=-1e6, max_value=1e6), st.floats(min_value=0.01, max_value=100))
def test_preferences_of_two_responses_sum_to_one(difference: float, beta: float) -> None:
    one, other = preference_probability(difference, beta), preference_probability(-difference, beta)
    assert 0 <= one <= 1
    assert one + other == pytest.approx(1)
