"""An edit changes one line, is on disk at once, can be taken back to the byte, and never overwrites another's."""

import os
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.pairs.strategies import files_of_pairs
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair, to_line
from workbench.pairs.store import ChangedOnDiskError, PairStore, load_pairs, write_pairs


def some(count: int) -> list[Pair]:
    return [Pair(f"id{number}", f"prompt {number}", "good", "bad") for number in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs" / "x.jsonl", some(5))
    return tmp_path / "pairs" / "x.jsonl"


def accept(pair: Pair) -> Pair:
    return replace(pair, status="accepted")


def test_an_edit_changes_one_line_and_no_other_byte(path: Path) -> None:
    # Oddly spaced, CRLF and BOM, a bad line, a blank one and no line ending at the end: all stay.
    odd = b'\xef\xbb\xbf{"prompt":"p",  "id":"a","chosen":"c","rejected":"r"}\r\n{bad\n\n'
    last = b'{"id": "b", "rejected": "r", "chosen": "c", "prompt": "p"}'
    path.write_bytes(odd + last)
    store = PairStore(path)
    assert [(problem.line, problem.reason.split(":")[0]) for problem in store.problems] == [(2, "is not JSON")]
    store.update(["b"], accept)
    content = path.read_bytes()
    assert content.startswith(odd)
    assert content == odd + to_line(store.pairs[1]).rstrip("\n").encode()
    store.undo()
    assert path.read_bytes() == odd + last
    store.update(["a"], accept)
    lines = path.read_bytes().split(b"\n")
    assert lines[0].startswith(b"\xef\xbb\xbf{")
    assert lines[0].endswith(b'"accepted"}\r')
    assert b"\n".join(lines[1:]) == b"{bad\n\n" + last


@settings(max_examples=40)
@given(files_of_pairs, st.data())
def test_any_steps_undone_give_the_bytes_back_and_redone_give_them_again(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("store") / "x.jsonl"
    content = "".join(map(to_line, pairs)).encode()
    path.write_bytes(content if data.draw(st.booleans()) else content[:-1] + b"\nnot a pair\n" + content[-1:])
    store = PairStore(path)
    seen = [path.read_bytes()]
    for step in range(data.draw(st.integers(1, 5))):
        ids = [pair.id for pair in store.pairs]
        chosen = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
        match data.draw(st.sampled_from(["update", "remove", "add"])):
            case "update":
                store.update(chosen, lambda pair, step=step: replace(pair, note=f"{step}"))
            case "remove":
                store.remove(chosen)
            case _:
                store.add([Pair(f"new-{step}-{number}", "p", "c", "r") for number in range(2)])
        if path.read_bytes() != seen[-1]:
            seen.append(path.read_bytes())
        assert list(store.pairs) == load_pairs(path)[0]
    for before in reversed(seen[:-1]):
        assert store.undo()
        assert path.read_bytes() == before
        assert list(store.pairs) == load_pairs(path)[0]
    assert store.undo() == ""
    for after in seen[1:]:
        assert store.redo()
        assert path.read_bytes() == after
    assert store.redo() == ""


def test_many_pairs_are_one_step_with_a_name(path: Path) -> None:
    store = PairStore(path)
    assert store.update([pair.id for pair in store.pairs], accept, "accept") == 5
    assert store.counts() == {"new": 0, "accepted": 5, "dropped": 0, "flagged": 0}
    assert store.undoable == "accept (5 pairs)"
    assert store.undo() == "accept (5 pairs)"
    assert store.redoable == "accept (5 pairs)"
    assert store.counts()["new"] == 5


def test_a_change_that_changes_nothing_is_no_step(path: Path) -> None:
    store = PairStore(path)
    inode = path.stat().st_ino
    assert store.update(["id1"], lambda pair: pair) == 0
    assert (store.undoable, path.stat().st_ino) == ("", inode)


def test_a_new_step_ends_what_could_be_redone(path: Path) -> None:
    store = PairStore(path)
    store.update(["id1"], accept)
    store.undo()
    store.update(["id2"], accept)
    assert store.redo() == ""


def test_replace_keeps_the_id(path: Path) -> None:
    store = PairStore(path)
    store.replace("id1", replace(store.pairs[1], chosen="better"))
    store.replace(2, replace(store.pairs[2], chosen="better too"))
    assert [pair.chosen for pair in load_pairs(path)[0]] == ["good", "better", "better too", "good", "good"]
    with pytest.raises(WorkbenchError, match="keeps its id"):
        store.replace("id1", Pair("other", "p", "c", "r"))


def test_the_file_of_another_is_not_overwritten(path: Path) -> None:
    store = PairStore(path)
    store.update(["id0"], accept)
    theirs = PairStore(path)
    theirs.update(["id4"], accept)
    for change in (lambda: store.update(["id1"], accept), store.undo, lambda: store.add([Pair("n", "p", "c", "r")])):
        with pytest.raises(ChangedOnDiskError, match="changed by someone else"):
            change()
    assert store.pairs[1].status == "new"
    assert path.read_bytes() == b"".join(to_line(pair).encode() for pair in theirs.pairs)
    store.reload()
    store.update(["id1"], accept)
    assert [pair.status for pair in load_pairs(path)[0]] == ["accepted", "accepted", "new", "new", "accepted"]


def test_a_removed_file_is_not_made_again(path: Path) -> None:
    store = PairStore(path)
    path.unlink()
    with pytest.raises(ChangedOnDiskError, match="removed by someone else"):
        store.update(["id1"], accept)
    assert not path.exists()


def test_what_cannot_be_saved_is_not_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PairStore(path)
    content = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WorkbenchError, match="No space left"):
            store.update(["id1"], accept)
    assert store.pairs[1].status == "new"
    assert store.undoable == ""
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]
    store.update(["id1"], accept)


