"""What is damaged is named; what is not is read as what it says."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.evidence.sample_labels import SampleLabel, add_label
from workbench.files import json_in, sweep_unfinished, toml_in, write_whole
from workbench.pairs.store import write_pairs
from workbench.runs import process
from workbench.runs.folder import create
from workbench.runs.pair_scores import ScoreWriter
from workbench.runs.writer import EventWriter


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' twice"),
        ("NaN", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[1.5, 1e999]", "1e999"),
        ("1" * 400 + ".5", "which is none"),
        ("9" * 5000, "4300 digits"),
        ("[" * 100_000, "nested too deeply"),
        ('"\\ud800"', "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_json_that_is_damaged_is_named(text: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        json_in(text)


def test_json_is_read_as_what_it_says() -> None:
    assert json_in(b'{"a": [1e300, -1.5E-400, 1.0], "b": "\\ud83d\\ude00", "c": {"a": null}}') == {
        "a": [1e300, 0.0, 1.0],
        "b": "😀",
        "c": {"a": None},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = 1\na = 2", "overwrite"),
        (b"a = '\xff'", "not UTF-8"),
        ("a = 1".encode("utf-16"), "not UTF-8"),
        ("a = ", "Invalid"),
    ],
)
def test_toml_that_is_damaged_is_named(text: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        toml_in(text)


def test_what_a_killed_process_left_is_swept_once_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, living, recycled = (tmp_path / f"x.json.{pid}.tmp" for pid in (ended.pid, os.getppid(), os.getpid()))
    others = [tmp_path / f"y.json.{ended.pid}.tmp", tmp_path / "x.json.notes.tmp"]
    for each in (dead, living, recycled, *others):
        each.touch()
    os.utime(recycled, (1e9, 1e9))
    sweep_unfinished(path, "x.json.", ".tmp")
    assert set(tmp_path.iterdir()) == {living, *others}
    dead.touch()
    write_whole(path, "{}")
    assert set(tmp_path.iterdir()) == {path, living, *others}


def test_half_a_data_set_of_a_killed_process_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".x.jsonl.{ended.pid}.part").write_bytes(b"half")
    write_pairs(path, [])
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_through_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    path, elsewhere = tmp_path / "pairs" / "x.jsonl", tmp_path / "elsewhere.jsonl"
    path.symlink_to(elsewhere)
    with pytest.raises(WorkbenchError, match="link to nowhere"):
        write_pairs(path, [])
    assert not elsewhere.exists()


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_appended_through_a_link_in_a_run(there: bool, tmp_path: Path) -> None:
    run = create(tmp_path / "runs", build_config({"pairs": ["x"]}), [], {})
    elsewhere = tmp_path / "elsewhere"
    if there:
        elsewhere.write_text("mine\n")
    label = SampleLabel("attack", "refuses", "Open it.", "No.", told=True, right=True)
    appending: dict[Path, Callable[[], object]] = {
        run.events: lambda: EventWriter(run.events),
        run.log: lambda: process.resume(run),
        run.sample_labels: lambda: add_label(run.sample_labels, label),
        run.path / "pair_scores.jsonl": lambda: ScoreWriter(run.path),
    }
    for path, append in appending.items():
        path.unlink(missing_ok=True)
        path.symlink_to(elsewhere)
        with pytest.raises(WorkbenchError, match="is a link"):
            append()
        path.unlink()
        assert (elsewhere.read_text() if there else elsewhere.exists()) == ("mine\n" if there else False)


def test_a_run_that_could_not_be_made_leaves_no_folder(tmp_path: Path) -> None:
    def lines() -> Iterator[bytes]:
        yield b"{}\n"
        raise OSError(28, "No space left on device")

    with pytest.raises(WorkbenchError, match="could not be made"):
        create(tmp_path / "runs", build_config({"pairs": ["x"]}), lines(), {})
    assert not list((tmp_path / "runs").iterdir())
