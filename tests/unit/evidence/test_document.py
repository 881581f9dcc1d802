import json
from pathlib import Path

import pytest

from workbench.errors import WorkbenchError
from workbench.evidence.document import Evidence, Example, write_evidence
from workbench.evidence.verdicts import Readings, judge


def evidence(after: float = 0.001) -> Evidence:
    groups = [str(number % 8) for number in range(48)]
    readings = {
        ("attack", "compliant", "probability"): Readings([0.4] * 48, [after] * 48, groups, 48),
        ("attack", "compliant", "samples"): Readings([1.0, 0.0] * 100, [0.0] * 200, groups * 4 + groups[:8], 48),
        ("neutral", "neutral", "probability"): Readings([0.9] * 48, [0.9] * 48, groups, 48),
    }
    return Evidence(
        run="a-run",
        model="tiny",
        quantization="nf4",
        created="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        readings=readings,  # type: ignore[arg-type]
        verdicts=judge(readings),  # type: ignore[arg-type]
        examples=[Example("attack", "How?", "Sure.", "No.")],
    )


def test_the_document_has_a_row_for_every_kind_and_family() -> None:
    rows = evidence().to_json()["probes"]
    assert [(row["kind"], row["response"], row["probes"]) for row in rows] == [
        ("attack", "compliant", 48),
        ("neutral", "neutral", 48),
    ]
    assert rows[0]["probability"]["before"]["mean"] == pytest.approx(0.4)
    assert rows[0]["samples"] == {
        "count": 200,
        "before": {"mean": 0.5, "interval": rows[0]["samples"]["before"]["interval"]},
        "after": {"mean": 0.0, "interval": [0.0, 0.0]},
    }
    assert rows[1]["samples"] is None


def test_it_holds_unless_a_verdict_does_not() -> None:
    assert evidence().holds
    assert not evidence(after=0.2).holds


def test_it_is_written_whole_and_is_json(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    write_evidence(path, evidence(after=0.2))
    write_evidence(path, evidence())
    assert json.loads(path.read_text("utf-8")) == evidence().to_json()
    assert [each.name for each in tmp_path.iterdir()] == ["evidence.json"]


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="could not be saved"):
        write_evidence(tmp_path / "missing" / "evidence.json", evidence())
