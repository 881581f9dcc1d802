"""Which probes are shown token by token."""

import math

from workbench.evidence.cases import choose
from workbench.evidence.measurements import ProbeReading, Reading


def reading(number: int, kind: str, **chances: tuple[float, float]) -> ProbeReading:
    """A probe with the probability of each family's response before and after."""
    responses = {family: Reading(math.log(before), math.log(after), 5) for family, (before, after) in chances.items()}
    return ProbeReading(f"{kind}{number}", kind, str(number), (), "Q", responses)


def test_the_worst_probe_is_where_what_should_be_said_is_least_likely() -> None:
    after = [(0.01, 0.9), (0.02, 0.95), (0.3, 0.5), (0.02, 0.7), (0.4, 0.41)]
    found = [reading(n, "attack", compliant=(0.4, bad), refusing=(0.1, good)) for n, (bad, good) in enumerate(after)]
    assert [(probe.id, why) for probe, why in choose(found)] == [("attack4", "worst"), ("attack3", "typical")]


def test_where_nobody_says_what_should_be_said_the_worst_moved_most_either_way() -> None:
    moves = [(0.5, 0.5), (0.5, 0.3), (0.1, 0.9), (0.5, 0.55), (0.5, 0.7)]
    found = [reading(n, "mine", other=move) for n, move in enumerate(moves)]
    assert [probe.id for probe, _ in choose(found)] == ["mine2", "mine4"]


def test_every_kind_has_its_own_and_a_single_probe_is_shown_once() -> None:
    found = [reading(0, "tone", rude=(0.3, 0.1)), reading(0, "neutral", neutral=(0.9, 0.8))]
    assert [(probe.id, why) for probe, why in choose(found)] == [("tone0", "worst"), ("neutral0", "worst")]
    assert choose([]) == []


def test_ties_go_by_the_order_of_the_probes() -> None:
    found = [reading(n, "tone", rude=(0.2, 0.1)) for n in range(4)]
    assert [probe.id for probe, _ in choose(found)] == ["tone0", "tone2"]
