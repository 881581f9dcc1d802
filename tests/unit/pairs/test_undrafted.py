"""A pair that lacks an answer is to be drafted: found, told, and not exported as a pair before it has one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from workbench.compare.ranking import save_all
from workbench.pairs.checks.columns_of_rows import columns_of
from workbench.pairs.checks.repairs import repair_for
from workbench.pairs.checks.run import run_checks
from workbench.pairs.pair import Message, Pair
from workbench.pairs.query import parse
from workbench.pairs.session import BulkChange, DataSetSession
from workbench.pairs.store import PairStore, load_pairs, load_rows, write_pairs

ANSWER, BLANK = (Message("assistant", "Like this."),), (Message("assistant", " \n"),)
PAIRS = [
    Pair(name, (Message("user", f"How, {name}?"),), chosen, rejected)
    for name, chosen, rejected in (
        ("whole", ANSWER, (Message("assistant", "No."),)),
        ("no rejected", ANSWER, BLANK),
        ("no chosen", (), (Message("assistant", "No."),)),
        ("neither", (), BLANK),
    )
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "x.jsonl", PAIRS)
    return tmp_path / "x.jsonl"


def test_it_is_found_and_told_and_left_out_of_the_other_checks(path: Path) -> None:
    rows = load_rows(path)
    assert rows.ids(rows.trainable) == ["whole"]
    assert rows.ids(rows.to_draft) == ["no rejected", "no chosen", "neither"]
    for report in (run_checks(columns_of(rows)), run_checks(PAIRS)):
        (finding,) = report.findings
        assert (finding.check, finding.severity) == ("undrafted", "warning")
        assert finding.ids == ("no rejected", "no chosen", "neither")
        assert "workbench draft" in finding.hint
        assert (report.rows, report.checked) == (4, 1)
        repair = repair_for(finding)
        assert repair is not None
        assert {pair.status for pair in repair.edits(PAIRS)} == {"dropped"}


def test_it_is_accepted_once_it_has_an_answer_and_exported_once_it_has_both(path: Path, tmp_path: Path) -> None:
    session = DataSetSession(path)
    store = session.store
    assert store.find(parse("status:undrafted")).tolist() == [1, 2, 3]
    assert store.find(parse("-status:undrafted")).tolist() == [0]
    assert session.status.startswith("◌ 3 to draft")
    assert "no answer yet" in session.judge(3, "accepted").notice
    assert "3 pairs changed" in session.change_all(store.rows.order, BulkChange("status", "accepted")).notice
    assert store.counts()["accepted"] == 3
    assert session.export_counts(store.rows.order, "trl") == {"shown": 4, "undropped": 1, "accepted": 1, "all": 4}
    assert session.export_counts(store.rows.order, "kto") == {"shown": 4, "undropped": 3, "accepted": 3, "all": 4}
    session.export(store.rows.order, tmp_path / "out.jsonl", "jsonl", "undropped", "trl")
    assert [pair.id for pair in load_pairs(tmp_path / "out.jsonl")[0]] == ["whole"]
    before = store.rows.pair(1)
    session.replace(before, replace(before, rejected=(Message("assistant", "Or so."),)))
    assert store.find(parse("status:undrafted")).tolist() == [2, 3]
    session.undo()
    assert store.find(parse("status:undrafted")).tolist() == [1, 2, 3]
    session.close()


def test_answers_judged_alone_that_repeat_or_contradict_each_other_are_found(tmp_path: Path) -> None:
    pairs = [
        Pair("good", "Q", "Iron", ""),
        Pair("again", "Q", "Iron", ""),
        Pair("bad", "q", "", "iron "),
        Pair("other", "R", "", "Iron"),
        Pair("pair", "Q", "Gold", "Iron"),
    ]
    write_pairs(tmp_path / "x.jsonl", pairs)
    for report in (run_checks(columns_of(load_rows(tmp_path / "x.jsonl"))), run_checks(pairs)):
        findings = {finding.check: finding for finding in report.findings}
        assert findings["repeated-answer"].groups == (("good", "again"),)
        told = findings["good-and-bad"]
        assert told.groups == (("good", "again", "bad"), ("good", "again", "pair"))
        assert (told.ids, told.severity) == (("good", "again", "bad", "pair"), "error")
        assert "1 pair has as chosen what is judged bad alone, or as rejected what is judged good" in told.message
        repair = repair_for(findings["repeated-answer"])
        assert repair is not None
        assert repair.ids == ("again",)


def test_an_answer_judged_alone_that_a_pair_has_on_the_other_side_is_told(tmp_path: Path) -> None:
    pairs = [Pair("bad", "Q", "", "Iron"), Pair("pair", "Q", "Iron", "Wood"), Pair("same", "Q", "Gold", "Iron")]
    write_pairs(tmp_path / "x.jsonl", pairs)
    [told] = [each for each in run_checks(pairs).findings if each.check == "good-and-bad"]
    assert (told.groups, told.severity) == ((("bad", "pair"),), "warning")
    assert "good-and-bad" not in {each.check for each in run_checks([pairs[0], pairs[2]]).findings}


def test_a_draft_for_an_accepted_answer_makes_a_pair_that_nobody_judged(path: Path) -> None:
    with PairStore(path) as store:
        store.set_status(store.rows.order, "accepted")
        drafted = {
            "no rejected": replace(PAIRS[1], rejected=(Message("assistant", "Or so."),)),
            "whole": replace(PAIRS[0], rejected=(Message("assistant", "Or so."),)),
        }
        save_all(store, drafted)
        assert [pair.status for pair in store.pairs] == ["accepted", "new", "accepted", "new"]


def test_uneven_judgements_are_a_finding(tmp_path: Path) -> None:
    good = [Pair(f"g{number}", f"Q{number}", f"Yes {number}.", "") for number in range(8)]
    bad = [Pair(f"b{number}", f"R{number}", "", f"No {number}.") for number in range(2)]
    write_pairs(tmp_path / "x.jsonl", [*good, *bad])
    for report in (run_checks(columns_of(load_rows(tmp_path / "x.jsonl"))), run_checks([*good, *bad])):
        findings = {finding.check: finding for finding in report.findings}
        assert "8 good, 2 bad" in findings["undrafted"].message
        assert findings["balance"].figures == {"good": 8, "bad": 2}
    assert "balance" not in {finding.check for finding in run_checks([*good[:2], *bad]).findings}
