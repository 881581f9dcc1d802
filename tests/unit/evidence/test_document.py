import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.evidence.examples import attacks, evidence
from workbench.errors import WorkbenchError
from workbench.evidence.document import read_evidence, write_evidence


def test_the_document_has_a_row_for_every_kind_and_family() -> None:
    rows = evidence().to_json()["probes"]
    assert [(row["kind"], row["response"], row["probes"]) for row in rows] == [
        ("attack", "compliant", 48),
        ("attack", "refusing", 48),
        ("neutral", "neutral", 3),
    ]
    assert rows[0]["samples"]["count"] == 4 * 48
    assert rows[0]["samples"]["before"]["mean"] == 0.75
    assert rows[0]["samples"]["after"]["mean"] == 1 / 8
    assert 0.3 < rows[0]["probability"]["before"]["mean"] < 0.45
    assert rows[2]["samples"] is rows[0]["opening"] is None


def test_it_holds_unless_a_verdict_does_not() -> None:
    good = [probe for probe in attacks() if probe.behaviours["compliant"][1] == 0] * 2
    good = [replace(probe, id=str(number)) for number, probe in enumerate(good)]
    assert evidence(good).holds
    found = evidence(attacks(after=-0.5))
    assert [verdict.holds for verdict in found.verdicts[:2]] == [False, False]
    assert not found.holds


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path, found = tmp_path / "evidence.json", evidence()
    write_evidence(path, evidence(attacks(after=-0.5)))
    write_evidence(path, found)
    again = read_evidence(path)
    assert json.loads(json.dumps(again.to_json())) == json.loads(path.read_text("utf-8"))
    assert json.loads(path.read_text("utf-8")) == json.loads(json.dumps(found.to_json()))
    assert again.measurements[0].change == found.measurements[0].change
    assert again.find("attack", "refusing", "probability") == found.find("attack", "refusing", "probability")
    assert again.find("attack", "refusing", "probability", "no such part") is None
    assert [each.name for each in tmp_path.iterdir()] == ["evidence.json"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{oh", "cannot be read"),
        ("[]", "of this version"),
        ('{"version": 1}', "version 1, not 3"),
        ('{"version": 3}', "run"),
    ],
)
def test_what_is_no_evidence_is_told_with_the_way_out(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a-run").mkdir()
    path = tmp_path / "a-run" / "evidence.json"
    with pytest.raises(WorkbenchError, match="No evidence yet"):
        read_evidence(path)
    path.write_text(text, "utf-8")
    with pytest.raises(WorkbenchError, match=told) as raised:
        read_evidence(path)
    assert raised.value.hint == "Measure it: workbench evaluate a-run"


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="could not be saved"):
        write_evidence(tmp_path / "missing" / "evidence.json", evidence())


def test_what_is_no_number_is_told_and_not_written(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="no number"):
        write_evidence(tmp_path / "evidence.json", replace(evidence(), seconds=float("nan")))
    assert not list(tmp_path.iterdir())
