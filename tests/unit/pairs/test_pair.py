"""A pair and its line of JSON say the same."""

import json

import pytest
from hypothesis import given

from tests.unit.pairs.strategies import any_pairs
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair, from_row, to_line, to_row


@given(any_pairs)
def test_rows_and_lines_give_the_pair_back(pair: Pair) -> None:
    assert from_row(to_row(pair), where="here") == pair
    line = to_line(pair)
    assert line.count("\n") == 1
    assert from_row(json.loads(line), where="here") == pair
    assert to_line(from_row(json.loads(line), where="here")) == line


def test_fields_at_their_defaults_are_left_out() -> None:
    assert to_row(Pair("1", "p", "c", "r")) == {"id": "1", "prompt": "p", "chosen": "c", "rejected": "r"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"chosen": None}, "chosen"),
        ({"rejected": 3}, "rejected"),
        ({"prompt": [{"role": "user", "content": "x"}]}, "prompt"),
        ({"prompt": [{"role": [], "content": "x"}]}, "prompt"),
        ({"prompt": [{"role": "user", "content": "x", "name": "y"}]}, "prompt"),
        ({"id": 2.5}, "id"),
        ({"status": "done"}, "status"),
        ({"split": "test"}, "split"),
        ({"tags": "tone"}, "tags"),
        ({"note": 3}, "note"),
    ],
)
def test_bad_rows_name_place_and_field(change: dict, field: str) -> None:
    row = {"id": "1", "prompt": "p", "chosen": "c", "rejected": "r"} | change
    with pytest.raises(WorkbenchError, match=f"here: field '{field}'"):
        from_row(row, where="here")


def test_swapping_twice_changes_nothing() -> None:
    pair = Pair("1", (Message("user", "p"),), (Message("assistant", "c"),), (Message("assistant", "r"),), tags=("t",))
    assert pair.swapped().chosen == pair.rejected
    assert pair.swapped().swapped() == pair
