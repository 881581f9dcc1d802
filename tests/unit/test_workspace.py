"""Names become paths inside the workspace, and never outside it."""

from pathlib import Path

import pytest

from workbench.errors import WorkbenchError
from workbench.workspace import ENVIRONMENT_VARIABLE, Workspace


def test_the_flag_wins_over_the_environment_and_that_over_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag, variable = tmp_path / "flag", tmp_path / "variable"
    flag.mkdir()
    variable.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    assert Workspace.find().root == tmp_path
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(variable))
    assert Workspace.find().root == variable
    assert Workspace.find(flag).root == flag
    with pytest.raises(WorkbenchError, match="not a folder"):
        Workspace.find(tmp_path / "absent")


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", ".hidden", "a\nb", "x" * 101, "-flag"])
def test_a_name_cannot_leave_the_workspace(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkbenchError, match="cannot be a file name"):
        Workspace(tmp_path).pairs_file(name)


def test_an_absent_data_set_names_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "tone.jsonl").touch()
    workspace = Workspace(tmp_path)
    assert workspace.datasets() == ["tone"]
    (workspace.pairs / "two words.jsonl").touch()
    assert (workspace.datasets(), workspace.misnamed()) == (["tone"], ["two words"])
    with pytest.raises(WorkbenchError, match="Data sets here: tone"):
        workspace.existing_pairs_file("town")


def test_a_run_is_found_by_a_unique_part_of_its_id(tmp_path: Path) -> None:
    for run in ("2026-01-02-0304-tone-dpo", "2026-01-02-0304-tone-dpo-2", "2026-05-06-0708-hh-dpo"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "run.toml").touch()
    workspace = Workspace(tmp_path)
    assert workspace.run_folder("hh-dpo").name == "2026-05-06-0708-hh-dpo"
    assert workspace.run_folder("2026-01-02-0304-tone-dpo").name == "2026-01-02-0304-tone-dpo"
    with pytest.raises(WorkbenchError, match="several"):
        workspace.run_folder("2026-01-02")
    with pytest.raises(WorkbenchError, match="no run matches; runs here: 2026-05-06-0708-hh-dpo, 2026-01-02"):
        workspace.run_folder("absent")


def test_an_empty_name_is_no_run_and_what_ends_one_takes_more_than_a_few_letters(tmp_path: Path) -> None:
    """`workbench delete "$RUN" --yes`, with RUN unset, deleted the only run there was."""
    only = "2026-05-06-0708-hh-dpo"
    (tmp_path / "runs" / only).mkdir(parents=True)
    (tmp_path / "runs" / only / "run.toml").touch()
    workspace = Workspace(tmp_path)
    for to_end in (False, True):
        for empty in ("", " ", "\n"):
            with pytest.raises(WorkbenchError, match="No run is named"):
                workspace.run_folder(empty, to_end=to_end)
        for name in (only, only[:6]):
            assert workspace.run_folder(name, to_end=to_end).name == only
    for short in ("o", only[:5], only[-5:]):
        assert workspace.run_folder(short).name == only
        with pytest.raises(WorkbenchError, match="too short"):
            workspace.run_folder(short, to_end=True)
    with pytest.raises(WorkbenchError, match="no run matches"):
        workspace.run_folder("0708-hh-dpo", to_end=True)
    (tmp_path / "runs" / f"{only}-2").mkdir()
    (tmp_path / "runs" / f"{only}-2" / "run.toml").touch()
    assert workspace.run_folder(only, to_end=True).name == only
    with pytest.raises(WorkbenchError, match="several"):
        workspace.run_folder(only[:-1], to_end=True)
