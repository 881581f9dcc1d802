"""An edit is safe when the call returns, changes one line, and can be taken back to the byte, also tomorrow."""

import json
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.some_pairs import accept, left_to_itself, some
from tests.unit.pairs.strategies import any_pairs, files_of_pairs
from workbench.errors import WorkbenchError
from workbench.pairs.pair import SPLITS, STATUSES, Message, Pair, to_line, with_values
from workbench.pairs.query import Order, parse
from workbench.pairs.store import PairStore, load_pairs, write_pairs


def test_an_edit_changes_one_line_and_no_other_byte(path: Path) -> None:
    # Oddly spaced, CRLF and BOM, a bad line, a blank one, numbers as they are, no line ending at the end: all stay.
    odd = b'\xef\xbb\xbf{"prompt":"p",  "id":"a","chosen":"c","x":1.50,"rejected":"r"}\r\n{bad\n\n'
    last = b'{"id": "b", "rejected": "r", "n": 1e5, "chosen": "\\u00e9", "prompt": "p"}'
    path.write_bytes(odd + last)
    with PairStore(path, quiet=1000) as store:
        (problem,) = store.rows.base.problems
        assert (problem.line, problem.reason.split(":")[0]) == (2, "is not JSON")
        store.update(["b"], accept)
        assert path.read_bytes() == odd + last
        store.file.save()
        assert path.read_bytes() == odd + last[:-1] + b', "status": "accepted"}'
        store.file.turn("undo")
        store.file.save()
        assert path.read_bytes() == odd + last
        store.update(["a"], lambda pair: replace(pair, chosen="new"))
    assert path.read_bytes() == odd.replace(b'"chosen":"c"', b'"chosen":"new"') + last


def test_the_file_follows_by_itself(path: Path) -> None:
    with PairStore(path, quiet=0.05) as store:
        store.update(["id1"], accept)
        assert store.file.unsaved == 1
        deadline = time.monotonic() + 5
        while store.file.unsaved and time.monotonic() < deadline:
            time.sleep(0.01)
        assert json.loads(path.read_text().splitlines()[1])["status"] == "accepted"


def test_what_was_not_saved_is_there_again_and_can_be_undone(path: Path) -> None:
    content = path.read_bytes()
    store = PairStore(path, quiet=1000)
    store.update(["id1"], accept, "accept")
    store.swap([2, 3])
    store.remove(["id0"])
    left_to_itself(store)
    assert path.read_bytes() == content
    assert [pair.id for pair in load_pairs(path)[0]] == ["id1", "id2", "id3", "id4"]
    with PairStore(path) as again:
        assert again.file.unsaved == 3
        assert again.pairs[0].status == "accepted"
        assert [pair.chosen for pair in again.pairs] == ["good", "bad", "bad", "good"]
    lines = path.read_bytes().splitlines()
    assert lines[3] == content.splitlines()[4]
    with PairStore(path) as third:
        assert (third.file.unsaved, third.file.described("undo")) == (0, "remove")
        assert [third.file.turn("undo")[0] for _ in range(4)] == ["remove", "swap (2 pairs)", "accept", ""]
    assert path.read_bytes() == content
    with PairStore(path) as fourth:
        assert fourth.file.turn("redo")[0] == "accept"
        assert load_pairs(path)[0][1].status == "accepted"


