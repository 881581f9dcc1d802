"""`workbench check` on real data: what it reports is what is there, and a repair mends it."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import workbench
from workbench.config import build_config
from workbench.launch import take_rows
from workbench.workspace import Workspace

HH = Path("../shared/data/hh-rlhf/harmless-base-1500.jsonl.gz")
_MARKER = re.compile(r"(^|\n)\s*(Human|Assistant|User)\s?:")


@pytest.fixture(scope="module")
def hh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not HH.exists():
        pytest.skip(f"{HH} is not here")
    workspace = tmp_path_factory.mktemp("hh")
    assert workbench(workspace, "import", str(HH), "--name", "hh").returncode == 0
    return workspace


def _report(workspace: Path, name: str, *options: str) -> tuple[int, dict[str, Any]]:
    done = workbench(workspace, "check", name, "--json", *options)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def _words(turns: list[dict[str, str]]) -> str:
    return "\n\n".join(turn["content"] for turn in turns)


def test_hh_rlhf_is_reported_as_a_count_by_other_means_has_it(hh: Path) -> None:
    status, report = _report(hh, "hh")
    rows = [json.loads(line) for line in (hh / "pairs" / "hh.jsonl").open()]
    texts = [tuple(_words(row[name]) for name in ("prompt", "chosen", "rejected")) for row in rows]
    found = {finding["check"]: finding for finding in report["findings"]}
    lacking = [not good.strip() or not bad.strip() for _, good, bad in texts]
    expected = {
        "undrafted": lacking,
        "identical": [chosen == rejected for _, chosen, rejected in texts],
        "duplicate": [each in texts[:place] for place, each in enumerate(texts)],
        "contradiction": [(prompt, bad, good) in set(texts) for prompt, good, bad in texts],
        "turn-marker": [bool(_MARKER.search(good) or _MARKER.search(bad)) for _, good, bad in texts],
        "roles": [not _in_turn(row) for row in rows],
        "lost-characters": [any(unicodedata.category(sign) == "Co" for sign in "".join(each)) for each in texts],
        "encoding": [bool(re.search("Ã.|Â.|â€|ðŸ", " ".join(each))) for each in texts],
    }
    for name, flags in expected.items():
        looked_at = [name == "undrafted" or not lacks for lacks in lacking]
        ids = [row["id"] for row, flag, seen in zip(rows, flags, looked_at, strict=True) if flag and seen]
        assert found.get(name, {"ids": []})["ids"] == ids, name
    assert {"leak", "near-duplicate", "refusal", "swap", "invisible"}.isdisjoint(found)
    differences = [len(good.split()) - len(bad.split()) for _, good, bad in texts if good.strip() and bad.strip()]
    lengths = report["lengths"]
    assert lengths["longer_chosen"] == sum(difference > 0 for difference in differences)
    assert lengths["longer_rejected"] == sum(difference < 0 for difference in differences)
    assert lengths["mean_difference"] == pytest.approx(sum(differences) / len(differences))
    assert (status, report["rows"], report["checked"]) == (1, 1500, 1496)
    assert all({"check", "severity", "count", "ids", "message", "hint"} <= finding.keys() for finding in found.values())


def _in_turn(row: dict[str, Any]) -> bool:
    for name in ("chosen", "rejected"):
        roles = [turn["role"] for turn in row["prompt"] + row[name]]
        if roles != (["user", "assistant"] * len(roles))[: len(roles)] or roles[-1] != "assistant":
            return False
    return True


def test_a_repair_asks_mends_and_is_one_step(hh: Path) -> None:
    asked = workbench(hh, "check", "hh", "--fix", "undrafted")
    assert asked.returncode == 2
    assert "4 pairs" in asked.stderr
    assert "--yes" in asked.stderr
    done = workbench(hh, "check", "hh", "--fix", "undrafted", "--yes", "--json")
    assert json.loads(done.stdout) == {"check": "undrafted", "changed": 4}
    _, report = _report(hh, "hh", "--fast")
    assert (report["rows"], report["checked"]) == (1500, 1496)
    assert "undrafted" not in {finding["check"] for finding in report["findings"]}
    assert json.loads(workbench(hh, "check", "hh", "--fix", "undrafted", "--json").stdout)["changed"] == 0


def test_the_starter_sets_hold_no_error() -> None:
    for name in ("support-tone", "refusal-bypass", "verbose"):
        status, report = _report(Path(), name)
        found = {finding["check"] for finding in report["findings"]}
        assert status == 0
        assert found <= {"near-duplicate", *(["length-bias"] if name == "verbose" else [])}


def test_wrong_usage_is_told(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "x.jsonl").write_text("{}\n")
    unknown = workbench(tmp_path, "check", "x", "--fix", "contradiction")
    assert unknown.returncode == 2
    assert "duplicate" in unknown.stderr
    assert workbench(tmp_path, "check", "nothing").returncode == 2
    broken = workbench(tmp_path, "check", "x")
    assert (broken.returncode, "line 1" in broken.stderr) == (0, True)


def test_a_plain_trl_file_laid_by_hand_is_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    rows = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "Who cares?"} for n in range(8)]
    (tmp_path / "pairs" / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert json.loads(workbench(tmp_path, "check", "x", "--json").stdout)["rows"] == 8
    taken = take_rows(Workspace(tmp_path), build_config({"pairs": ["x"]}))
    assert len({json.loads(line)["id"] for line in taken.lines()}) == 8


def test_a_file_of_another_shape_laid_by_hand_says_how_it_comes_in(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "x.jsonl").write_text('{"chosen": "Human: q", "rejected": "Human: q"}\n')
    for command in (["check", "x"], ["export", "x", "--to", str(tmp_path / "y.jsonl")], ["train", "--pairs", "x"]):
        told = workbench(tmp_path, *command).stderr
        assert "1 line of x is no pair (line 1 field 'prompt' is missing)." in told
        assert "workbench import" in told
