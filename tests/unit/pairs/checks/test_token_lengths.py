"""Token counts come out as they went in, through JSON too, and cost little."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.checks.build import CLEAN, talk
from workbench.pairs.checks.background import check_file
from workbench.pairs.checks.findings import TokenLengths
from workbench.pairs.checks.run import run_checks
from workbench.pairs.checks.tokens import PairTokens, TokenCounts
from workbench.pairs.store import write_pairs

_COUNTS = st.integers(0, 2**32 - 1)


@given(st.dictionaries(st.text(st.characters()), st.tuples(_COUNTS, _COUNTS), max_size=40))
def test_every_count_is_there_again(counts: dict[str, tuple[int, int]]) -> None:
    lengths = TokenLengths.of((identity, *pair) for identity, pair in counts.items())
    again = TokenLengths.from_json(json.loads(json.dumps(lengths.to_json())))
    assert again == lengths
    assert len(again) == len(counts)
    assert {identity: again.get(identity) for identity in counts} == counts
    assert again.get("no such\x00id") is None


def test_a_hundred_thousand_pairs_take_sixteen_bytes_each() -> None:
    lengths = TokenLengths.of((f"p{number}", number, 2 * number) for number in range(100_000))
    columns = (lengths.keys, lengths.chosen, lengths.rejected)
    assert sum(len(column) * column.itemsize for column in columns) == 1_600_000
    assert lengths.get("p77777") == (77777, 155554)


def test_a_report_has_them_where_tokens_were_counted() -> None:
    counts = {pair.id: PairTokens(5, 7, number, 0, stops=True) for number, pair in enumerate(CLEAN)}
    counts["odd"] = PairTokens(0, 0, 0, 0, stops=True, refused="no such role")
    report = run_checks([*CLEAN, talk("odd", "Q?", "Yes, it is so.", "It is not.")], tokens=TokenCounts("m", counts))
    assert report.tokens is not None
    assert [report.tokens.get(pair.id) for pair in CLEAN] == [(7, number) for number in range(len(CLEAN))]
    assert report.tokens.get("odd") is None
    assert run_checks(CLEAN).tokens is None


def test_they_come_from_the_process_of_the_checks(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_pairs(path, [*CLEAN, talk("gone", "Q", "", "", status="dropped")])
    report = check_file(path, model="tiny")
    assert report.tokens is not None
    assert len(report.tokens) == len(CLEAN)
    chosen, rejected = report.tokens.get("a") or (0, 0)
    assert min(chosen, rejected) > 4
    assert report.lengths["unit"] == "tokens"
    assert report.tokens.get("gone") is None
