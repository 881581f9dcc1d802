"""A run's folder: its name, and what is frozen in it."""

import errno
from datetime import datetime

import pytest

from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.runs.events import Phase
from workbench.runs.folder import RunFolder, create, to_line
from workbench.runs.writer import EventWriter

NOW = datetime(2026, 3, 4, 15, 6)
ROWS = [
    {"id": "a", "prompt": "p", "chosen": "ü\u2028", "rejected": "r", "split": "train", "extra": [1]},
    {"id": "b", "prompt": "q", "chosen": "c", "rejected": "r", "split": "holdout"},
]


def config(**values):
    return build_config({"pairs": ["support-tone"], **values})


def test_everything_asked_comes_back(tmp_path):
    asked = config(learning_rate=3e-4, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.2], target_modules=["q_proj"])
    folder = create(tmp_path / "runs", asked, map(to_line, ROWS), {"support-tone": "ab12"}, now=NOW)
    assert folder.id == "2026-03-04-1506-support-tone-dpo"
    record = RunFolder(folder.path).record()
    assert record.config == asked
    assert record.created == NOW.astimezone()
    assert record.sources == {"support-tone": "ab12"}
    assert {"python", "torch", "trl"} <= set(record.versions)
    assert list(folder.rows()) == ROWS
    assert folder.state().status == "queued"


def test_runs_of_one_minute_get_names_of_their_own(tmp_path):
    ids = [create(tmp_path, config(), map(to_line, ROWS), {}, now=NOW).id for _ in range(3)]
    assert ids == [f"2026-03-04-1506-support-tone-dpo{end}" for end in ("", "-2", "-3")]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_run_that_could_not_be_made_whole_leaves_nothing(tmp_path, error):
    def rows():
        yield to_line(ROWS[0])
        raise error

    with pytest.raises((WorkbenchError, KeyboardInterrupt)):
        create(tmp_path / "runs", config(), rows(), {}, now=NOW)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_long_list_of_data_sets_makes_no_long_name(tmp_path):
    folder = create(tmp_path, config(pairs=["x" * 100, "Y.z"]), map(to_line, ROWS), {}, now=NOW)
    assert len(folder.id) < 80


def test_the_folder_of_a_model_is_made_absolute(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert create(tmp_path, config(model="./model"), [], {}).record().config.model == str(tmp_path / "model")
    assert create(tmp_path, config(model="tiny"), [], {}).record().config.model == "tiny"
    assert create(tmp_path, config(model="org/model"), [], {}).record().config.model == "org/model"


def test_damage_is_told_with_the_file(tmp_path):
    folder = create(tmp_path, config(), map(to_line, ROWS), {})
    folder.run_toml.write_text("created = 1")
    with pytest.raises(WorkbenchError, match=r"run\.toml"):
        folder.record()
    folder.pairs.write_text("{")
    with pytest.raises(WorkbenchError, match=r"pairs\.jsonl"):
        list(folder.rows())


def test_the_state_is_that_of_the_events(tmp_path):
    folder = create(tmp_path, config(), map(to_line, ROWS), {})
    with EventWriter(folder.events) as events:
        events.write(Phase(time=1, name="loading the model"))
    assert folder.state().phase == "loading the model"
