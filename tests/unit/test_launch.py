"""What a run takes from its data sets: the rows with every edit, their hash, and no more memory than the files need."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.launch import launch, take_rows
from workbench.pairs.pair import Message, Pair, to_row
from workbench.pairs.store import PairStore, load_pairs, write_pairs
from workbench.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr("workbench.launch.start", lambda _: None)  # No worker is wanted.
    return Workspace.find(tmp_path)


ODD = b'{"id":"d","split":null,"prompt":[{"role":"user","content":"Who?"}],"chosen":%b,"rejected":%b }'
ANSWER = b'[{"role":"assistant","content":"I."}]'


def question(number: int) -> Pair:
    return Pair(f"id{number}", f"Question {number}?", "good", "bad")


def test_the_hash_is_of_what_trains_edits_that_are_not_saved_included(workspace: Workspace) -> None:
    path = workspace.pairs_file("x")
    write_pairs(path, map(question, range(6)))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with PairStore(path, quiet=3600) as store:
        store.set_status([1], "dropped")
        store.swap([2])
        store.update(["id3"], lambda pair: Pair(pair.id, pair.prompt, "better", pair.rejected))
        store.add([question(9)], after=0)
        folder = launch(workspace, build_config({"pairs": ["x"], "holdout": 0}))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before, "the file was saved, so this shows nothing"
        store.file.save()
    recorded = folder.record().sources["x"]
    assert recorded == hashlib.sha256(path.read_bytes()).hexdigest() != before
    trained = [(row["id"], row["chosen"]) for row in folder.rows()]
    assert trained == [
        ("id0", "good"), ("id9", "good"), ("id2", "bad"), ("id3", "better"), ("id4", "good"), ("id5", "good"),
    ]  # fmt: skip


def test_what_is_to_be_drafted_never_trains(workspace: Workspace) -> None:
    path = workspace.pairs_file("x")
    write_pairs(path, [*map(question, range(3)), Pair("d", "How?", "Like this.", ""), Pair("e", "Why?", " ", "No.")])
    config = build_config({"pairs": ["x"], "holdout": 0})
    taken = take_rows(workspace, config)
    assert (taken.counts.train, taken.counts.undrafted) == (3, 2)
    assert [json.loads(line)["id"] for line in taken.lines()] == ["id0", "id1", "id2"]
    by_itself = take_rows(workspace, config.model_copy(update={"method": "kto"}))
    assert (by_itself.counts.train, by_itself.counts.undrafted) == (5, 0)
    with PairStore(path) as store:
        store.update(["d"], lambda pair: Pair(pair.id, pair.prompt, pair.chosen, "Like that."))
        store.set_status([4], "dropped")
    taken = take_rows(workspace, config)
    assert (taken.counts.train, taken.counts.undrafted) == (4, 0)
    write_pairs(path, [Pair("d", "How?", "Like this.", ""), Pair("f", "Who?", "", "")])
    with pytest.raises(WorkbenchError, match="1 answer that is judged alone") as refused:
        take_rows(workspace, config)
    assert "--method kto" in str(refused.value.hint)
    assert take_rows(workspace, config.model_copy(update={"method": "kto"})).counts.undrafted == 1
    write_pairs(path, [Pair("f", "Who?", "", "")])
    with pytest.raises(WorkbenchError, match="to be drafted"):
        take_rows(workspace, config)


def test_margins_are_asked_for_where_there_are_some(workspace: Workspace) -> None:
    config = build_config({"pairs": ["x"], "method": "reward", "margin_weight": 1.0})
    write_pairs(workspace.pairs_file("x"), map(question, range(6)))
    with pytest.raises(WorkbenchError, match="No pair has a margin") as refused:
        take_rows(workspace, config)
    assert "margin_weight" in refused.value.fields
    write_pairs(workspace.pairs_file("x"), [replace(question(0), extra={"margin": 2}), *map(question, range(1, 6))])
    assert take_rows(workspace, config.model_copy(update={"holdout": 0.0})).counts.train == 6


def test_rows_are_as_in_the_data_set_but_for_their_side(workspace: Workspace) -> None:
    turns = (Message("system", "s"), Message("user", "Why?"))
    pairs = [
        Pair("a", turns, (Message("assistant", "é\u2028"),), (Message("assistant", '"split"'),), note="n", tags=("t",)),
        Pair("b", turns[1:], (Message("assistant", "c"),), (Message("assistant", "d"),), split="holdout"),
        Pair("c", (Message("user", "How?"),), turns[1:], (Message("assistant", "d"),), extra={"score": 1.5}),
    ]
    path = workspace.pairs_file("x")
    write_pairs(path, pairs)
    raw = path.read_bytes()
    # As other programs write it: no space, carriage returns, a byte order mark, no newline at the end.
    spaced = ODD % (ANSWER, ANSWER)
    path.write_bytes(b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n") + b"no pair\n" + spaced)
    folder = launch(workspace, build_config({"pairs": ["x"], "holdout": 0}))
    rows = {row["id"]: row for row in folder.rows()}
    assert list(rows) == ["c", "d", "a", "b"]
    sides = {"a": "holdout", "b": "holdout", "c": "train", "d": "train"}
    read, problems = load_pairs(path)
    assert len(problems) == take_rows(workspace, folder.record().config).counts.unusable == 1
    for pair in read:
        row = to_row(pair) | {"split": sides[pair.id]}
        assert json.dumps(rows[pair.id], sort_keys=True) == json.dumps(row, sort_keys=True)
    assert folder.record().sources["x"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_are_of_training_pairs_of_their_data_set(workspace: Workspace) -> None:
    for name in "xy":
        write_pairs(workspace.pairs_file(name), (Pair(f"{name}{i}", f"Number {i}?", "c", "r") for i in range(40)))
    config = build_config({"pairs": ["x", "y"], "pairs_weights": "2,0.5", "holdout": 0.25})
    taken = take_rows(workspace, config)
    rows = [json.loads(line) for line in taken.lines()]
    assert (taken.counts.train, taken.counts.holdout) == tuple(
        sum(row["split"] == side for row in rows) for side in ("train", "holdout")
    )
    held = {row["prompt"] for row in rows if row["split"] == "holdout"}
    assert held
    assert not held & {row["prompt"] for row in rows if row["split"] == "train"}
    train = 40 - len(held)
    assert [sum(row["id"][0] == name and row["split"] == "train" for row in rows) for name in "xy"] == [
        2 * train, round(train / 2),
    ]  # fmt: skip


def test_nothing_to_train_on_is_said(workspace: Workspace) -> None:
    write_pairs(workspace.pairs_file("x"), [Pair("a", "p", "c", "r", split="holdout")])
    with pytest.raises(WorkbenchError, match=r"1 are held out, and the other pairs of x are dropped"):
        take_rows(workspace, build_config({"pairs": ["x"]}))


def test_memory_does_not_grow_by_a_pair_for_every_row(workspace: Workspace) -> None:
    """Beside the file's own bytes: an id, a few numbers and a prompt's digest a row, whatever texts the rows have."""
    count, path = 50_000, workspace.pairs_file("x")
    path.parent.mkdir(parents=True)
    turn = '[{"role": "%s", "content": "%s %d"}]'
    with path.open("w") as file:
        for number in range(count):
            prompt, chosen = turn % ("user", "Why is", number), turn % ("assistant", "Because", number)
            file.write(f'{{"id": "i{number}", "prompt": {prompt}, "chosen": {chosen}, "rejected": {chosen}}}\n')
    size = path.stat().st_size
    tracemalloc.start()
    try:
        launch(workspace, build_config({"pairs": ["x"]}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (peak - size) / count < 700
