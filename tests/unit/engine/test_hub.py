"""Rows of a data set of the hub's kind, in a folder: splits, damage on the way, and what `datasets` cannot load."""

import json
from pathlib import Path

import pytest

from workbench.engine.hub import read_hub
from workbench.errors import WorkbenchError
from workbench.pairs.lines import UnusableError

ROW = {"prompt": "Why?", "chosen": "Because it is.", "rejected": "No."}


def written(folder: Path, rows: int, **splits: str) -> str:
    for name, end in splits.items():
        (folder / f"{name}.jsonl").write_text(f"{json.dumps(ROW)}\n" * rows + end)
    return str(folder)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `datasets` keeps of other tests does not matter."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_train_is_read_where_there_are_several_splits_and_progress_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    name = written(tmp_path, 401, train="", test="")
    rows = list(read_hub(name, progress=lambda *at: told.append(at)))
    assert [number for number, _ in rows] == list(range(1, 402))
    assert all(row == ROW for _, row in rows)
    assert told == [(200, 0), (400, 0)]
    assert len(list(read_hub(name, split="test"))) == 401


def test_the_only_split_is_read_whatever_its_name(tmp_path: Path) -> None:
    assert list(read_hub(written(tmp_path, 1, test=""))) == [(1, ROW)]


def test_a_split_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="no split 'nope'") as raised:
        list(read_hub(written(tmp_path, 1, train="", test=""), split="nope"))
    assert raised.value.message == "Its splits: train, test."


def test_rows_before_damage_are_kept_and_the_damage_is_told(tmp_path: Path) -> None:
    # `datasets` reads 10 MB at a time, and the damage comes after these.
    large = {**ROW, "chosen": "x" * 1_000_000}
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(large)}\n" * 24 + '{"prompt": "torn\n')
    *rows, (number, last) = list(read_hub(str(tmp_path)))
    assert rows
    assert all(row == large for _, row in rows)
    assert isinstance(last, UnusableError)
    assert (number, "nor what follows it" in str(last)) == (len(rows) + 1, True)


def test_where_no_row_can_be_read_it_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(b"\xff\xfe not JSON\n")
    with pytest.raises(WorkbenchError, match="Cannot load"):
        list(read_hub(str(tmp_path)))


def test_a_data_set_that_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="Cannot load") as raised:
        list(read_hub(str(tmp_path / "none")))
    assert raised.value.message.startswith("datasets says: ")
    assert str(tmp_path / "none") in raised.value.message
    assert "\n" not in raised.value.message
