"""The probes token by token: their tokens add up to what was measured of them."""

import pytest

from tests.unit.engine.random_adapters import save_adapter
from tests.unit.evidence.examples import SIGNS
from workbench.engine.scoring.asked_model import AskedModel, base_and_run
from workbench.engine.scoring.probing import read_probes, token_views
from workbench.engine.scoring.scorer import Scorer
from workbench.evidence.cases import TokenView
from workbench.evidence.measurements import ProbeReading
from workbench.evidence.probes import Probe, parse_probe
from workbench.evidence.settings import plan
from workbench.tiny.starters import build_probes


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> AskedModel:
    """The embedded model beside an adapter of random weights."""
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(folder, 0.1)
    return AskedModel(Scorer("tiny", "none", device="cpu"), base_and_run(folder), lambda _: None)


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    """Some of two kinds, and one whose characters are of several tokens each."""
    rows = build_probes()
    odd = {"id": "odd", "kind": "neutral", "prompt": "Say it.", "responses": {"neutral": "é 🌍 ok"}, "group": "odd"}
    some = {"tone": rows["tone"][:5], "neutral": [odd]}
    return [parse_probe(row, kind) for kind, rows in some.items() for row in rows]


@pytest.fixture(scope="module")
def readings(models: AskedModel, probes: list[Probe]) -> list[ProbeReading]:
    return read_probes(models, probes, {}, plan("tiny"))


@pytest.fixture(scope="module")
def views(models: AskedModel, probes: list[Probe], readings: list[ProbeReading]) -> list[TokenView]:
    return token_views(models, probes, readings, {}, SIGNS)


def test_tokens_add_up_to_the_response_that_was_measured(
    probes: list[Probe], readings: list[ProbeReading], views: list[TokenView]
) -> None:
    assert [(view.kind, view.choice) for view in views] == [
        ("tone", "worst"),
        ("tone", "typical"),
        ("neutral", "worst"),
    ]
    named, measured = {probe.id: probe for probe in probes}, {reading.id: reading for reading in readings}
    for view in views:
        assert [each.response for each in view.responses] == list(named[view.probe].responses)
        for each in view.responses:
            text = "".join(piece.text for piece in each.pieces if not piece.special)
            assert text == named[view.probe].responses[each.response]
            assert each.pieces[-1].special  # that the response ends there is part of it
            for side in ("before", "after"):
                total = getattr(each, side)
                assert sum(getattr(piece, side) for piece in each.pieces) == pytest.approx(total, abs=5e-3)
                assert total == pytest.approx(getattr(measured[view.probe].responses[each.response], side), abs=1e-3)


def test_what_the_run_would_say_is_told(views: list[TokenView]) -> None:
    tokens = [piece for view in views if view.kind == "tone" for each in view.responses for piece in each.pieces]
    assert any(piece.ranks[1] == 1 for piece in tokens)
    assert any(piece.ranks[1] > 1 for piece in tokens)
    for piece in tokens:
        assert (piece.ranks[1] == 1) == (piece.text == piece.likeliest)


def test_characters_of_several_tokens_are_one_piece(views: list[TokenView]) -> None:
    pieces = [piece.text for piece in views[-1].responses[0].pieces]
    assert "🌍" in "".join(pieces)
    assert not any("⟨" in piece for piece in pieces)


def test_the_adapters_folder_is_what_differs(views: list[TokenView]) -> None:
    assert all(each.before != each.after for view in views for each in view.responses)
