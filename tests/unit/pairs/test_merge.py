"""Another program's changes are taken in, ours are kept, and where both changed the same somebody is asked."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.pairs.open_file import DiskChange
from workbench.pairs.pair import STATUSES, Pair, field_value, to_line, with_values
from workbench.pairs.session import DataSetSession
from workbench.pairs.store import PairStore, load_pairs, write_pairs


def some(count: int, prefix: str = "id") -> list[Pair]:
    return [Pair(f"{prefix}{number}", f"prompt {number}", f"good {number}", "bad") for number in range(count)]


def written_by_another(path: Path, pairs: list[Pair]) -> None:
    path.write_text("".join(map(to_line, pairs)))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.pairs.open_file._SETTLE", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "x.jsonl", some(5))
    return tmp_path / "x.jsonl"


@pytest.fixture
def store(path: Path) -> Iterator[PairStore]:
    with PairStore(path, quiet=1000) as store:
        yield store


def taken_in(store: PairStore) -> DiskChange:
    change = store.file.check_disk()
    assert change is not None
    return change


def test_changes_to_other_pairs_and_other_fields_are_both_kept(path: Path, store: PairStore) -> None:
    store.set_status([0, 1], "accepted")
    pairs = some(5)
    pairs[1] = replace(pairs[1], note="theirs")
    pairs[2] = replace(pairs[2], chosen="theirs")
    written_by_another(path, [pairs[4], *pairs[1:3], pairs[0], *some(1, "new")])
    change = taken_in(store)
    assert (change.conflicts, change.trouble) == ((), None)
    expected = [pairs[4], replace(pairs[1], status="accepted"), pairs[2], replace(pairs[0], status="accepted")]
    assert list(store.pairs) == [*expected, *some(1, "new")]
    assert store.file.unsaved == 0
    assert load_pairs(path)[0] == list(store.pairs)
    assert store.file.check_disk() is None
    assert store.file.turn("undo")[0] == "accepted (2 pairs)"
    assert store.counts()["new"] == 5


def test_the_same_field_changed_twice_is_asked_about(path: Path, store: PairStore) -> None:
    store.set_status([0], "accepted")
    store.update(["id1"], lambda pair: replace(pair, chosen="mine", note="mine"))
    theirs = some(5)
    theirs[0] = replace(theirs[0], status="dropped")
    theirs[1] = replace(theirs[1], chosen="theirs")
    written_by_another(path, theirs)
    first, second = taken_in(store).conflicts
    assert (first.id, first.fields, first.mine.status, first.theirs.status, first.base.status) == (
        "id0",
        ("status",),
        "accepted",
        "dropped",
        "new",
    )
    assert (second.fields, second.mine.chosen, second.theirs.chosen) == (("chosen",), "mine", "theirs")
    assert [pair.status for pair in store.pairs[:2]] == ["dropped", "new"]
    assert store.pairs[1].note == "mine"
    store.resolve("id0", "theirs")
    store.file._let_go()
    with PairStore(path) as again:
        assert list(again.file.conflicts) == ["id1"]
        again.resolve("id1", "mine")
        assert (again.pairs[0].status, again.pairs[1].chosen, again.file.conflicts) == ("dropped", "mine", {})
        assert again.file.turn("undo")[0] == "keep mine"
    assert load_pairs(path)[0][1].chosen == "theirs"


def test_an_older_version_put_back_does_not_undo_what_was_saved(path: Path, store: PairStore) -> None:
    # An editor that was opened before, and is saved after.
    store.set_status([0], "accepted")
    store.add(some(1, "new"))
    store.remove(["id4"])
    store.file.save()
    written_by_another(path, some(5))
    found = {conflict.id: conflict for conflict in taken_in(store).conflicts}
    assert found.keys() == {"id0", "new0", "id4"}
    assert (found["new0"].theirs, found["id4"].mine) == (None, None)
    for identity in list(found):
        store.resolve(identity, "mine")
    assert [pair.id for pair in store.pairs] == ["id0", "id1", "id2", "id3", "new0"]
    assert store.pairs[0].status == "accepted"
    store.file.save()
    assert store.file.check_disk() is None


def test_swaps_are_merged(path: Path, store: PairStore) -> None:
    store.swap([0, 1, 2])
    theirs = some(5)
    theirs[1] = theirs[1].swapped()
    theirs[2] = replace(theirs[2], chosen="theirs")
    written_by_another(path, theirs)
    [conflict] = taken_in(store).conflicts
    assert (conflict.id, conflict.fields) == ("id2", ("chosen", "rejected"))
    assert conflict.base == some(5)[2]
    assert [pair.rejected for pair in store.pairs] == ["good 0", "good 1", "bad", "bad", "bad"]


def test_edits_of_pairs_that_another_removed_are_asked_about(path: Path, store: PairStore) -> None:
    store.set_status([1], "accepted")
    written_by_another(path, some(1))
    [conflict] = taken_in(store).conflicts
    assert (conflict.mine.status, conflict.theirs) == ("accepted", None)
    store.resolve("id1", "mine")
    assert [(pair.id, pair.status) for pair in store.pairs] == [("id0", "new"), ("id1", "accepted")]


def test_unsaved_edits_meet_a_file_that_changed_while_nobody_looked(path: Path) -> None:
    store = PairStore(path, quiet=1000)
    store.set_status([0, 1], "accepted")
    store.file._let_go()
    theirs = some(5)
    theirs[1] = replace(theirs[1], status="flagged")
    written_by_another(path, theirs)
    with PairStore(path) as again:
        assert [pair.status for pair in again.pairs[:2]] == ["accepted", "flagged"]
        assert again.file.conflicts["id1"].mine.status == "accepted"


def test_what_was_saved_but_not_marked_so_is_not_done_twice(path: Path) -> None:
    store = PairStore(path, quiet=1000)
    store.set_status([0], "accepted")
    store.swap([0, 1])
    store.set_status([0], "new")
    store.remove(["id3"])
    store.add(some(1, "new"))
    store.file._journal.mark_saved = lambda _: None
    store.file.save()
    expected = list(store.pairs)
    store.file._let_go()
    with PairStore(path) as again:
        assert again.file.unsaved == 0
        assert (list(again.pairs), again.file.conflicts) == (expected, {})


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"\xff\xfe{\x00"])
def test_a_file_replaced_by_garbage_is_told_and_everything_kept(path: Path, store: PairStore, content: bytes) -> None:
    store.set_status([0], "accepted")
    path.write_bytes(content)
    for _ in range(2):
        assert "without pairs" in taken_in(store).trouble.title
    with pytest.raises(WorkbenchError, match="changed by another"):
        store.file.save()
    assert path.read_bytes() == content
    store.set_status([1], "dropped")
    store.file.restore()
    assert [pair.status for pair in load_pairs(path)[0]] == ["accepted", "dropped", "new", "new", "new"]
    [kept] = path.parent.glob("x.jsonl.replaced-*")
    assert kept.read_bytes() == content
    assert store.file.check_disk() is None


def test_a_file_that_was_removed_is_told_and_can_be_written_anew(path: Path, store: PairStore) -> None:
    store.set_status([0], "accepted")
    path.unlink()
    assert "removed" in taken_in(store).trouble.title
    with pytest.raises(WorkbenchError):
        store.file.save()
    assert not path.exists()
    store.file.restore()
    assert path.read_text() == "".join(map(to_line, store.pairs))


def test_leaving_while_another_has_changed_the_file_merges(path: Path) -> None:
    store = PairStore(path, quiet=1000)
    store.set_status([0], "accepted")
    written_by_another(path, some(6))
    store.close()
    assert [pair.status for pair in load_pairs(path)[0]] == ["accepted", *["new"] * 5]


FIELDS = ("status", "note", "chosen", "tools")
fields = st.sampled_from(FIELDS)
changes = st.lists(st.tuples(st.integers(0, 3), fields, st.sampled_from(STATUSES)), max_size=5)


@given(changes, changes, st.integers(0, 5), st.booleans())
def test_no_change_of_either_side_is_lost(
    tmp_path_factory: pytest.TempPathFactory, mine: list, theirs: list, saved: int, killed: bool
) -> None:
    path = tmp_path_factory.mktemp("merge") / "x.jsonl"
    write_pairs(path, some(4))
    store = PairStore(path, quiet=1000)
    for number, (place, field, value) in enumerate(mine):
        if number == saved:
            store.file.save()
        store.update([f"id{place}"], lambda pair, field=field, value=value: with_field(pair, field, value))
    ours = list(store.pairs)
    base = _as_saved(path)
    other = base
    for place, field, value in theirs:
        other = [with_field(pair, field, value) if at == place else pair for at, pair in enumerate(other)]
    if other != base:
        written_by_another(path, other)
    if killed:
        store.file._let_go()
        store = PairStore(path, quiet=1000)
    elif other != base:
        store.file.check_disk()
    for at, pair in enumerate(store.pairs):
        for field in FIELDS:
            was, left, right, now = (field_value(each[at], field) for each in (base, ours, other, list(store.pairs)))
            asked = pair.id in store.file.conflicts and field in store.file.conflicts[pair.id].fields
            if left in (was, right):
                assert now == right or asked
            elif right == was:
                assert now == left
            else:
                assert now == right
                assert asked
    store.close()


def with_field(pair: Pair, field: str, value: str) -> Pair:
    """The pair with a value for a field; as `tools`, a list of it."""
    return with_values(pair, {field: json.dumps([value]) if field == "tools" else value})


def test_tools_changed_twice_are_asked_about_and_kept(path: Path, store: PairStore) -> None:
    store.update(["id1"], lambda pair: with_field(pair, "tools", "mine"))
    other = [with_field(pair, "tools", "theirs") if pair.id == "id1" else pair for pair in _as_saved(path)]
    written_by_another(path, other)
    store.file.check_disk()
    conflict = store.file.conflicts["id1"]
    assert conflict.fields == ("tools",)
    assert conflict.mine is not None
    assert conflict.theirs is not None
    assert (conflict.mine.extra["tools"], conflict.theirs.extra["tools"]) == (["mine"], ["theirs"])
    store.resolve("id1", "mine")
    assert {pair.id: pair.extra.get("tools") for pair in store.pairs}["id1"] == ["mine"]
    store.file.turn("undo")
    assert {pair.id: pair.extra.get("tools") for pair in store.pairs}["id1"] == ["theirs"]


def _as_saved(path: Path) -> list[Pair]:
    from workbench.pairs.columns import load
    from workbench.pairs.rows import Rows

    rows = Rows(load(path))
    return [rows.pair(row) for row in rows.order.tolist()]


# Between data sets


def test_copied_and_moved_pairs_keep_their_lines(tmp_path: Path) -> None:
    raw = '{"id":"id1","x":1.50,"prompt":"p","chosen":"other","rejected":"r"}\n'
    (tmp_path / "a.jsonl").write_text(raw + to_line(some(1)[0]) + to_line(Pair("only", "p", "c", "r")))
    write_pairs(tmp_path / "b.jsonl", some(2))
    with PairStore(tmp_path / "a.jsonl") as source, PairStore(tmp_path / "b.jsonl") as target:
        done = target.copy_from(source, source.rows.order)
        assert (len(done.rows), done.present, done.renamed) == (2, 1, {"id1": "id1-2"})
        assert [pair.id for pair in target.pairs] == ["id0", "id1", "id1-2", "only"]
        assert target.rows.line(2).decode() == raw.replace('"id1"', '"id1-2"')
        assert target.file.turn("undo")[0] == "from a (2 pairs)"
    session = DataSetSession(tmp_path / "a.jsonl")
    session.copy_into(tmp_path / "b.jsonl", session.store.rows.order[:1], move_them=True)
    source = session.store
    assert [pair.id for pair in source.pairs] == ["id0", "only"]
    assert source.file.described("undo") == "move to b"
    assert source.rows.id(source.duplicate(1)[0]) == "id0-2"
    assert [pair.id for pair in source.pairs] == ["id0", "id0-2", "only"]
    session.merge_from(tmp_path / "b.jsonl")
    assert (len(source), source.file.described("undo")) == (5, "merge b (2 pairs)")
    assert session.close() is None
    with PairStore(tmp_path / "b.jsonl") as target:
        assert target.file.described("undo") == "from a"
