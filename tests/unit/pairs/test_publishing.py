"""A published folder is read by `load_dataset`, by TRL and by our own import, and says what it is."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.launch import take_rows
from workbench.pairs.checks.run import check_rows
from workbench.pairs.importers import import_rows
from workbench.pairs.pair import plain
from workbench.pairs.publishing import Published, publish
from workbench.pairs.sources import open_source
from workbench.pairs.store import load_rows
from workbench.workspace import Workspace

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"n": {}}}}}


def turns(n: int, **more: Any) -> dict[str, Any]:
    said = {"prompt": ("user", f"q{n}"), "chosen": ("assistant", f"good {n}"), "rejected": ("assistant", "bad")}
    return {name: [{"role": role, "content": text}] for name, (role, text) in said.items()} | {"id": f"i{n}"} | more


def published(root: Path, rows: list[dict[str, Any]], **how: Any) -> tuple[Path, Published]:
    (root / "pairs").mkdir()
    (root / "pairs" / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_rows(root / "pairs" / "x.jsonl")
    folder = root / "out"
    folder.mkdir()
    return folder, publish(folder, "me/x", loaded, check_rows(loaded), license_id="cc-by-4.0", **how)


def test_train_and_test_are_what_a_run_trains_on_and_holds_out(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [turns(n, note="mine", status="accepted", source="a|b") for n in range(20)]
    rows[3]["status"] = "dropped"
    rows[4]["rejected"] = [{"role": "assistant", "content": ""}]
    rows[5]["tools"], rows[19]["rating"] = [TOOL], 4.5
    folder, counts = published(tmp_path, rows)
    taken = take_rows(Workspace(tmp_path), build_config({"pairs": ["x"]}))
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    [part] = counts.parts
    assert {split: len(loaded[split]) for split in loaded} == {"train": len(part.train), "test": len(part.test)}
    assert (len(part.train), len(part.test)) == (taken.counts.train, taken.counts.holdout)
    assert (counts.left_out, counts.left_alone, part.things) == (2, 1, "pair")
    sides = {json.loads(line)["id"]: json.loads(line)["split"] for line in taken.lines()}
    assert {row["id"] for row in loaded["test"]} == {name for name, side in sides.items() if side == "holdout"}
    assert loaded["train"].features == loaded["test"].features
    assert not {"status", "split", "note"} & set(loaded["train"].column_names)
    every = {row["id"]: row for split in loaded.values() for row in split}
    assert every["i7"]["chosen"] == [{"role": "assistant", "content": "good 7"}]
    assert json.loads(every["i5"]["tools"]) == [TOOL]


def test_the_card_says_what_it_is(tmp_path: Path) -> None:
    rows = [turns(n, source="<script>|x" if n else "") for n in range(5)]
    rows.append(turns(1) | {"id": "again"})
    folder, counts = published(tmp_path, rows)
    _, front, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    about = yaml.safe_load(front)
    assert (about["license"], about["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    assert about["configs"][0]["data_files"] == [
        {"split": split, "path": f"data/{split}-*.parquet"} for split in ("train", "test")
    ]
    assert f"| train | {len(counts.parts[0].train)} |" in body
    assert "| duplicate | " in body
    assert 'load_dataset("me/x")' in body
    assert r"\<script\>\|x" in body


def test_it_comes_in_again_as_it_was(tmp_path: Path) -> None:
    folder, counts = published(tmp_path, [turns(n, rating=n) for n in range(12)])
    source = open_source(folder)
    found = import_rows(source.rows)
    assert not found.problems
    assert sorted(plain(pair.prompt) for pair in found.pairs) == sorted(f"q{n}" for n in range(12))
    assert sum(pair.split == "holdout" for pair in found.pairs) == len(counts.parts[0].test)
    assert {pair.id for pair in found.pairs} == {f"i{n}" for n in range(12)}


@pytest.mark.parametrize("conversational", [True, False])
def test_answers_judged_alone_go_as_kto_reads_them_and_come_in_again(tmp_path: Path, conversational: bool) -> None:
    rows = [turns(n, **{"rejected" if n % 2 else "chosen": []}, rating=n, status="accepted") for n in range(12)]
    if not conversational:
        texts = ("prompt", "chosen", "rejected")
        rows = [row | {name: "".join(turn["content"] for turn in row[name]) for name in texts} for row in rows]
    folder, counts = published(tmp_path, rows, accepted_only=True)
    [part] = counts.parts
    assert (part.name, part.things, len(part.train) + len(part.test)) == ("default", "judged answer", 12)
    assert counts.left_out == 0
    card = (folder / "README.md").read_text()
    assert "Judged answers" in card
    assert "| split | judged answers |" in card
    found = import_rows(open_source(folder).rows, conversational=conversational)
    assert not found.problems
    read = {pair.id: pair for pair in found.pairs}
    for row in load_rows(tmp_path / "pairs" / "x.jsonl").order.tolist():
        before = load_rows(tmp_path / "pairs" / "x.jsonl").pair(row)
        after = read[before.id]
        assert (after.prompt, plain(after.chosen), plain(after.rejected)) == (
            before.prompt,
            plain(before.chosen),
            plain(before.rejected),
        )
        assert after.extra["rating"] == before.extra["rating"]


def test_judged_answers_beside_pairs_are_a_configuration_of_their_own(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [turns(n) for n in range(12)]
    rows += [turns(n % 15, id=f"j{n}", **{"rejected" if n % 2 else "chosen": []}) for n in range(20)]
    folder, counts = published(tmp_path, rows, judged=True)
    assert [(part.name, len(part.train) + len(part.test)) for part in counts.parts] == [("default", 12), ("kto", 20)]
    loaded = {
        name: datasets.load_dataset(str(folder), *more, cache_dir=str(tmp_path / "cache"))
        for name, more in (("pairs", []), ("kto", ["kto"]))
    }
    assert loaded["pairs"]["train"].column_names == ["id", "prompt", "chosen", "rejected"]
    assert set(loaded["kto"]["train"].column_names) == {"id", "prompt", "completion", "label"}
    prompts = {
        split: {str(row["prompt"]) for part in loaded.values() for row in part[split]} for split in ("train", "test")
    }
    assert not prompts["train"] & prompts["test"]
    card = (folder / "README.md").read_text()
    assert 'answers = load_dataset("me/x", "kto")' in card
    source = open_source(folder)
    found = import_rows(source.rows)
    assert any("another subset" in left.reason for left in source.left_out)
    again = import_rows(open_source(folder, subset="kto").rows, existing=found.pairs)
    assert {pair.id for pair in (*found.pairs, *again.pairs)} == {row["id"] for row in rows}
    assert [sum(pair.alone is good for pair in again.pairs) for good in (True, False)] == [10, 10]


def test_pairs_and_judged_answers_come_in_by_one_import() -> None:
    whole = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    judged = [{"prompt": "q", "completion": text, "label": text == "fine"} for text in ("fine", "poor")]
    found = import_rows(enumerate([whole, *judged], 1))
    assert [pair.alone for pair in found.pairs] == [None, True, False]
    assert (found.judged, len(found.read_as), found.problems) == (2, 2, [])


def test_only_what_was_accepted(tmp_path: Path) -> None:
    rows = [turns(n, status="accepted" if n < 4 else "new", split="train") for n in range(6)]
    _, counts = published(tmp_path, rows, accepted_only=True)
    assert ([str(part) for part in counts.parts], counts.left_out) == (["4 pairs to train on, 0 for tests"], 2)
    (tmp_path / "none").mkdir()
    with pytest.raises(WorkbenchError, match="Nothing to publish"):
        published(tmp_path / "none", [turns(1, status="dropped")])