class Model:
    """What a store should hold, as a list of pairs, with every state it has been in."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.states, self.at = [pairs], 0

    @property
    def pairs(self) -> list[Pair]:
        return self.states[self.at]

    def becomes(self, pairs: list[Pair]) -> None:
        if pairs != self.pairs:
            self.states[self.at + 1 :] = [pairs]
            self.at += 1


edits = ["status", "tag", "untag", "split", "swap", "note", "text", "remove", "add", "insert", "undo", "redo"]
edits += ["columns", "save", "reopen", "kill", "search"]


@given(st.lists(any_pairs, max_size=6, unique_by=lambda pair: pair.id), st.data())
def test_any_script_gives_what_a_list_would(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair], data: st.DataObject
) -> None:
    pairs = [pair for pair in pairs if pair.conversational == pairs[0].conversational]
    path = tmp_path_factory.mktemp("script") / "x.jsonl"
    path.write_text("".join(map(to_line, pairs)))
    original = path.read_bytes()
    store, model = PairStore(path, quiet=1000), Model(pairs)
    kind = pairs[0].conversational if pairs else False
    turn: object = (Message("user", "new"),) if kind else "new"
    reopened = False
    for number in range(data.draw(st.integers(1, 12))):
        now = model.pairs
        places = data.draw(st.lists(st.sampled_from(range(len(now))), unique=True)) if now else []
        rows = [int(store.rows.order[place]) for place in places]
        ids = [now[place].id for place in places]

        def changed(change, places=places, now=now) -> None:
            model.becomes([change(pair) if place in places else pair for place, pair in enumerate(now)])

        match data.draw(st.sampled_from(edits)):
            case "status":
                status = data.draw(st.sampled_from(STATUSES))
                store.set_status(rows, status)
                bare = 2 if status == "accepted" else 3  # one without any answer is not accepted
                changed(lambda pair, s=status, n=bare: pair if len(pair.lacks) == n else replace(pair, status=s))
            case "tag":
                store.add_tag(rows, "t")
                changed(lambda pair: replace(pair, tags=pair.tags if "t" in pair.tags else (*pair.tags, "t")))
            case "untag":
                store.remove_tag(rows, "t")
                changed(lambda pair: replace(pair, tags=tuple(tag for tag in pair.tags if tag != "t")))
            case "split":
                split = data.draw(st.sampled_from([None, *SPLITS]))
                store.set_split(rows, split)
                changed(lambda pair, split=split: replace(pair, split=split))
            case "swap":
                rows = [row for row in rows if store.rows.pair(row).chosen != store.rows.pair(row).rejected]
                places = [place for place in places if now[place].chosen != now[place].rejected]
                store.swap(rows)
                changed(Pair.swapped, places)
            case "note":
                store.set_note(rows, f"note {number}")
                changed(lambda pair, number=number: replace(pair, note=f"note {number}"))
            case "text":
                store.update(ids, lambda pair: replace(pair, chosen=turn, status="flagged"))
                changed(lambda pair: replace(pair, chosen=turn, status="flagged"))
            case "columns":
                given = {
                    "tools": data.draw(st.sampled_from(["", "[]", '[{"é": 1}]', '"[]"'])),
                    "chat_template_kwargs": data.draw(st.sampled_from(["", '{"x": true}', '{"y": 1}'])),
                }
                store.update(ids, lambda pair, given=given: with_values(pair, given))
                changed(lambda pair, given=given: with_values(pair, given))
            case "remove":
                store.remove(ids)
                model.becomes([pair for place, pair in enumerate(now) if place not in places])
            case "add":
                new = [Pair(f"new-{number}-{each}", turn, turn, turn) for each in range(2)]
                store.add(new)
                model.becomes([*now, *new])
            case "insert" if rows:
                new = [Pair(f"in-{number}", turn, turn, turn, extra={"x": 1.5})]
                store.add(new, after=rows[0])
                model.becomes([*now[: places[0] + 1], *new, *now[places[0] + 1 :]])
            case "undo":
                assert bool(store.file.turn("undo")[0]) == bool(model.at)
                model.at = max(0, model.at - 1)
            case "redo":
                assert bool(store.file.turn("redo")[0]) == (model.at + 1 < len(model.states))
                model.at = min(len(model.states) - 1, model.at + 1)
            case "save":
                store.file.save()
                assert [json.loads(line)["id"] for line in path.open("rb")] == [p.id for p in model.pairs]
            case "reopen":
                reopened = True
                store.close()
                store = PairStore(path, quiet=1000)
            case "kill":
                reopened = True
                left_to_itself(store)
                assert load_pairs(path)[0] == model.pairs
                store = PairStore(path, quiet=1000)
            case "search":
                found = [int(row) for row in store.find(parse("status:flagged"))]
                assert found == [
                    int(row) for row, p in zip(store.rows.order, model.pairs, strict=True) if p.status == "flagged"
                ]
        assert list(store.pairs) == model.pairs
        assert not store.file.conflicts
    while store.file.turn("undo")[0]:
        pass
    assert list(store.pairs) == model.states[0]
    store.close()
    # Saved in between and opened anew, a field that came and went may have changed its place in the line.
    if not reopened:
        assert path.read_bytes() == original


@given(files_of_pairs)
def test_what_was_saved_is_loaded_the_same(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair]) -> None:
    path = tmp_path_factory.mktemp("load") / "x.jsonl"
    write_pairs(path, pairs)
    assert load_pairs(path) == (pairs, [])


def test_many_pairs_are_one_step_with_a_name(store: PairStore) -> None:
    assert store.set_status(store.rows.order, "accepted") == [0, 1, 2, 3, 4]
    assert store.counts() == {"new": 0, "accepted": 5, "dropped": 0, "flagged": 0}
    assert store.file.described("undo") == "accepted (5 pairs)"
    assert store.file.turn("undo")[0] == "accepted (5 pairs)"
    assert store.file.described("redo") == "accepted (5 pairs)"
    assert store.counts()["new"] == 5


def test_a_change_that_changes_nothing_is_no_step(store: PairStore) -> None:
    assert store.update(["id1"], lambda pair: pair) == []
    assert store.set_status([1], "new") == []
    assert store.remove_tag([1, 2], "x") == []
    assert (store.file.described("undo"), store.file.unsaved) == ("", 0)


def test_a_new_step_ends_what_could_be_redone(store: PairStore) -> None:
    store.update(["id1"], accept)
    store.file.turn("undo")
    store.update(["id2"], accept)
    assert store.file.turn("redo")[0] == ""


def test_another_pair_keeps_the_id(path: Path, store: PairStore) -> None:
    store.update(["id1"], lambda pair: replace(pair, chosen="better"))
    assert [pair.chosen for pair in load_pairs(path)[0]] == ["good", "better", "good", "good", "good"]
    with pytest.raises(WorkbenchError, match="keeps its id"):
        store.update(["id1"], lambda _: Pair("other", "p", "c", "r"))


def test_searching_sees_edits(store: PairStore) -> None:
    store.update(["id1"], lambda pair: replace(pair, chosen="zebra one two"))
    store.swap([1, 3])
    store.add([Pair("n", "zebra", "c", "r")])
    found = {query: store.find(parse(query)).tolist() for query in ("zebra", "rejected:zebra", "chosen:bad", "len<0.5")}
    assert found == {"zebra": [1, 5], "rejected:zebra": [1], "chosen:bad": [1, 3], "len<0.5": [1]}
    store.file.turn("undo")
    assert store.find(parse("zebra")).tolist() == [1]
    assert store.sorted(store.rows.order, Order("ratio")).tolist() == [1, 0, 2, 3, 4]
    assert store.sorted(store.rows.order, Order("prompt", descending=True)).tolist() == [4, 3, 2, 1, 0]
    assert store.sorted(store.rows.order, Order(run="r"), {"id3": -1.0, "id0": 2.0}).tolist() == [3, 0, 1, 2, 4]


def test_a_row_knows_its_place_in_the_file(store: PairStore) -> None:
    assert [store.rows.number(row) for row in store.rows.order.tolist()] == [1, 2, 3, 4, 5]
    store.remove(["id1"])
    assert [store.rows.number(row) for row in range(5)] == [1, 0, 2, 3, 4]
    store.add([Pair("n", "p", "c", "r")], after=2)
    assert [store.rows.number(row) for row in range(6)] == [1, 0, 2, 4, 5, 3]
    assert store.rows.order.tolist() == [0, 2, 5, 3, 4]
    assert store.sorted(store.rows.order, Order("row", descending=True)).tolist() == [4, 3, 5, 2, 0]
    store.file.turn("undo")
    store.file.turn("undo")
    assert [store.rows.number(row) for row in range(6)] == [1, 2, 3, 4, 5, 0]


def test_the_next_with_a_status_is_looked_for_all_the_way_round(store: PairStore) -> None:
    rows = store.rows.order[::-1]
    assert [store.next_with_status(rows, after, "new") for after in range(5)] == [1, 2, 3, 4, 0]
    store.set_status([2, 3], "accepted")
    assert [store.next_with_status(rows, after, "accepted") for after in range(5)] == [1, 2, 1, 1, 1]
    store.file.turn("undo")
    store.set_status([4], "flagged")
    assert store.next_with_status(rows, 0, "flagged") == 0
    assert store.next_with_status(rows, 0, "dropped") is None
    assert store.next_with_status(rows[:0], -1, "new") is None


def test_a_reader_never_sees_half_a_file(path: Path) -> None:
    write_pairs(path, some(2000))
    done = threading.Event()

    def read() -> set[int]:
        sizes = set()
        while not done.is_set():
            pairs, problems = load_pairs(path)
            sizes.add(len(pairs) + 10**6 * len(problems))
        return sizes

    with ThreadPoolExecutor() as executor:
        reader = executor.submit(read)
        try:
            with PairStore(path) as store:
                for number in range(20):
                    store.update([f"id{number}"], accept)
                    store.file.save()
        finally:
            done.set()
        assert reader.result() == {2000}


def test_a_reader_sees_all_tables_of_a_new_journal_or_none(path: Path) -> None:
    """A data set that is opened for the first time while a run takes its rows."""
    write_pairs(path, some(3))
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            load_pairs(path)

    with ThreadPoolExecutor() as executor:
        reader = executor.submit(read)
        try:
            for _ in range(30):
                PairStore(path).close()
                for file in path.parent.joinpath(".journal").iterdir():
                    file.unlink()
        finally:
            done.set()
        reader.result()


def test_permissions_and_links_are_kept(path: Path, tmp_path: Path) -> None:
    path.chmod(0o640)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with PairStore(link) as store:
        store.update(["id1"], accept)
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
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep"),
        (b"[1]", "is a list"),
    ],
)
def test_lines_that_are_no_pairs_are_told_and_kept(path: Path, line: bytes, reason: str) -> None:
    with path.open("ab") as file:
        file.write(line + b"\n")
    with PairStore(path) as store:
        assert len(store.pairs) == 5
        assert [problem.line for problem in store.rows.base.problems] == [6]
        assert reason in store.rows.base.problems[0].reason
        store.remove([pair.id for pair in store.pairs])
    assert path.read_bytes() == line + b"\n"


def test_what_does_not_belong_into_the_file_is_refused(store: PairStore) -> None:
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
    with pytest.raises(WorkbenchError, match="of one kind"):
        store.update(["id1"], lambda pair: replace(pair, prompt=turns, chosen=turns, rejected=turns))
    with pytest.raises(WorkbenchError, match="Not text"):
        store.set_note([0], "\ud800")
    assert store.file.unsaved == 0


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="Cannot read"):
        PairStore(tmp_path / "nosuch.jsonl")


def test_a_status_in_a_large_file_is_safe_quickly(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    write_pairs(path, (Pair(f"id{number}", f"prompt {number}", "good " * 20, "bad") for number in range(50_000)))
    with PairStore(path, quiet=1000) as store:
        begin = time.perf_counter()
        for row in range(100):
            store.set_status([row], "accepted")
        # About 0.02 s; far more means that a key waits for more than its own line.
        assert time.perf_counter() - begin < 1
