"""Numbers from replies: token by token, pair by pair, answer by answer, checked by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.compare.measures import (
    ColumnSummary,
    PromptCost,
    ToldAnswer,
    behaviour_shares,
    delta_log_odds,
    deltas,
    log_odds,
    margin_shift,
    pair_margin,
    preference_probability,
    prompt_costs,
    shift_class,
    shifts,
    summarize,
    worst_first,
)
from workbench.compare.messages import ResponseScore, ScoredColumn, ScoredPair, TokenScore

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
    assert shift_class(rank) == expected


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


def said(name: str, *shown: tuple[str, ...]) -> list[ToldAnswer]:
    return [ToldAnswer(name, "x", shows) for shows in shown]


def test_shares_stand_side_by_side() -> None:
    base = said("base", ("harmful",), ("harmful", "cut"), ())
    found = behaviour_shares([*base, *said("run", ("refusing",), ("harmful",), ("refusing",))])
    assert {
        name: [(each.behaviour, each.count, each.samples) for each in counted] for name, counted in found.items()
    } == {
        "base": [("harmful", 2, 3), ("refusing", 0, 3), ("cut", 1, 3), (None, 1, 3)],
        "run": [("harmful", 1, 3), ("refusing", 2, 3), ("cut", 0, 3), (None, 0, 3)],
    }
    assert found["base"][0].share == pytest.approx(2 / 3)
    assert behaviour_shares([]) == {}


def test_a_system_message_is_paid_for_with_every_request() -> None:
    base, run, prompted = prompt_costs([14, 14, 37])
    assert base == run == PromptCost(14, 0)
    assert (prompted.extra, prompted.per_million) == (23, 23_000_000)


def row(name: str, *sides: tuple[float, float], cut: bool = False, problem: str = "") -> ScoredPair:
    return ScoredPair(
        pair=name,
        chosen=[ResponseScore(sum=chosen, tokens=4, cut=cut) for chosen, _ in sides],
        rejected=[ResponseScore(sum=rejected, tokens=5) for _, rejected in sides],
        problem=problem,
    )


ROWS = [
    row("a", (-10, -4), (-5, -9)),
    row("b", (-3, -4), (-8, -6), cut=True),
    row("c", problem="too long"),
    row("d", (-2, -5), (-1, -8)),
]


def test_margins_and_what_moved_them() -> None:
    assert (pair_margin(ROWS[0], 0), pair_margin(ROWS[0], 1), margin_shift(ROWS[0], 1)) == (-6, 4, 10)
    assert [each.pair for each in worst_first(ROWS, 0)] == ["a", "b", "d", "c"]
    assert [each.pair for each in worst_first(ROWS, 1)] == ["b", "a", "d", "c"]


def test_a_column_over_all_pairs() -> None:
    base, run = summarize(ROWS, 0), summarize(ROWS, 1)
    assert base == ColumnSummary(3, 2 / 3, None, -2 / 3, None, -5.0, -13 / 3, 1)
    assert run == ColumnSummary(3, 2 / 3, 2 / 3, 3.0, 11 / 3, -14 / 3, -23 / 3, 1)
    # A tie is right half the time, whichever of the two is asked for.
    tied = [row("tie", (-4, -4), (-6, -6)), row("won", (-4, -9), (-5, -5))]
    assert (summarize(tied, 0).ranking, summarize(tied, 1).ranking) == (0.75, 0.5)
    assert summarize(tied, 1).accuracy == 0.25
    assert summarize([ROWS[2]], 1) == ColumnSummary(0, None, None, None, None, None, None, 0)


def test_the_shift_is_told_by_the_rank_of_the_choice() -> None:
    tokens = [
        TokenScore(id=0, text="x", logprob=-1, rank=9, top=[], shift_rank=rank) for rank in (1, 2, 3, 4, 99, None)
    ]
    column = ScoredColumn(name="run", sum=-6, mean=-1, probability=0.1, tokens=tokens)
    assert shifts(column) == ["unshifted", "marginal", "marginal", "shifted", "shifted", None]
