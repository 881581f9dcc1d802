import math

import numpy as np
import pytest

from workbench.evidence.calibration import calibrate


def test_two_pairs_by_hand() -> None:
    found = calibrate([math.log(3), -math.log(9)], ["a", "b"], 1.0)
    assert found is not None
    # p = 0.75 and right; p = 0.1, so 90% sure of the wrong one.
    assert found.brier.value == pytest.approx((0.25**2 + 0.9**2) / 2)
    assert found.error.value == pytest.approx((0.25 + 0.9) / 2)
    assert [(each.count, each.accuracy.value) for each in found.bins] == [(1, 1.0), (1, 0.0)]
    assert [each.confidence for each in found.bins] == pytest.approx([0.75, 0.9])


def test_beta_scales_the_margin() -> None:
    found = calibrate([math.log(3) / 0.1], ["a"], 0.1)
    assert found is not None
    assert found.bins[0].confidence == pytest.approx(0.75)


def test_probabilities_that_mean_what_they_say_have_a_small_error() -> None:
    rng = np.random.default_rng(5)
    p = rng.uniform(0.02, 0.98, 800)
    margins = np.log(p / (1 - p))
    swapped = rng.random(800) >= p
    honest = calibrate(np.where(swapped, -margins, margins).tolist(), [str(place) for place in range(800)], 1.0)
    boastful = calibrate(np.where(swapped, -margins, margins).tolist(), [str(place) for place in range(800)], 4.0)
    assert honest is not None
    assert boastful is not None
    assert honest.error.value < 0.06 < 0.1 < boastful.error.value
    assert all(each.accuracy.low - 0.08 < each.confidence < each.accuracy.high + 0.08 for each in honest.bins)
    assert sum(each.count for each in honest.bins) == 800


def test_ties_are_half_right_and_sure_ones_are_in_the_last_bin() -> None:
    found = calibrate([0.0, 1e6, -1e6], list("abc"), 1.0)
    assert found is not None
    assert [(each.low, each.accuracy.value) for each in found.bins] == [(0.5, 0.5), (0.95, 0.5)]
    assert calibrate([], [], 1.0) is None


def test_bins_are_a_twentieth_wide() -> None:
    odds = [p / (1 - p) for p in (0.52, 0.77, 0.93)]
    found = calibrate([math.log(each) for each in odds], list("abc"), 1.0)
    assert found is not None
    assert [bound for each in found.bins for bound in (each.low, each.high)] == pytest.approx(
        [0.5, 0.55, 0.75, 0.8, 0.9, 0.95]
    )
