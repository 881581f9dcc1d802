"""Texts that a spreadsheet would run are guarded in CSV, and come back to the letter."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.pairs.exporters import export_pairs
from workbench.pairs.formulas import GUARDED, guarded, is_formula, unguarded
from workbench.pairs.importers import import_rows
from workbench.pairs.pair import Pair
from workbench.pairs.readers import read_rows

STARTS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
ATTACKS = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\uff1d1+1",
    "'=1",
    "''=1",
    "'",
    "'x",
    GUARDED,
]
_EXCLUDED = st.characters(exclude_categories=["Cs"])
CELLS = st.one_of(
    st.sampled_from(ATTACKS),
    st.builds("".join, st.lists(st.sampled_from([*STARTS, "'", '"', ",", ";", "\n", GUARDED, "x"]), max_size=5)),
    st.text(_EXCLUDED),
)


@given(CELLS)
def test_a_guard_comes_off_again(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell
    assert guarded(cell)[:1] not in STARTS
    assert is_formula(cell) == (guarded(cell) != cell)


@pytest.mark.parametrize("start", STARTS)
def test_what_begins_so_is_guarded(start: str) -> None:
    assert guarded(f"{start}1+1") == f"'{start}1+1"
    assert guarded(f"1{start}1") == f"1{start}1"


def cells_of(path: Path) -> list[list[str]]:
    """The cells as a spreadsheet reads them."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


# A file whose first line has the character 0 in it is taken for none of text.
_NAMES = CELLS.filter(lambda name: bool(name) and "\0" not in name)


@given(
    st.lists(
        st.tuples(CELLS, CELLS, CELLS, st.dictionaries(_NAMES, CELLS.filter(bool), max_size=3)), min_size=1, max_size=4
    )
)
def test_rows_come_back_as_they_were_whatever_is_in_them(texts: list[tuple[str, str, str, dict[str, str]]]) -> None:
    own = set(Pair.__dataclass_fields__) | {"workbench_pair"}
    pairs = [
        Pair(str(number), prompt, chosen, rejected, extra={name: more[name] for name in more if name not in own})
        for number, (prompt, chosen, rejected, more) in enumerate(texts)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        export_pairs(path, pairs, "csv")
        assert all(cell[:1] not in STARTS for line in cells_of(path) for cell in line if cell)
        rows = [row for _, row in read_rows(path)]
    for pair, row in zip(pairs, rows, strict=True):
        assert isinstance(row, dict)
        assert (row["prompt"], row["chosen"], row["rejected"]) == (pair.prompt, pair.chosen, pair.rejected)
        names = {name for other in pairs for name in other.extra}
        assert {name: row[name] for name in names} == {name: pair.extra.get(name, "") for name in names}
        assert GUARDED in names or GUARDED not in row


def test_pairs_come_back_through_the_importer(tmp_path: Path) -> None:
    pairs = [
        Pair(
            f"={number}",
            f"{number}{attack}",
            attack,
            f"{attack}-",
            tags=(attack.strip(),),
            note=attack,
            source=attack,
            extra={attack: attack},
        )
        for number, attack in enumerate(ATTACKS)
        if attack.strip()
    ]
    path = tmp_path / "x.csv"
    count = export_pairs(path, pairs, "csv")
    assert count > len(pairs)
    found = import_rows(read_rows(path), conversational=False)
    assert not found.problems
    for before, after in zip(pairs, found.pairs, strict=True):
        assert (after.id, after.prompt, after.chosen, after.rejected) == (
            before.id, before.prompt, before.chosen, before.rejected,
        )  # fmt: skip
        assert (after.tags, after.note, after.source) == (before.tags, before.note, before.source)
        assert {name: text for name, text in after.extra.items() if text} == before.extra


def test_raw_leaves_them(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    assert export_pairs(path, [Pair("a", "=1", "-x", "'=y")], "csv", raw=True) == 0
    header, cells = cells_of(path)
    assert GUARDED not in header
    assert cells[:4] == ["a", "=1", "-x", "'=y"]
    assert [row for _, row in read_rows(path)] == [dict(zip(header, cells, strict=True))]


def test_where_nothing_is_a_formula_the_file_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    assert export_pairs(path, [Pair("a", "p", "c", "it's", extra={"score": -1.5})], "csv") == 0
    header, cells = cells_of(path)
    assert GUARDED not in header
    assert cells[header.index("score")] == "-1.5"  # a number is no formula


def test_apostrophes_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("prompt,chosen,rejected\n'=p,'-c,'@r\n")
    (row,) = [row for _, row in read_rows(path)]
    assert row == {"prompt": "'=p", "chosen": "'-c", "rejected": "'@r"}
