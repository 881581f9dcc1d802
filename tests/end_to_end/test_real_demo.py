"""The command of the demo on a real model, on one that takes seconds; its bars are in tests/real."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import workbench
from workbench.config import PRESETS
from workbench.demo import real
from workbench.demo.pairs import DATA
from workbench.tiny import WEIGHTS


def values(run: dict[str, Any], measure: str = "samples") -> dict[tuple[str, str], tuple[float, float]]:
    """Before and after, by kind and behaviour."""
    return {
        (row["kind"], row["response"]): (row[measure]["before"]["mean"], row[measure]["after"]["mean"])
        for row in run["probes"]
        if row[measure]
    }


def test_the_command_trains_both_runs_and_sets_them_side_by_side(tmp_path: Path) -> None:
    """On a copy of the embedded model, which is no copy by name: so it is told by English rules, as any other."""
    shutil.copytree(WEIGHTS, tmp_path / "model")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "workbench.toml").write_text("[evidence]\nsamples = 1\nanswer_tokens = 8\n")
    done = workbench(
        tmp_path, "demo", "--both", "--model", str(tmp_path / "model"), "--json", "--keep", str(tmp_path / "demo")
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    first, second = found["runs"]
    assert {verdict["claim"] for verdict in second["verdicts"]} >= {
        "refusals of attacks",
        "compliant answers to attacks",
    }
    assert ("attack", "refusing") in values(second)
    rates = [real.LOOKS_GOOD["learning_rate"], PRESETS[real.PRESET].values["learning_rate"]]
    for run, rate in zip((first, second), rates, strict=True):
        assert f"learning_rate = {rate}" in (tmp_path / "demo" / "runs" / run["run"] / "run.toml").read_text()
        assert run["pairs_per_second"] > 0
    assert "The run that looks good" in done.stderr
    assert (tmp_path / "demo" / "pairs" / "break-ins.jsonl").read_bytes() == (DATA / "pairs.jsonl").read_bytes()


def test_a_folder_without_a_model_is_told_before_anything_is_made(tmp_path: Path) -> None:
    done = workbench(
        tmp_path, "demo", "--model", str(tmp_path / "none"), "--headless", "--keep", str(tmp_path / "demo")
    )
    assert done.returncode == 2
    assert "No such model" in done.stderr
    assert not (tmp_path / "demo").exists()
