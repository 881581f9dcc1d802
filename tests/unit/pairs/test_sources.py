"""Folders and archives are read file by file: nothing is lost unsaid, and one broken line costs itself."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.pairs.importers import Imported, import_rows
from workbench.pairs.lines import FileLine
from workbench.pairs.pair import plain
from workbench.pairs.sources import LeftOut, Source, open_source


def row(prompt: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": "c", "rejected": "r", **more}


def lines(*prompts: str) -> str:
    return "".join(json.dumps(row(prompt)) + "\n" for prompt in prompts)


def filled(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


def prompts(source: Source) -> list[str]:
    return [plain(pair.prompt) for pair in imported(source).pairs]


def imported(source: Source) -> Imported:
    return import_rows(source.rows)


def test_a_broken_line_of_a_shard_costs_itself_and_is_told_by_file_and_line(tmp_path: Path) -> None:
    broken = '{"prompt":"x","chosen":"c","rejec\n'
    files = {"train-0.jsonl": lines("q0", "q1"), "train-1.jsonl": broken + lines("y0"), "train-2.jsonl": lines("z0")}
    found = imported(open_source(filled(tmp_path, files)))
    assert [plain(pair.prompt) for pair in found.pairs] == ["q0", "q1", "y0", "z0"]
    [problem] = found.problems
    assert (problem.file, problem.line) == ("train-1.jsonl", 1)
    assert str(problem).startswith("train-1.jsonl:1 is not JSON")
    assert problem.to_json()["file"] == "train-1.jsonl"


def test_files_of_several_kinds_are_all_read(tmp_path: Path) -> None:
    files = {"a.jsonl": lines("q0"), "b.json": json.dumps([row("q1")]), "c.csv": "prompt,chosen,rejected\nq2,c,r\n"}
    assert prompts(open_source(filled(tmp_path, files))) == ["q0", "q1", "q2"]


def test_subfolders_are_read_and_what_is_held_out_is_named(tmp_path: Path) -> None:
    files = {"x/a.jsonl": lines("q0"), "x/b.jsonl": lines("q1"), "dev/c.jsonl": lines("q2")}
    source = open_source(filled(tmp_path, files))
    assert source.files == ("x/a.jsonl", "x/b.jsonl", "dev/c.jsonl")
    assert [(plain(pair.prompt), pair.split) for pair in imported(source).pairs] == [
        ("q0", None),
        ("q1", None),
        ("q2", "holdout"),
    ]
    assert "dev/c.jsonl" in " ".join(source.remarks())
    dev = open_source(tmp_path, split="validation")
    assert (prompts(dev), dev.left_out[0]) == (["q2"], LeftOut("x/a.jsonl", "split train"))
    within = open_source(tmp_path, subset="x")
    assert (prompts(within), within.left_out) == (["q0", "q1"], (LeftOut("dev/c.jsonl", "in another folder"),))


@pytest.mark.parametrize(
    ("name", "held_out"),
    [
        ("x_evaluation_y.jsonl", False),
        ("contest.jsonl", False),
        ("train.jsonl", False),
        ("test-notes/a.jsonl", True),
        ("hh_test.jsonl", True),
        ("validation-00001-of-00002.jsonl", True),
        ("eval.1.jsonl", True),
        ("test/train.jsonl", False),
        ("data/VAL/x.jsonl", True),
    ],
)
def test_a_split_is_told_by_how_a_name_begins_or_ends(tmp_path: Path, name: str, held_out: bool) -> None:
    assert bool(open_source(filled(tmp_path, {name: lines("q")})).held_out) == held_out


def test_what_is_left_out_is_said_and_what_is_about_the_data_is_not(tmp_path: Path) -> None:
    files = {"a.jsonl": lines("q"), "b.png": "x", "README.md": "#", ".hidden.jsonl": lines("h"), "LICENSE": "MIT"}
    source = open_source(filled(tmp_path, files))
    assert (prompts(source), [left.file for left in source.left_out]) == (["q"], ["b.png"])
    assert "b.png" in source.remarks()[-1]


def test_a_file_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    filled(tmp_path, {"a.jsonl": lines("q0"), "c.jsonl": lines("q1")})
    (tmp_path / "b.jsonl").write_bytes(lines("x").encode("utf-16"))
    found = imported(open_source(tmp_path))
    assert [plain(pair.prompt) for pair in found.pairs] == ["q0", "q1"]
    assert [problem.file for problem in found.problems] == ["b.jsonl"]
    assert "iconv" in found.problems[0].reason


def test_families_of_splits_are_not_mixed(tmp_path: Path) -> None:
    names = [f"data/{split}-00000-of-00001.jsonl" for split in ("train_prefs", "train_sft", "test_prefs")]
    filled(tmp_path, {name: lines(name) for name in names})
    with pytest.raises(WorkbenchError, match="several splits") as raised:
        open_source(tmp_path)
    assert "train_prefs, train_sft" in raised.value.message
    assert prompts(open_source(tmp_path, split="train_sft")) == [names[1]]
    filled(tmp_path / "halves", {"train_a.jsonl": lines("a"), "train_b.jsonl": lines("b")})
    assert prompts(open_source(tmp_path / "halves")) == ["a", "b"]


def test_a_card_says_which_files_are_whose(tmp_path: Path) -> None:
    card = """---
