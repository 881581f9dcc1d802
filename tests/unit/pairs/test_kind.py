"""Plain text becomes conversations as one step: every pair, and to the byte back again, whatever others write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.some_pairs import left_to_itself, some
from tests.unit.pairs.strategies import files_of_pairs
from workbench.errors import WorkbenchError
from workbench.pairs.checks.findings import CheckFinding
from workbench.pairs.checks.repairs import in_turns, repair_for
from workbench.pairs.checks.run import run_checks
from workbench.pairs.pair import Message, Pair, to_line
from workbench.pairs.query import Order, parse
from workbench.pairs.session import DataSetSession
from workbench.pairs.store import PairStore, load_pairs, write_pairs


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.pairs.open_file._SETTLE", 0.0)


def convert(store: PairStore) -> list[int]:
    finding = CheckFinding("plain-text", "warning", (store.rows.id(0),), "", "")
    repair = repair_for(finding)
    assert repair is not None
    return store.update(repair.ids_in(store.rows), repair.change, repair.description)


def test_all_pairs_are_converted_and_come_back_to_the_byte(path: Path) -> None:
    odd = b'{"prompt":"p",  "id":"a","chosen":"c","x":1.50,"rejected":"r", "status":"dropped"}\r\n{bad\n'
    path.write_bytes(path.read_bytes() + odd)
    content = path.read_bytes()
    with PairStore(path, quiet=1000) as store:
        assert len(convert(store)) == 6
        assert store.rows.conversational
        assert store.pairs[0].prompt == (Message("user", "prompt 0"),)
        assert store.pairs[5].rejected == (Message("assistant", "r"),)
        assert [store.rows.id(row) for row in store.find(parse('prompt:"prompt 3"'))] == ["id3"]
        assert len(store.sorted(store.rows.order, Order("prompt"))) == 6
        assert {finding.check for finding in run_checks(store.pairs).findings} <= {"near-duplicate"}
    rows = [json.loads(line) for line in path.read_bytes().splitlines() if line != b"{bad"]
    assert rows[0] == {
        "id": "id0",
        "prompt": [{"role": "user", "content": "prompt 0"}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    }
    assert (rows[5]["status"], rows[5]["x"]) == ("dropped", 1.5)
    with PairStore(path, quiet=1000) as again:
        assert again.rows.conversational
        assert again.file.turn("undo")[0] == "make conversations of plain text (6 pairs)"
        assert not again.rows.conversational
        assert again.pairs[0].prompt == "prompt 0"
    assert [json.loads(line) for line in path.read_bytes().splitlines() if line != b"{bad"] == [
        json.loads(line) for line in content.splitlines() if line != b"{bad"
    ]
    with PairStore(path) as third:
        assert third.file.turn("redo")[0]
        assert third.rows.conversational
    assert load_pairs(path)[0][5].prompt == (Message("user", "p"),)


def test_undone_before_it_was_saved_no_byte_differs(path: Path) -> None:
    content = path.read_bytes()
    with PairStore(path, quiet=1000) as store:
        convert(store)
        store.file.turn("undo")
    assert path.read_bytes() == content


def test_what_was_not_saved_is_converted_again(path: Path) -> None:
    store = PairStore(path, quiet=1000)
    convert(store)
    store.add([Pair("new", (Message("user", "q"),), (Message("assistant", "a"),), (Message("assistant", "b"),))])
    left_to_itself(store)
    pairs, problems = load_pairs(path)
    assert (len(pairs), problems) == (6, [])
    assert all(pair.conversational for pair in pairs)
    with PairStore(path, quiet=1000) as again:
        assert again.rows.conversational
        again.file.turn("undo")
        again.file.turn("undo")
        assert list(again.pairs) == some(5)


@pytest.mark.parametrize("undone", [False, True])
def test_a_pair_that_another_program_changed_meanwhile_is_of_the_same_kind(path: Path, undone: bool) -> None:
    with PairStore(path, quiet=1000) as store:
        convert(store)
        if undone:
            store.file.save()
            theirs = list(load_pairs(path)[0])
            theirs[1] = replace(theirs[1], chosen=(Message("assistant", "theirs"),))
        else:
            theirs = some(5)
            theirs[1] = replace(theirs[1], chosen="theirs")
        path.write_text("".join(map(to_line, theirs)))
        assert store.file.check_disk() is not None
        if undone:
            store.file.turn("undo")
        kinds = {isinstance(text, str) for pair in store.pairs for text in (pair.prompt, pair.chosen, pair.rejected)}
        assert kinds == {undone}
        assert store.pairs[1].chosen == ("theirs" if undone else (Message("assistant", "theirs"),))
    pairs, problems = load_pairs(path)
    assert (len(pairs), problems, pairs[1].conversational) == (5, [], not undone)


def test_some_pairs_alone_cannot_be_of_another_kind(path: Path) -> None:
    with PairStore(path, quiet=1000) as store, pytest.raises(WorkbenchError, match="of one kind"):
        store.update(["id1", "id2"], in_turns)


def test_the_session_converts_all_as_one_step(path: Path) -> None:
    session = DataSetSession(path)
    repair = repair_for(CheckFinding("plain-text", "warning", ("id0",), "", ""))
    assert repair is not None
    assert "5 pairs changed" in session.repair(repair).notice
    assert session.blank().conversational
    session.undo()
    assert not session.blank().conversational
    session.close()


@given(files_of_pairs, st.booleans())
def test_any_plain_pairs_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair], saved: bool
) -> None:
    path = tmp_path_factory.mktemp("kind") / "x.jsonl"
    write_pairs(path, pairs)
    content = path.read_bytes()
    with PairStore(path, quiet=1000) as store:
        convert(store)
        if saved:
            store.file.save()
            assert load_pairs(path)[1] == []
        assert all(pair.conversational for pair in store.pairs)
        store.file.turn("undo")
        assert list(store.pairs) == pairs
    assert path.read_bytes() == content
