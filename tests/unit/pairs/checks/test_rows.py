"""Columns taken out of a data set's own are those that its pairs give, whatever was edited."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.pairs.checks.build import CLEAN, talk
from workbench.pairs.checks.columns_of_rows import columns_of
from workbench.pairs.checks.text_columns import TextColumns
from workbench.pairs.pair import Message, Pair
from workbench.pairs.store import PairStore, load_rows, write_pairs

_TURNS = [Message("system", "S"), Message("user", "U"), Message("assistant", " "), Message("user", "So?")]
_TALKS = [
    *CLEAN,
    Pair("long", tuple(_TURNS), (Message("assistant", "A"), Message("user", "B")), (Message("assistant", "C"),)),
    Pair("none", (), (), ()),
    talk("gone", "Q?", "one two", "three", status="dropped"),
    talk("side", "Q?", "one  two", "", split="holdout", extra={"score_chosen": 1, "score_rejected": 2}),
]
_PLAIN = [Pair("a", "One?", "Yes.", "No."), Pair("b", "", " ", "No.", split="train"), Pair("c", "x", "y", "z")]


@pytest.mark.parametrize("pairs", [_TALKS, _PLAIN, []], ids=["turns", "plain", "nothing"])
def test_both_ways_give_the_same(tmp_path: Path, pairs: list[Pair]) -> None:
    path = tmp_path / "x.jsonl"
    write_pairs(path, pairs)
    _same(path)
    if not pairs:
        return
    with PairStore(path) as store:
        store.swap(store.rows.order[:3])
        store.set_status(store.rows.order[1:2], "dropped")
        new = pairs[0].swapped()
        store.update([pairs[2].id], lambda pair: Pair(pair.id, new.prompt, new.chosen, pair.prompt), "edit")
        store.remove([pairs[0].id])
        store.add([Pair("added", pairs[2].prompt, pairs[2].chosen, pairs[2].chosen)])
        _equal(columns_of(store.snapshot()), TextColumns.of(store.pairs))
    _same(path)


def _same(path: Path) -> None:
    rows = load_rows(path)
    pairs = [rows.pair(row) for row in rows.order.tolist()]
    _equal(columns_of(rows), TextColumns.of(pairs))


def _equal(one: TextColumns, other: TextColumns) -> None:
    for name in ("ids", "prompts", "chosen", "rejected", "shapes", "statuses", "splits", "empty_turns", "total"):
        assert getattr(one, name) == getattr(other, name), name
    assert all(one.prompt_at(place) == other.prompt_at(place) for place in range(len(one)))
    assert {place: extra for place, extra in one.extras.items() if extra} == dict(other.extras)
    assert one.words == ([len(text.split()) for text in one.chosen], [len(text.split()) for text in one.rejected])


def test_checks_import_neither_screens_nor_models() -> None:
    code = (
        "import sys, workbench.pairs.checks.findings; assert 'numpy' not in sys.modules\n"
        "from workbench.pairs.checks import repairs, run, tokens\n"
        "run.run_checks([])\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'textual', 'pandas', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
