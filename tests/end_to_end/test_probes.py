"""`workbench probes`: suites that ship, suites that are there."""

import json
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import workbench


def as_json(workspace: Path, *arguments: str) -> Any:
    done = workbench(workspace, "probes", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_suites_that_ship_are_added_and_listed(tmp_path: Path) -> None:
    assert "probes add --list" in workbench(tmp_path, "probes", "list").stderr
    offered = as_json(tmp_path, "add", "--list")
    assert {suite["kind"] for suite in offered} == {"attack", "benign", "tone", "neutral"}
    assert not (tmp_path / "pairs").exists()
    added = as_json(tmp_path, "add", "english-tone", "english-attack")
    assert [(suite["name"], suite["added"]) for suite in added] == [("english-tone", True), ("english-attack", True)]
    listed = as_json(tmp_path, "list")
    assert [(suite["suite"], suite["kind"], suite["groups"]) for suite in listed] == [
        ("english-attack", "attack", 21),
        ("english-tone", "tone", 22),
    ]
    assert listed[0]["responses"] == ["compliant", "refusing"]
    table = workbench(tmp_path, "probes", "list").stdout
    assert "english-attack" in table
    assert max(map(len, table.splitlines())) <= 140


def test_a_suite_is_added_once_and_never_over_another(tmp_path: Path) -> None:
    assert [suite["added"] for suite in as_json(tmp_path, "add", "--all")] == [True] * 4
    assert [suite["added"] for suite in as_json(tmp_path, "add", "--all")] == [False] * 4
    path = tmp_path / "pairs" / "probes" / "english-tone.jsonl"
    shipped = path.read_bytes()
    first = shipped.splitlines(keepends=True)[0]
    path.write_bytes(first)
    refused = workbench(tmp_path, "probes", "add", "english-tone")
    assert (refused.returncode, path.read_bytes()) == (2, first)
    assert "--replace" in refused.stderr
    assert workbench(tmp_path, "probes", "add", "english-tone", "--replace").returncode == 0
    assert path.read_bytes() == shipped


def test_what_does_not_ship_is_told_with_what_does(tmp_path: Path) -> None:
    for arguments in (("english-atack",), ()):
        refused = workbench(tmp_path, "probes", "add", *arguments)
        assert refused.returncode == 2
        assert "english-attack" in refused.stderr
