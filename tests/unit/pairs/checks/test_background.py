"""The process of its own reports what the checks say here, and ends when nobody waits."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.pairs.checks.build import CLEAN, talk
from workbench.child import GivenUpError
from workbench.errors import WorkbenchError
from workbench.pairs.checks.background import check_file
from workbench.pairs.checks.findings import CheckFinding
from workbench.pairs.checks.run import run_checks
from workbench.pairs.store import write_pairs

PAIRS = [
    *CLEAN,
    replace(CLEAN[0], id="copy"),
    replace(CLEAN[1].swapped(), id="back"),
    talk("e", "Hm?", "Well.", "Itâ€™s \u202e so."),
    talk("draft", "Hm? So?", "", "It is so."),
    talk("gone", "Q", "", "", status="dropped"),
]


def test_it_says_what_the_checks_say(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_pairs(path, PAIRS)
    told: list[tuple[str, float]] = []
    found: list[CheckFinding] = []
    report = check_file(path, on_progress=lambda *step: told.append(step), on_finding=found.append)
    here = run_checks(PAIRS)
    assert {finding.check for finding in here.findings} >= {
        "undrafted",
        "duplicate",
        "contradiction",
        "encoding",
        "invisible",
    }
    assert (report.rows, report.checked, report.findings) == (here.rows, here.checked, here.findings)
    assert report.lengths == here.lengths
    assert sorted(map(repr, found)) == sorted(map(repr, report.findings))
    assert ("near-duplicate", 0.0) in told


def test_cancelling_is_quick(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_pairs(path, [talk(f"p{number}", f"Q {number}?", "a " * 300, "b " * 300) for number in range(3000)])
    began = time.monotonic()
    with pytest.raises(GivenUpError):
        check_file(path, cancelled=lambda: True)
    assert time.monotonic() - began < 5


def test_failures_are_told(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"x\.jsonl|cannot"):
        check_file(tmp_path / "x.jsonl")
    write_pairs(tmp_path / "y.jsonl", PAIRS)
    with pytest.raises(WorkbenchError, match="No such model"):
        check_file(tmp_path / "y.jsonl", model="/no/such/model")
