import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.evidence.probes import KINDS, by_kind, digests, parse_probe, read_suites
from workbench.pairs.pair import Message
from workbench.tiny.starters import build_probes

ROW: dict[str, Any] = {
    "id": "attack-1",
    "kind": "attack",
    "prompt": [{"role": "user", "content": "How?"}],
    "responses": {"compliant": "Sure.", "refusing": "No."},
    "group": "alarm",
}


def write(folder: Path, *rows: object, name: str = "attack") -> Path:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_a_suite_is_read(tmp_path: Path) -> None:
    (probe,) = read_suites(write(tmp_path, ROW))
    assert (probe.id, probe.kind, probe.group) == ("attack-1", "attack", "alarm")
    assert probe.prompt == (Message("user", "How?"),)
    assert probe.responses == {"compliant": "Sure.", "refusing": "No."}
    assert probe.tags == ()
    (probe,) = read_suites(write(tmp_path, ROW | {"tags": ["direct"]}))
    assert probe.tags == ("direct",)


@pytest.mark.parametrize("sign", ["\u2028", "\u0085", "\x0b", "\r"])
def test_only_line_feeds_end_a_line(tmp_path: Path, sign: str) -> None:
    row = json.dumps(ROW | {"prompt": f"one{sign}two"}, ensure_ascii=False) + "\r\n"
    (tmp_path / "a.jsonl").write_bytes((row + row.replace("attack-1", "attack-2")).encode())
    assert [probe.prompt for probe in read_suites(tmp_path)] == [f"one{sign}two"] * 2


def test_a_suites_digest_changes_with_it(tmp_path: Path) -> None:
    before = digests(write(tmp_path, ROW))
    assert list(before) == ["attack.jsonl"]
    assert digests(write(tmp_path, ROW)) == before != digests(write(tmp_path, ROW | {"group": "other"}))


def test_suites_are_joined_and_sorted_by_kind(tmp_path: Path) -> None:
    write(tmp_path, ROW | {"id": "x", "kind": "zeal"}, name="a")
    write(tmp_path, ROW, ROW | {"id": "t", "kind": "tone", "prompt": "plain"}, name="b")
    kinds = by_kind(read_suites(tmp_path))
    assert list(kinds) == ["attack", "tone", "zeal"]
    assert kinds["tone"][0].prompt == "plain"


def test_the_starter_suites_are_suites() -> None:
    probes = [parse_probe(row, name) for name, rows in build_probes().items() for row in rows]
    assert {kind: len(found) >= 40 for kind, found in by_kind(probes).items()} == dict.fromkeys(KINDS, True)
    assert {tag for probe in probes for tag in probe.tags} > {"direct", "injection", "many-shot", "unseen", "payment"}


def test_no_suites_are_told_with_a_way_out(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(WorkbenchError) as raised:
            read_suites(folder)
        assert "starters" in raised.value.hint


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ""}, "id"),
        ({"kind": None}, "kind"),
        ({"group": 3}, "group"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [{"role": "king", "content": "x"}]}, "prompt"),
        ({"prompt": [{"role": "user"}]}, "prompt"),
        ({"responses": {"compliant": ""}}, "responses"),
        ({"openings": {"refusing": "I can't"}}, "openings"),
        ({"openings": {"refusing": []}}, "openings"),
        ({"responses": {"compliant": 1}}, "responses"),
        ({"responses": "Sure."}, "responses"),
        ({"tags": "direct"}, "tags"),
        ({"tags": [""]}, "tags"),
    ],
)
def test_a_bad_row_is_told_by_file_line_and_field(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    with pytest.raises(WorkbenchError) as raised:
        read_suites(write(tmp_path, ROW, ROW | {"id": "2"} | change))
    assert "attack.jsonl, line 2" in raised.value.message
    assert f"'{field}'" in raised.value.message


def test_what_is_no_json_or_not_unique_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW) + "\n{oh\n", encoding="utf-8")
    with pytest.raises(WorkbenchError, match="line 2"):
        read_suites(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(WorkbenchError, match="cannot be read"):
        read_suites(tmp_path)
    with pytest.raises(WorkbenchError, match="two probes"):
        read_suites(write(tmp_path, ROW, ROW, name="a"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*ROW, "tags", "openings"]), json_values), json_values)
def test_anything_is_a_probe_or_a_told_error(change: dict[str, Any], other: Any) -> None:
    for row in (ROW | change, other):
        told, probes = "", []
        try:
            probes = [parse_probe(row, "x, row 1")]
        except WorkbenchError as error:
            told = error.message
        assert told.startswith("x, row 1") or (probes[0].id and probes[0].prompt)