def test_a_reader_never_sees_half_a_file(path: Path) -> None:
    write_pairs(path, some(2000))
    store = PairStore(path)
    done = threading.Event()
    sizes: set[int] = set()

    def read() -> None:
        while not done.is_set():
            pairs, problems = load_pairs(path)
            sizes.add(len(pairs) + 10**6 * len(problems))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        store.update([f"id{number}"], accept)
    done.set()
    reader.join()
    assert sizes == {2000}


def test_permissions_and_links_are_kept(path: Path, tmp_path: Path) -> None:
    path.chmod(0o640)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    PairStore(link).update(["id1"], accept)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert load_pairs(path)[0][1].status == "accepted"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "id0", "prompt": "p", "chosen": "c", "rejected": "r"}', "has the id of line 1"),
        (b'{"id": "n", "prompt": [], "chosen": [], "rejected": []}', "conversational, unlike the first"),
        (b'{"id": "n", "prompt": "p", "chosen": "c"}', "'rejected' is missing"),
        (b'{"id": "n", "prompt": "\\ud800", "chosen": "c", "rejected": "r"}', "surrogate"),
        (b'{"id": "n", "prompt": "\xff", "chosen": "c", "rejected": "r"}', "is not UTF-8: byte 0xFF"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "is a list"),
    ],
)
def test_lines_that_are_no_pairs_are_told_and_kept(path: Path, line: bytes, reason: str) -> None:
    with path.open("ab") as file:
        file.write(line + b"\n")
    store = PairStore(path)
    assert len(store.pairs) == 5
    assert [problem.line for problem in store.problems] == [6]
    assert reason in store.problems[0].reason
    store.remove([pair.id for pair in store.pairs])
    assert path.read_bytes() == line + b"\n"


def test_what_does_not_belong_into_the_file_is_refused(path: Path) -> None:
    store = PairStore(path)
    content = path.read_bytes()
    turns = (Message("user", "p"),)
    for pairs in (
        [Pair("id1", "p", "c", "r")],
        [Pair("n", "p", "c", "r"), Pair("n", "p", "c", "r")],
        [Pair("n", turns, turns, turns)],
        [Pair("n", "\ud800", "c", "r")],
    ):
        with pytest.raises(WorkbenchError):
            store.add(pairs)
    with pytest.raises(WorkbenchError, match="No such pair"):
        store.update(["nobody"], accept)
    assert path.read_bytes() == content


def test_a_new_store_is_empty_and_refuses_to_replace_one(tmp_path: Path) -> None:
    store = PairStore.create(tmp_path / "new.jsonl")
    store.add(some(2))
    assert len(load_pairs(tmp_path / "new.jsonl")[0]) == 2
    with pytest.raises(WorkbenchError, match="exists already"):
        PairStore.create(tmp_path / "new.jsonl")
    with pytest.raises(WorkbenchError, match="Cannot read"):
        PairStore(tmp_path / "nosuch.jsonl")


def test_a_status_in_a_large_file_changes_quickly(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    write_pairs(path, (Pair(f"id{number}", f"prompt {number}", "good " * 20, "bad") for number in range(50_000)))
    store = PairStore(path)
    begin = time.perf_counter()
    store.update(["id25000"], accept)
    # About 0.05 s; far more means that other pairs' lines are written anew.
    assert time.perf_counter() - begin < 1
