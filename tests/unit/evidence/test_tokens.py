"""Which probes are shown token by token."""

import pytest

from workbench.evidence.probes import Probe, parse_probes
from workbench.evidence.tokens import TokenPiece, TokenResponse, TokenView, choose, question
from workbench.evidence.verdicts import Readings


def _probes(kind: str, families: tuple[str, ...], count: int = 5) -> list[Probe]:
    rows = [
        {"id": f"{kind}{n}", "kind": kind, "prompt": "Q", "responses": dict.fromkeys(families, "A"), "group": str(n)}
        for n in range(count)
    ]
    return parse_probes(rows, where=kind)


def _readings(before: list[float], after: list[float]) -> Readings:
    return Readings(before, after, [str(n) for n in range(len(before))], len(before))


def test_the_worst_probe_is_where_claims_come_nearest_to_failing() -> None:
    probes = _probes("attack", ("compliant", "refusing"))
    readings = {
        ("attack", "compliant", "probability"): _readings([0.4] * 5, [0.0, 0.01, 0.02, 0.03, 0.0]),
        ("attack", "refusing", "probability"): _readings([0.1] * 5, [0.9, 0.95, 0.7, 0.3, 0.5]),
    }
    assert [(probe.id, why) for probe, why in choose(probes, readings)] == [
        ("attack3", "worst"),
        ("attack2", "typical"),
    ]


def test_where_nothing_is_claimed_the_worst_moved_most_either_way() -> None:
    probes = _probes("neutral", ("neutral",))
    readings = {("neutral", "neutral", "probability"): _readings([0.9, 0.8, 0.5, 0.9, 0.9], [0.9, 0.7, 0.9, 0.8, 0.95])}
    assert [probe.id for probe, _ in choose(probes, readings)] == ["neutral2", "neutral3"]


def test_a_response_that_only_some_probes_name_counts_for_those() -> None:
    probes = [*_probes("tone", ("courteous",), 2), *_probes("tone", ("courteous", "rude"), 1)]
    readings = {
        ("tone", "courteous", "probability"): _readings([0.2] * 3, [0.8, 0.7, 0.9]),
        ("tone", "rude", "probability"): _readings([0.3], [0.85]),
    }
    worst, _ = choose(probes, readings)
    assert worst[0].responses.keys() == {"courteous", "rude"}


def test_a_single_probe_is_shown_once_and_what_was_not_measured_not_at_all() -> None:
    probes = _probes("tone", ("rude",), 1)
    assert len(choose(probes, {("tone", "rude", "probability"): _readings([0.2], [0.1])})) == 1
    assert choose(probes, {}) == []


def test_ties_go_by_the_order_of_the_probes() -> None:
    probes = _probes("tone", ("rude",), 4)
    readings = {("tone", "rude", "probability"): _readings([0.2] * 4, [0.0] * 4)}
    assert [probe.id for probe, _ in choose(probes, readings)] == ["tone0", "tone2"]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("Hi", "Hi"),
        ([{"role": "user", "content": "Hi"}], "Hi"),
        ([{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}], "system: S\nuser: Hi"),
    ],
)
def test_roles_are_told_where_there_are_several(prompt: object, told: str) -> None:
    row = {"id": "1", "kind": "tone", "prompt": prompt, "responses": {"rude": "A"}, "group": "g"}
    assert question(*parse_probes([row], where="x")) == told


def test_the_document_rounds_numbers_and_keeps_text() -> None:
    piece = TokenPiece("<b>", -1.23456789, -0.00001, (4, 1), "x")
    view = TokenView("p", "tone", "worst", "Hi", [TokenResponse("rude", -1.23456789, -0.00001, [piece])])
    response = view.to_json()["responses"][0]
    assert response["before"] == -1.2346
    assert response["tokens"] == [
        {"text": "<b>", "before": -1.2346, "after": -0.0, "ranks": [4, 1], "likeliest": "x", "special": False}
    ]
