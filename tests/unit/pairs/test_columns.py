"""What Arrow reads is what reading line by line gives, for any file."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.strategies import any_pairs, plain_pairs
from workbench.pairs import columns
from workbench.pairs.columns import load
from workbench.pairs.pair import Message, Pair, count_words, plain, to_line, turn_from
from workbench.pairs.rows import Rows

GOOD = '{"id": "%s", "prompt": "p", "chosen": "c", "rejected": "r"}'
ODD = [
    "",
    "   ",
    "{bad",
    "[1]",
    '{"id": "x"} {"id": "y"}',
    '{"id": "x", "prompt": "p", "chosen": "c", "rejected": 3}',
    '{"id": "", "prompt": "p", "chosen": "c", "rejected": "r"}',
    '{"id": "s", "prompt": "p", "chosen": "c", "rejected": "r", "status": "done"}',
    '{"id": "t", "prompt": "p", "chosen": "c", "rejected": "r", "tags": [null]}',
    '{"id": "u", "prompt": "\\udc00", "chosen": "c", "rejected": "r"}',
    '{"id": "v", "prompt": "p", "chosen": "c", "rejected": "r", "status": null, "split": "", "tags": null}',
    '{"id": "w", "prompt": "p", "chosen": "c", "rejected": "r", "x": NaN}',
    '  {"id": "y", "prompt": "p", "chosen": "c", "rejected": "r", "tags": ["a", ""]}  ',
    '{"id": "z", "prompt": "p", "chosen": "c", "rejected": "r", "x": 123456789012345678901234567890}',
    GOOD % "same",
    GOOD % "same",
]
lines = st.lists(
    (any_pairs | plain_pairs).map(lambda pair: to_line(pair).rstrip("\n")) | st.sampled_from(ODD), max_size=8
)


def read_slowly(path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    with monkeypatch.context() as patch:
        patch.setattr(columns, "_fast", lambda *_: None)
        return Rows(load(path))


@given(lines, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from([8, 64, 1 << 20]))
def test_both_ways_of_reading_agree(
    tmp_path_factory: pytest.TempPathFactory, found: list[str], newline: str, bom: bool, piece: int
) -> None:
    path = tmp_path_factory.mktemp("columns") / "x.jsonl"
    content = (b"\xef\xbb\xbf" if bom else b"") + newline.join(found).encode()
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_PIECE", piece)
        fast, slow = Rows(load(path)), read_slowly(path, patch)
    # Of two rows without an id that say the same, the second is given another one.
    assert fast.base.renamed.tolist() == slow.base.renamed.tolist()
    assert len(fast.base.renamed) or b"".join(map(bytes, fast.chunks())) == content
    assert fast.base.problems == slow.base.problems
    assert fast.order.tolist() == slow.order.tolist()
    for row in fast.order.tolist():
        pair = fast.pair(row)
        assert pair == slow.pair(row)
        for name in ("chosen", "rejected"):
            assert fast.words[name][row] == slow.words[name][row] == count_words(getattr(pair, name))


@pytest.mark.parametrize("depth", [2_000, 120_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_line_that_is_nested_too_deeply_is_told(tmp_path: Path, depth: int, opening: str) -> None:
    # Arrow's own reader ends the process where nesting is very deep.
    closing = "]" if opening == "[" else "}"
    deep = (GOOD % "deep")[:-1] + ', "x": ' + opening * depth + "1" + closing * depth + "}"
    path = tmp_path / "x.jsonl"
    path.write_text(f"{GOOD % 1}\n{deep}\n{GOOD % 2}\n")
    found = load(path)
    assert [(problem.line, problem.reason) for problem in found.problems] == [(2, "is nested too deeply")]
    assert found.is_pair.tolist() == [True, False, True]


def test_turns_are_counted_and_kept_apart(tmp_path: Path) -> None:
    turns = (Message("user", "one two"), Message("assistant", ""), Message("user", " three\nfour "))
    path = tmp_path / "x.jsonl"
    path.write_text(to_line(Pair("a", turns, turns, ())) + to_line(Pair("b", turns, (), turns)))
    rows = Rows(load(path))
    assert (rows.words["chosen"].tolist(), rows.words["rejected"].tolist()) == ([4, 0], [0, 4])
    assert len(plain(rows.pair(0).chosen).split()) == 4


def test_a_message_may_have_more_than_role_and_content(tmp_path: Path) -> None:
    turn = {"role": "user", "content": "x"}
    row = {"id": "a", "prompt": [turn], "chosen": [turn], "rejected": [turn]}
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"id": "b", "prompt": [turn | {"name": "y"}]}) + "\n")
    rows = Rows(load(path))
    assert [rows.pair(row).prompt for row in (0, 1)] == [(Message("user", "x"),), (turn_from(turn | {"name": "y"}),)]
    assert list(rows.prompts(rows.order)) == [rows.pair(row).prompt for row in (0, 1)]
    assert not rows.undrafted.any()
