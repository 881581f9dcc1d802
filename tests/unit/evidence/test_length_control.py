import numpy as np
import pytest
from scipy.optimize import minimize

from workbench.evidence.length_control import control, logistic, matched


def data(bias: float, count: int = 300) -> tuple[list[float], list[int], list[int], list[str]]:
    """Pairs that are right with log-odds 0.5 at equal length, and `bias` more where chosen is longer."""
    rng = np.random.default_rng(3)
    chosen, rejected = rng.integers(20, 60, count), rng.integers(10, 50, count)
    squashed = np.tanh((chosen - rejected) / (chosen - rejected).std())
    right = rng.random(count) < 1 / (1 + np.exp(-(0.5 + bias * squashed)))
    return right.astype(float).tolist(), chosen.tolist(), rejected.tolist(), [str(place) for place in range(count)]


@pytest.mark.parametrize("middle", [0.0, 1.5])
def test_the_fit_is_the_maximum_of_the_penalised_likelihood(middle: float) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(middle, size=40)
    won = (rng.random(40) < 1 / (1 + np.exp(-x))).astype(float)

    def penalised(beta: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-(beta[0] + beta[1] * x)))
        design = np.stack([np.ones(40), x])
        information = (design * (p * (1 - p))) @ design.T
        likelihood = (won * np.log(p) + (1 - won) * np.log(1 - p)).sum()
        return float(-(likelihood + 0.5 * np.linalg.slogdet(information)[1]))

    best = minimize(penalised, np.zeros(2), tol=1e-10).x
    assert logistic(won, x, np.ones((1, 40)))[0] == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("predictor", [0.0, 0.8, -0.3])
@pytest.mark.parametrize("right", [1, 2, 5])
def test_the_fit_of_pairs_of_one_length_is_the_smallest_that_gives_firths_share(right: int, predictor: float) -> None:
    for wrong in (0, 1, 3):
        won = np.array([1.0] * right + [0.0] * wrong)
        fit = logistic(won, np.full(len(won), predictor), np.ones((1, len(won))))[0]
        # The penalty is half a pair more on either side where there is no slope.
        log_odds = np.log((right + 0.5) / (wrong + 0.5))
        assert fit == pytest.approx(log_odds * np.array([1.0, predictor]) / (1 + predictor**2), abs=1e-6)


@pytest.mark.parametrize("lengths", [[21, 0], [21] + [0] * 19, [21] * 10 + [-21] * 10])
def test_the_fit_of_pairs_of_few_lengths_has_come_to_rest(lengths: list[int]) -> None:
    x = np.tanh(np.array(lengths) / np.std(lengths))
    won = np.array([1.0, 0.0] * (len(lengths) // 2))
    fit = logistic(won, x, np.ones((1, len(x))))
    assert logistic(won, x, np.ones((1, len(x))), fit[0]) == pytest.approx(fit, abs=1e-6)


def test_a_bias_for_length_is_taken_out() -> None:
    found = control(*data(bias=2.5))
    assert found is not None
    assert found.uncontrolled.value > found.accuracy.value + 0.04
    truth = 1 / (1 + np.exp(-0.5))
    assert abs(found.accuracy.value - truth) < abs(found.uncontrolled.value - truth) - 0.04
    assert found.slope.low > 1
    assert found.longer_wins.value > 0.6


def test_without_a_bias_nothing_changes() -> None:
    found = control(*data(bias=0.0))
    assert found is not None
    assert found.accuracy.value == pytest.approx(found.uncontrolled.value, abs=0.02)
    assert found.slope.low < 0 < found.slope.high


def test_all_right_is_finite_and_no_surer_than_so_many_pairs_allow() -> None:
    _, chosen, rejected, groups = data(bias=0.0, count=60)
    found = control([1.0] * 60, chosen, rejected, groups)
    assert found is not None
    assert 0.95 < found.accuracy.value < 1
    assert found.accuracy.low == pytest.approx(0.025 ** (1 / 60))


def test_lengths_that_are_all_equal_leave_the_accuracy_as_it_is() -> None:
    found = control([1.0, 1.0, 1.0, 0.0] * 5, [9] * 20, [9] * 20, [str(place) for place in range(20)])
    assert found is not None
    assert found.accuracy.value == pytest.approx(0.75, abs=0.02)
    assert found.longer_wins.value == 0.5
    assert control([], [], [], []) is None


def test_matched_lengths() -> None:
    assert matched(11, 10)
    assert matched(10, 11)
    assert not matched(12, 10)


def test_a_step_of_newton_that_is_too_long_is_cut() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=40)
    won = (rng.random(40) < 1 / (1 + np.exp(-x))).astype(float)
    (plain,), (small,) = logistic(won, x, np.ones((1, 40))), logistic(won, x / 20, np.ones((1, 40)))
    assert small == pytest.approx([plain[0], 20 * plain[1]], rel=1e-4)


def test_all_wrong_is_finite_and_no_surer_than_so_many_pairs_allow() -> None:
    _, chosen, rejected, groups = data(bias=0.0, count=60)
    found = control([0.0] * 60, chosen, rejected, groups)
    assert found is not None
    assert 0 < found.accuracy.value < 0.05
    assert found.accuracy.high == pytest.approx(1 - 0.025 ** (1 / 60))


def test_a_group_that_is_drawn_twice_counts_twice() -> None:
    right, chosen, rejected, _ = data(bias=1.0, count=24)
    groups = ["a", "b"] * 12
    found = control(right, chosen, rejected, groups)
    assert found is not None
    longer = np.asarray(chosen, float) - np.asarray(rejected, float)
    drawn = np.array([[2.0, 0.0] * 12, [1.0, 1.0] * 12, [0.0, 2.0] * 12])
    slopes = logistic(np.asarray(right), np.tanh(longer / longer.std()), drawn)[:, 1]
    # Of two groups the interval goes from the least to the greatest of these.
    assert found.slope.interval == pytest.approx((slopes.min(), slopes.max()))
    assert found.slope.value == pytest.approx(slopes[1])


def test_one_token_more_is_longer() -> None:
    found = control([1.0, 1.0, 0.0], [10, 10, 9], [9, 9, 10], list("abc"))
    assert found is not None
    assert found.longer_wins.value == pytest.approx(2 / 3)
