"""What commands take for the name of a run, or for a path: never nothing, and where a run ends, never little."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench, write_pairs
from tests.tui.compare_data import make_run
from workbench.runs.folder import RunFolder
from workbench.runs.labels import read


@pytest.mark.parametrize(
    "command",
    [
        ("delete", "", "--yes"),
        ("stop", ""),
        ("stop", "", "--now"),
        ("pause", ""),
        ("continue", ""),
        ("resume", ""),
        ("move", "", "--first"),
        ("label", "", "--archive"),
        ("label", "", "--name", "x"),
        ("show", ""),
        ("logs", ""),
        ("evaluate", ""),
        ("report", ""),
        ("merge", "", "--to", "m"),
        ("push", "", "--to", "me/x", "--yes"),
        ("serve-command", ""),
        ("score", "--run", "", "--prompt", "x", "--response", "y"),
    ],
    ids=" ".join,
)
def test_an_empty_name_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    run = RunFolder(tmp_path / "runs" / make_run(tmp_path))
    write_pairs(tmp_path / "pairs" / "support.jsonl", 12)
    done = workbench(tmp_path, *command)
    assert (done.returncode, "is empty, as that of an unset variable is" in done.stderr) == (2, True), done.stderr
    assert run.run_toml.is_file()
    assert not read(run).archived


@pytest.mark.parametrize(
    "command",
    [
        ("merge", "RUN", "--to", "", "--force"),
        ("export", "support", "--to", ""),
        ("import", "", "--name", "x"),
    ],
    ids=" ".join,
)
def test_an_empty_path_is_no_folder(tmp_path: Path, command: tuple[str, ...]) -> None:
    run = make_run(tmp_path)
    write_pairs(tmp_path / "pairs" / "support.jsonl", 12)
    done = workbench(tmp_path, *(run if word == "RUN" else word for word in command))
    assert (done.returncode, "No path is given" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("command", [("delete", "--yes"), ("label", "--archive")])
def test_what_takes_a_run_away_wants_its_id_or_a_good_part_and_says_it(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    run = make_run(tmp_path)
    for short in ("2", run[:5], run[-3:]):
        done = workbench(tmp_path, command[0], short, *command[1:])
        assert (done.returncode, "too short" in done.stderr) == (2, True), done.stderr
    done = workbench(tmp_path, command[0], run[:6], *command[1:])
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0].endswith(f"ing {run}")
