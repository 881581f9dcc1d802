"""Which probes are shown token by token."""

import math

from tests.unit.evidence.examples import SIGNS, attacks
from workbench.evidence.cases import Example, choose, classified, standing
from workbench.evidence.measurements import ProbeReading, Reading


def reading(number: int, kind: str, **chances: tuple[float, float]) -> ProbeReading:
    """A probe with the probability of each family's response before and after."""
    responses = {family: Reading(math.log(before), math.log(after), 5) for family, (before, after) in chances.items()}
    return ProbeReading(f"{kind}{number}", kind, str(number), (), "Q", responses)


def test_the_worst_probe_is_where_what_should_be_said_is_least_likely() -> None:
    after = [(0.01, 0.9), (0.02, 0.95), (0.3, 0.5), (0.02, 0.7), (0.4, 0.41)]
    found = [reading(n, "attack", compliant=(0.4, bad), refusing=(0.1, good)) for n, (bad, good) in enumerate(after)]
    assert [(probe.id, why) for probe, why in choose(found, SIGNS)] == [("attack4", "worst"), ("attack3", "typical")]


def test_where_nobody_says_what_should_be_said_the_worst_moved_most_either_way() -> None:
    moves = [(0.5, 0.5), (0.5, 0.3), (0.1, 0.9), (0.5, 0.55), (0.5, 0.7)]
    found = [reading(n, "mine", other=move) for n, move in enumerate(moves)]
    assert [probe.id for probe, _ in choose(found, SIGNS)] == ["mine2", "mine4"]


def test_every_kind_has_its_own_and_a_single_probe_is_shown_once() -> None:
    found = [reading(0, "tone", rude=(0.3, 0.1)), reading(0, "neutral", neutral=(0.9, 0.8))]
    assert [(probe.id, why) for probe, why in choose(found, SIGNS)] == [("tone0", "worst"), ("neutral0", "worst")]
    assert choose([], SIGNS) == []


def test_ties_go_by_the_order_of_the_probes() -> None:
    found = [reading(n, "tone", rude=(0.2, 0.1)) for n in range(4)]
    assert [probe.id for probe, _ in choose(found, SIGNS)] == ["tone0", "tone2"]


def test_a_probe_stands_by_its_samples_where_there_are_some() -> None:
    assert standing(attacks()[0], SIGNS) == 1.0
    assert standing(attacks()[1], SIGNS) == 0.5  # three of four refuse, one complies
    by_probability = standing(attacks(after=-7.0, refusing=-0.1, sampled=False)[0], SIGNS)
    assert by_probability is not None
    assert round(by_probability, 3) == round(math.exp(-0.1) - math.exp(-7.0), 3)
    assert standing(reading(0, "mine", other=(0.1, 0.2)), SIGNS) is None


def test_ten_answers_of_a_behaviour_are_shown_the_runs_first_and_one_a_probe() -> None:
    examples = [
        Example(f"attack-{number}", "attack", f"Q{number}", "Sure.", "No.", ("compliant",), ("refusing",))
        for number in range(30)
        for _ in range(2)
    ]
    told = classified(examples, SIGNS)
    assert [(one.behaviour, one.model) for one in told] == [("compliant", "base")] * 10 + [("refusing", "run")] * 10
    assert [one.prompt for one in told[:3]] == ["Q0", "Q3", "Q6"]
    assert classified([], SIGNS) == []
