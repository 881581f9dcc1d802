"""What columns say of a pair's answers: read, searched, sorted by, checked, and taken along when they are exchanged."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.pairs.checks.columns_of_rows import columns_of
from workbench.pairs.checks.run import run_checks
from workbench.pairs.pair import Pair
from workbench.pairs.query import Order, QueryError, parse
from workbench.pairs.store import PairStore, load_rows, write_pairs
from workbench.pairs.strength import margin_of, turned


@pytest.mark.parametrize(
    ("columns", "margin"),
    [
        ({"margin": 2}, 2.0),
        ({"margin": "-1.5"}, -1.5),
        ({"score_chosen": 4.5, "score_rejected": 2}, 2.5),
        ({"chosen_rating": 1, "rejected_rating": 3}, -2.0),
        ({"chosen-rating": 5, "rejected-rating": 4}, 1.0),
        ({"rank_chosen": 1, "rank_rejected": 7}, 6.0),
        ({"margin": None, "score_chosen": 4, "score_rejected": 2}, 2.0),
        ({"score_chosen": 4}, math.nan),
        ({"score_chosen": [4], "score_rejected": 1}, math.nan),
        ({"margin": True}, math.nan),
        ({"margin": 10**400}, math.nan),
        ({}, math.nan),
    ],
)
def test_the_margin_of_columns(columns: dict[str, Any], margin: float) -> None:
    assert margin_of(columns) == pytest.approx(margin, nan_ok=True)
    assert margin_of(turned(columns)) == pytest.approx(-margin, nan_ok=True)
    assert turned(turned(columns)) == columns or "margin" in columns


def pair(number: int, **columns: Any) -> Pair:
    return Pair(f"p{number}", f"Question {number}?", f"One answer to {number}.", f"Another to {number}.", extra=columns)


SCORED = [
    pair(0, margin=3),
    pair(1),
    pair(2, score_chosen=1.0, score_rejected=2.5),
    pair(3, rank_chosen=1, rank_rejected=2),
    pair(4, margin=0.5, score_chosen=0, score_rejected=9),
]
FOUND = [3.0, math.nan, -1.5, 1.0, 0.5]


@pytest.mark.parametrize("odd", [False, True])
def test_margins_are_found_and_sorted_by(tmp_path: Path, odd: bool) -> None:
    pairs = [*SCORED, pair(5, margin="much")] if odd else SCORED
    write_pairs(tmp_path / "x.jsonl", pairs)
    with PairStore(tmp_path / "x.jsonl") as store:
        assert store.rows.margins.tolist()[:5] == pytest.approx(FOUND, nan_ok=True)
        assert store.find(parse("margin>0.5")).tolist() == [0, 3]
        assert store.find(parse("margin<0")).tolist() == [2]
        assert store.find(parse("-margin>=0.5")).tolist()[:2] == [1, 2]
        assert store.sorted(store.rows.order, Order("margin")).tolist()[:4] == [2, 4, 3, 0]
        assert store.sorted(store.rows.order, Order("margin", descending=True)).tolist()[:4] == [0, 3, 4, 2]
        with pytest.raises(QueryError, match="Not a number"):
            parse("margin>much")


def test_what_is_said_of_an_answer_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_pairs(path, SCORED)
    with PairStore(path) as store:
        store.swap([0, 2])
        store.update(["p0"], lambda pair: Pair(pair.id, "Edited?", pair.chosen, pair.rejected, extra=pair.extra))
        store.swap([4])
        assert store.rows.pair(0).extra == {"margin": -3}
        assert store.rows.pair(2).extra == {"score_chosen": 2.5, "score_rejected": 1.0}
        store.file.save()
        now = [store.rows.pair(row) for row in range(5)]
    rows = load_rows(path)
    assert [rows.pair(row) for row in range(5)] == now
    assert rows.margins.tolist() == pytest.approx([-3.0, math.nan, 1.5, 1.0, -0.5], nan_ok=True)
    with PairStore(path) as store:
        store.swap([0, 2, 4])
        store.swap([4])
        store.swap([4])
        store.file.save()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [{k: v for k, v in line.items() if k in each.extra} for line, each in zip(lines, SCORED, strict=True)] == [
        each.extra for each in SCORED
    ]


def test_every_score_and_label_is_held_against_the_direction(tmp_path: Path) -> None:
    good, bad = "One answer to it.", "Another one to it."
    safe = {"response_0": good, "response_1": bad}
    rows = [
        pair(0, margin=-1),
        pair(1, **{"chosen-rating": 2, "rejected-rating": 4}),
        pair(2, rank_chosen=4, rank_rejected=1),
        Pair("p3", "Q3?", good, bad, extra={**safe, "better_response_id": 1}),
        Pair("p4", "Q4?", good, bad, extra={"generations": [good, bad], "ratings": [1, 5]}),
        pair(5, margin=1),
        Pair("p6", "Q6?", good, bad, extra={**safe, "better_response_id": 0}),
        Pair("p7", "Q7?", good, bad, extra={**safe, "better_response_id": "unclear"}),
    ]
    write_pairs(tmp_path / "x.jsonl", rows)
    for report in (run_checks(columns_of(load_rows(tmp_path / "x.jsonl"))), run_checks(rows)):
        (finding,) = [finding for finding in report.findings if finding.check == "swap"]
        assert finding.ids == ("p0", "p1", "p2", "p3", "p4")
        assert finding.figures["reasons"] == {"scored the other way round": 3, "labelled the other way round": 2}


@given(st.dictionaries(st.sampled_from(["margin", "score_chosen", "score_rejected", "x", "a_chosen"]), st.integers()))
def test_turning_twice_changes_nothing(columns: dict[str, int]) -> None:
    assert turned(turned(columns)) == columns
