"""The data set that is open, without a screen: what edits say that they changed, and what others' edits come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.pairs.some_pairs import some
from workbench.errors import WorkbenchError
from workbench.pairs.checks.findings import CheckFinding
from workbench.pairs.checks.repairs import repair_for
from workbench.pairs.importers import Imported
from workbench.pairs.lines import Problem
from workbench.pairs.open_file import ReadOnlyError
from workbench.pairs.pair import Message, Pair, to_line
from workbench.pairs.session import BulkChange, DataSetSession, Edited, Pace, add_pairs, imported, pairs_in
from workbench.pairs.store import PairStore, load_pairs, write_pairs


@pytest.fixture
def session(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataSetSession]:
    monkeypatch.setattr("workbench.pairs.open_file._SETTLE", 0.0)
    session = DataSetSession(path)
    yield session
    session.close()


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


# Editing


def test_an_edit_is_on_disk_when_it_says_what_it_changed(session: DataSetSession, path: Path) -> None:
    assert session.judge(1, "accepted") == Edited(rows=(1,))
    assert load_pairs(path)[0][1].status == "accepted"
    assert session.judge(1, "accepted") == Edited()
    assert session.flag(1) == session.flag(1) == Edited(rows=(1,))
    assert session.store.rows.label(1, "status") == "new"
    assert session.swap(2).rows == (2,)
    pair = session.store.rows.pair(0)
    assert session.replace(pair, replace(pair, chosen="better")).rows == (0,)
    assert session.set_tags("id3", ("t",)).rows == session.set_note("id3", "n").rows == (3,)
    assert session.store.rows.pair(3) == replace(some(4)[3], tags=("t",), note="n")
    with pytest.raises(WorkbenchError, match="No such pair"):
        session.set_note("nobody", "n")


def test_pairs_that_come_and_go_say_where_the_cursor_belongs(session: DataSetSession) -> None:
    copy = session.duplicate(0)
    assert (copy.other_rows, copy.go_to) == (True, "id0-2")
    new = session.blank()
    assert not new.conversational
    assert session.add(new, "new pair") == Edited((6,), other_rows=True, go_to=new.id)
    assert session.remove("id1").other_rows
    gone = session.store.rows.pair(1)
    assert session.replace(gone, replace(gone, note="too late")) == Edited()
    back = session.undo()
    assert (back.other_rows, back.go_to, back.notice) == (True, "id1", "undone: remove")
    # What was added is gone again: there is nothing to go to.
    assert (session.undo().go_to, session.redo().go_to) == (None, new.id)
    assert session.redo() == Edited(rows=(1,), other_rows=True, notice="redone: remove")
    assert session.redo() == Edited(notice="Nothing to redo.")
    assert session.latest.notice == "Nothing to redo."


def test_a_first_pair_is_of_turns_in_an_empty_data_set(tmp_path: Path) -> None:
    write_pairs(tmp_path / "x.jsonl", ())
    session = DataSetSession(tmp_path / "x.jsonl")
    assert session.blank().prompt == (Message("user", ""),)
    session.close()


@pytest.mark.parametrize(
    ("change", "told", "after"),
    [
        (BulkChange("status", "dropped"), "dropped: 2 pairs changed", {"status": "dropped"}),
        (BulkChange("tag", "t"), "tag t added: 2 pairs changed", {"tags": ("t",)}),
        (BulkChange("untag", "u"), "tag u taken off: 0 pairs changed", {}),
        (BulkChange("split", "holdout"), "split: holdout: 2 pairs changed", {"split": "holdout"}),
        (BulkChange("split"), "split: by prompt: 0 pairs changed", {}),
        (BulkChange("note", "n"), "note written: 2 pairs changed", {"note": "n"}),
        (BulkChange("swap"), "chosen and rejected swapped: 2 pairs", {"chosen": "bad", "rejected": "good"}),
    ],
)
def test_all_that_is_shown_is_changed_as_one_step(
    session: DataSetSession, change: BulkChange, told: str, after: dict[str, object]
) -> None:
    edited = session.change_all(rows(1, 3), change)
    assert edited.notice.startswith(told)
    expected = [replace(pair, **after) if pair.id in ("id1", "id3") else pair for pair in some(5)]  # type: ignore[arg-type]
    assert list(session.store.pairs) == expected
    session.undo()
    assert list(session.store.pairs) == some(5)


def test_taking_all_that_is_shown_out_of_the_file(session: DataSetSession) -> None:
    edited = session.change_all(rows(1, 3), BulkChange("remove"))
    assert (edited.other_rows, edited.notice.split(".")[0]) == (True, "taken out of the file: 2 pairs changed")
    assert [pair.id for pair in session.store.pairs] == ["id0", "id2", "id4"]


def test_a_repair_leaves_out_pairs_that_are_gone(session: DataSetSession) -> None:
    repair = repair_for(CheckFinding("duplicate", "warning", ("id1", "nobody", "id2"), "", ""))
    assert repair is not None
    edited = session.repair(repair)
    assert (edited.rows, edited.notice.split(".")[0]) == ((1, 2), "drop as duplicate: 2 pairs changed")
    assert session.store.counts()["dropped"] == 2


def test_edits_make_the_checks_out_of_date(session: DataSetSession) -> None:
    session.checks.begun = True
    session.judge(0, "accepted")
    session.judge(0, "accepted")
    session.swap(1)
    session.undo()
    assert session.checks.edits == 3
    assert session.checks._edited == {"id1"}


# Review


def test_each_pair_counts_once_however_often_it_is_judged(session: DataSetSession) -> None:
    session.judge(0, "accepted")
    session.judge(0, "dropped")
    session.judge(0, "new")
    session.judge(0, "accepted")
    session.flag(1)
    assert session.pace.reviewed == 2


def test_the_pace_leaves_long_pauses_out() -> None:
    pace = Pace()
    for now in (0.0, 6.0, 12.0, 1000.0):
        pace = pace.after(now)
    assert (pace.reviewed, pace.seconds) == (4, 132.0)
    assert pace.per_minute == pytest.approx(60 * 3 / 132)
    assert Pace().after(0.0).after(1.0).per_minute is None


# Other programs


def test_what_another_program_writes_is_taken_in_and_told(session: DataSetSession, path: Path) -> None:
    assert session.take_in() is None
    session.judge(0, "accepted")
    theirs = some(6)
    theirs[0] = replace(theirs[0], status="dropped")
    path.write_text("".join(map(to_line, theirs)))
    edited = session.take_in()
    assert isinstance(edited, Edited)
    assert (edited.other_rows, edited.notice) == (
        True,
        "Another program changed a pair that you changed too: C decides which version stays.",
    )
    assert session.notice == "▲ 1 conflict · C decides"
    assert session.resolve("id0", "mine").rows == (0,)
    assert (session.notice, session.store.rows.label(0, "status"), len(session.store)) == ("", "accepted", 6)
    # Rows that came from outside are not taken for an edit of ours.
    assert not session.judge(1, "accepted").other_rows


def test_a_file_that_is_gone_is_told_once_and_written_anew(session: DataSetSession, path: Path) -> None:
    path.unlink()
    trouble = session.take_in()
    assert isinstance(trouble, WorkbenchError)
    assert "removed" in trouble.title
    assert session.take_in() is None
    assert session.restore().notice == "x.jsonl is written anew."
    assert len(load_pairs(path)[0]) == 5
    path.unlink()
    assert isinstance(session.take_in(), WorkbenchError)
    session.restore()


def test_a_file_that_cannot_be_saved_is_told_once(session: DataSetSession) -> None:
    assert session.trouble is None
    session.store.file.trouble = error = WorkbenchError("x could not be saved", "The disk is full.")
    assert (session.trouble, session.trouble) == (error, None)
    assert "not saved" in session.notice


@pytest.mark.usefixtures("session")
def test_a_second_session_says_who_edits(path: Path) -> None:
    second = DataSetSession(path)
    assert second.notice.startswith("▲ read only: it is being edited by process")
    with pytest.raises(ReadOnlyError):
        second.judge(0, "accepted")
    assert second.latest == Edited()
    second.close()


def test_lines_that_are_no_pairs_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{}\n" + to_line(some(1)[0]) + "[]\n")
    session = DataSetSession(tmp_path / "x.jsonl")
    assert session.status == "▲ 2 lines are no pairs"
    session.close()


# Other files


def test_export_writes_what_was_counted(session: DataSetSession, tmp_path: Path) -> None:
    session.judge(0, "accepted")
    session.judge(1, "dropped")
    shown = rows(1, 2)
    for which, count in session.export_counts(shown, "trl").items():
        target = tmp_path / f"{which}.jsonl"
        assert session.export(shown, target, "jsonl", which, "trl").endswith(f"written to {target}.")
        assert len(load_pairs(target)[0]) == count


def test_pairs_are_copied_moved_and_merged(session: DataSetSession, tmp_path: Path) -> None:
    other = tmp_path / "pairs" / "other.jsonl"
    copied = session.copy_into(other, rows(0, 1), move_them=False)
    assert (copied.rows, copied.other_rows, copied.notice) == ((), False, "2 pairs copied to other.")
    moved = session.copy_into(other, rows(1, 2), move_them=True)
    assert (moved.other_rows, moved.notice) == (True, "1 pair moved to other; 1 were there already.")
    assert [pair.id for pair in session.store.pairs] == ["id0", "id3", "id4"]
    merged = session.merge_from(other)
    assert (merged.other_rows, merged.notice) == (True, "2 pairs of other merged into x; 1 were there already.")


def test_pairs_are_added_to_a_data_set_that_is_open_or_not(session: DataSetSession, path: Path, tmp_path: Path) -> None:
    new = Pair("new", "p", "c", "r")
    add_pairs(session, path, [new], "from elsewhere", go_to="new")
    assert session.latest == Edited((5,), other_rows=True, go_to="new")
    assert session.store.file.described("undo") == "from elsewhere"
    assert len(pairs_in(session, path)) == 6
    other = tmp_path / "other.jsonl"
    assert pairs_in(session, other) == ()
    add_pairs(session, other, [new], "begun")
    add_pairs(None, other, [replace(new, id="newer")], "added")
    assert [pair.id for pair in pairs_in(session, other)] == ["new", "newer"]
    with PairStore(other) as store:
        assert store.file.turn("undo")[0] == "added"
    assert session.latest.go_to == "new"


def test_an_import_is_told_in_words() -> None:
    found = Imported(some(2), [Problem(3, "is no pair")], duplicates=1)
    words = "2 pairs imported into mine; 1 were there already; 1 row could not be used (the first: line 3)."
    assert imported(found, "mine") == words
