"""A changed field is all that changes in a line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.strategies import extras, texts
from workbench.pairs.rewrite import ABSENT, rewritten

styles = st.sampled_from([(", ", ": "), (",", ":"), (" ,\t", " :  ")])
rows = st.fixed_dictionaries({"id": texts, "a": texts, "b": texts}).flatmap(
    lambda row: extras.map(lambda extra: row | extra)
)


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        ('{"a": 1.50, "n": 1e5}\n', {"s": "x"}, '{"a": 1.50, "n": 1e5, "s": "x"}\n'),
        ('{"a":1.50,"n":1e5}\r\n', {"s": "x"}, '{"a":1.50,"n":1e5,"s":"x"}\r\n'),
        ('{"s": "y", "a": "\\u00e9"}', {"s": "é"}, '{"s": "é", "a": "\\u00e9"}'),
        ('{"s": "y", "a": 1}', {"s": ABSENT}, '{"a": 1}'),
        ('{"a": 1, "s": "y"}', {"s": ABSENT}, '{"a": 1}'),
        ('{"a": 1, "s": [1, {"s": 2}], "b": 2}', {"s": ABSENT}, '{"a": 1, "b": 2}'),
        ('{"s": 1}', {"s": ABSENT}, "{}"),
        (" { } \n", {"s": 1}, ' {"s": 1 } \n'),
        ('{"a": 1}', {"s": ABSENT}, '{"a": 1}'),
        ('{"s": 1, "s": 2}', {"s": 3}, '{"s": 1, "s": 3}'),
        ('{"a": "}\\", "}', {"s": 1}, '{"a": "}\\", ", "s": 1}'),
    ],
)
def test_one_field_changes(line: str, fields: dict, expected: str) -> None:
    assert rewritten(line.encode(), fields).decode() == expected


def test_turned_values_keep_their_bytes() -> None:
    begin, score = (
        b'{"chosen": [1.0,  2], "x": 0, "rejected": "\\u00e9", ',
        b'"score_chosen": 4.50, "score_rejected": 2, ',
    )
    line = begin + score + b'"margin": 2.5}\n'
    begin, score = (
        b'{"chosen": "\\u00e9", "x": 0, "rejected": [1.0,  2], ',
        b'"score_chosen": 2, "score_rejected": 4.50, ',
    )
    turned = begin + score + b'"margin": -2.5}\n'
    assert rewritten(line, {}, turn=True) == turned
    assert rewritten(turned, {}, turn=True) == line


@given(rows, styles, st.dictionaries(st.sampled_from(["id", "a", "new", "rating"]), texts | st.just(ABSENT)))
def test_any_line_says_what_it_should_afterwards(row: dict, style: tuple[str, str], fields: dict) -> None:
    line = json.dumps(row, separators=style).encode() + b"\n"
    expected = row | fields
    changed = rewritten(line, fields)
    assert json.loads(changed) == {name: value for name, value in expected.items() if value is not ABSENT}
    assert changed.count(b"\n") == 1
    assert rewritten(line, {}) == line