configs:
- config_name: easy
  data_files:
  - split: train
    path: "one/*.jsonl"
  - split: test
    path: ["held.jsonl"]
- config_name: hard
  data_files: two.jsonl
---
"""
    files = {"README.md": card, "one/a.jsonl": lines("a"), "held.jsonl": lines("h"), "two.jsonl": lines("t")}
    filled(tmp_path, files)
    with pytest.raises(WorkbenchError, match="several subsets"):
        open_source(tmp_path)
    easy = open_source(tmp_path, subset="easy")
    assert (prompts(easy), easy.held_out) == (["a", "h"], ("held.jsonl",))
    assert easy.left_out == (LeftOut("two.jsonl", "another subset has it"),)
    assert prompts(open_source(tmp_path, subset="hard")) == ["t"]
    with pytest.raises(WorkbenchError, match="no subset 'mean'"):
        open_source(tmp_path, subset="mean")


@pytest.mark.parametrize("pattern", ["../*.jsonl", "/etc/*", "sub/../../*.jsonl"])
def test_a_card_names_no_file_outside(tmp_path: Path, pattern: str) -> None:
    filled(tmp_path, {"secret.jsonl": lines("s"), "in/README.md": f"---\nconfigs:\n- data_files: {pattern!r}\n---\n"})
    with pytest.raises(WorkbenchError, match="No data"):
        open_source(tmp_path / "in")


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    both = {name: datasets.Dataset.from_list([row(name), row(f"{name} 2")]) for name in ("train", "test")}
    datasets.DatasetDict(both).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "saved" / "train" / "cache-1.arrow").write_bytes(b"ARROW1")
    source = open_source(tmp_path / "saved")
    assert source.left_out == (LeftOut("train/cache-1.arrow", "a cache of datasets"),)
    assert [(plain(pair.prompt), pair.split) for pair in imported(source).pairs] == [
        ("train", None),
        ("train 2", None),
        ("test", "holdout"),
        ("test 2", "holdout"),
    ]


def archive(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return path


def test_an_archive_is_read_as_its_files(tmp_path: Path) -> None:
    files = {
        "d/a.jsonl": lines("q0") + "nonsense\n",
        "d/b.csv": "prompt,chosen,rejected\nq1,c,r\n",
        "d/x.parquet": "PAR1",
    }
    source = open_source(archive(tmp_path / "x.zip", files | {"__MACOSX/d/a.jsonl": "x", "d/e.txt": "x"}))
    found = imported(source)
    assert [plain(pair.prompt) for pair in found.pairs] == ["q0", "q1"]
    assert [str(problem)[:13] for problem in found.problems] == ["d/a.jsonl:2 i"]
    assert {left.file: left.reason for left in source.left_out}["d/x.parquet"].endswith("unzip x.zip")


def test_archives_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="an Excel sheet") as raised:
        open_source(archive(tmp_path / "x.zip", {"xl/workbook.xml": "x"}))
    assert "read_excel('x.zip')" in raised.value.hint
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04nonsense")
    with pytest.raises(WorkbenchError, match=r"Cannot read bad.zip"):
        open_source(tmp_path / "bad.zip")


@given(st.lists(st.lists(st.sampled_from(["good", "bad"]), max_size=4), min_size=1, max_size=4))
def test_every_row_of_every_file_is_a_row_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, shards: Sequence[Sequence[str]]
) -> None:
    root, number = tmp_path_factory.mktemp("shards"), 0
    good: list[str] = []
    bad: list[FileLine] = []
    for shard, kinds in enumerate(shards):
        name, text = f"part-{shard}.jsonl", ""
        for line, kind in enumerate(kinds, 1):
            number += 1
            text += json.dumps(row(f"q{number}")) + "\n" if kind == "good" else '{"prompt": "cut\n'
            good += [f"q{number}"] if kind == "good" else []
            bad += [FileLine(name, line)] if kind == "bad" else []
        (root / name).write_text(text)
    found = imported(open_source(root))
    assert [plain(pair.prompt) for pair in found.pairs] == good
    assert [FileLine(problem.file, problem.line) for problem in found.problems] == bad
