"""Rows come out of every kind of file; damage is told by line and costs no more than it must."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.pairs import json_rows
from workbench.pairs.importers import import_rows
from workbench.pairs.lines import UnusableError
from workbench.pairs.pair import to_line
from workbench.pairs.readers import read_rows

ROWS = [{"prompt": f"p{number}", "chosen": "gut, é", "rejected": 'b"ad\nline'} for number in range(3)]
LINES = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)
_RECORDS = "".join(f'p{number},"gut, é","b""ad\nline"\n' for number in range(3))
CSV = f"prompt,chosen,rejected\n{_RECORDS}".encode()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": lambda content: bz2.compress(content[:9]) + bz2.compress(content[9:]),
    ".xz": lambda content: lzma.compress(content[:9]) + lzma.compress(content[9:]),
    ".zst": lambda content: arrow_packed(content, "zstd"),
    ".lz4": lambda content: arrow_packed(content, "lz4"),
}


def arrow_packed(content: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as file:
        file.write(content)
    return bytes(sink.getvalue())


def good(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_rows(path) if isinstance(row, dict)]


def bad(path: Path) -> list[tuple[int, str]]:
    return [(line, str(row)) for line, row in read_rows(path) if isinstance(row, UnusableError)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", LINES),
        ("x.jsonl", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n")),
        ("x.ndjson", LINES.rstrip()),
        ("x.json", LINES),
        ("x.json", json.dumps(ROWS).encode()),
        ("x.JSON", b"\xef\xbb\xbf" + json.dumps(ROWS, indent=2).encode()),
        ("x.data", json.dumps(ROWS).encode()),
        ("x.data", LINES),
        ("x.jsonl", json.dumps(ROWS).encode()),
        ("x.jsonl", json.dumps(ROWS, indent=1).encode()),
        ("x.jsonl", b"".join(json.dumps(row, indent=4).encode() + b"\n" for row in ROWS)),
        ("x.json", json.dumps({"train": ROWS}).encode()),
        ("x.json", json.dumps({"version": 1, "train_prefs": ROWS}, indent=2).encode()),
        ("x.jsonl", json.dumps({"data": ROWS}).encode() + b"\n"),
        ("x.json", json.dumps({"train": ROWS[:2], "training": ROWS[2:]}).encode()),
        ("x.json", json.dumps({"features": [], "rows": [{"row_idx": 0, "row": row} for row in ROWS]}).encode()),
        ("x.json", json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}).encode()),
        ("x.json", json.dumps({name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]}).encode()),
        ("x.json", json.dumps({"columns": list(ROWS[0]), "data": [list(row.values()) for row in ROWS]}).encode()),
        ("x.csv", CSV),
        ("x.csv", b"\xef\xbb\xbf" + CSV),
        ("x.tsv", CSV.replace(b",", b"\t").replace(b"gut\t", b"gut,")),
        ("x.csv", CSV.replace(b",", b";").replace(b"gut;", b"gut,")),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz", ".bz2", ".xz", ".zst", ".lz4"])
def test_the_same_rows_out_of_every_kind_of_file(tmp_path: Path, name: str, content: bytes, packed: str) -> None:
    path = tmp_path / f"{name}{packed}"
    path.write_bytes(PACK[packed](content))
    assert good(path) == ROWS
    assert bad(path) == []


def test_a_single_row_of_turns_is_one_row_not_columns(tmp_path: Path) -> None:
    row = {name: [{"role": "user", "content": "q"}] for name in ("prompt", "chosen", "rejected")}
    for indent in (None, 2):
        (tmp_path / "x.json").write_text(json.dumps(row, indent=indent))
        assert good(tmp_path / "x.json") == [row]


def test_lists_under_the_names_of_splits_are_held_out(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"train": ROWS[:1], "test": ROWS[1:]}))
    assert [row.get("split") for row in good(tmp_path / "x.json")] == [None, "holdout", "holdout"]


@pytest.mark.parametrize("compression", ["lz4", "zstd", "uncompressed"])
def test_arrow(tmp_path: Path, compression: str) -> None:
    turns = [[{"role": "user", "content": "q"}]] * 3
    table = pa.table({"prompt": pa.array(["a", "b", "a"]).dictionary_encode(), "chosen": turns})
    feather.write_feather(table, str(tmp_path / "x.feather"), compression=compression)
    feather.write_feather(table, str(tmp_path / "x.data"), compression=compression)
    with pa.ipc.new_stream(str(tmp_path / "x.arrow"), table.schema) as stream:
        stream.write_table(table)
    for name in ("x.feather", "x.data", "x.arrow"):
        rows = good(tmp_path / name)
        assert [row["prompt"] for row in rows] == ["a", "b", "a"]
        assert rows[2]["chosen"] == turns[2]
        assert [line for line, _ in read_rows(tmp_path / name)] == [1, 2, 3]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[("a", "x")], None], pa.map_(pa.string(), pa.string())),
        pa.array([Decimal("1.50"), None], pa.decimal128(38, 2)),
        pa.array([datetime(2020, 1, 1, tzinfo=UTC), None]),
        pa.array([b"\xff", None]),
        pa.array(["a", None], pa.large_string()),
        pa.array(["a", None], pa.string_view()),
        pa.array([["a", "b"], ["c", "d"]], pa.list_(pa.string(), 2)),
        pa.array([[["a"], []], None]),
        pa.array([["a"], [None]], pa.large_list(pa.large_string())),
        pa.array([{"a": {"b": "x"}}, None]),
        pa.array([["a"], None]).cast(pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        pa.nulls(2),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_of_every_type_are_read_as_arrow_reads_them(tmp_path: Path, column: Any) -> None:
    table = pa.table({"x": column})
    pq.write_table(table, tmp_path / "x.parquet")
    feather.write_feather(table, str(tmp_path / "x.feather"))
    assert good(tmp_path / "x.parquet") == pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert good(tmp_path / "x.feather") == table.to_pylist()


def test_parquet(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": "q"}]] * 3
    pq.write_table(pa.table({"prompt": ["a", "b", None], "chosen": turns}), tmp_path / "x.parquet")
    rows = good(tmp_path / "x.parquet")
    assert [row["prompt"] for row in rows] == ["a", "b", None]
    assert rows[0]["chosen"] == turns[0]


@pytest.mark.parametrize(
    ("name", "content", "problem", "usable"),
    [
        ("x.jsonl", LINES + b"{nonsense\n", (4, "is not JSON: Expecting property name"), 3),
        ("x.jsonl", LINES + b"[1]\n", (4, "is a list, not a JSON object"), 3),
        ("x.jsonl", b"null\n" + LINES, (1, "is null, not"), 3),
        ("x.jsonl", LINES + b'{"a": "\xe9"}', (4, "is not UTF-8: byte 0xE9 at position 8"), 3),
        ("x.jsonl", LINES + b'{"a": ["\\uDC00"]}', (4, "half a surrogate pair"), 3),
        ("x.jsonl", LINES + b"[" * 200_000, (4, "is nested too deeply"), 3),
        ("x.jsonl", LINES + b"1" * 10_000, (4, "is not JSON: Exceeds the limit"), 3),
        ("x.jsonl", LINES + b"\0\0\n", (4, "is not JSON"), 3),
        ("x.jsonl", b'{"prompt": "cut\n' + LINES, (1, "is not JSON: Invalid control character"), 3),
        ("x.jsonl", b'{"prompt": "cut",\n' + LINES, (1, "is not JSON: Expecting property name"), 3),
        ("x.json", b'{"train": [' + LINES.replace(b"}\n", b"},\n") + b"{'a': 1}]}", (4, "what follows it was not"), 3),
        ("x.json", b"[" + LINES.replace(b"}\n", b"},\n") + b"7,\n{}]", (4, "is not a JSON object"), 4),
        ("x.json", b"[" + LINES.replace(b"}\n", b"},\n") + b'{"a"', (4, "what follows it was not read"), 3),
        ("x.json", b"[" + LINES.replace(b"}\n", b"},\n") + b'{"a":"\xff"}]', (4, "is not UTF-8"), 3),
        ("x.json", b"[" + LINES.replace(b"}\n", b"},\n") + b'{"a":"\\ud800"}]', (4, "surrogate"), 3),
        ("x.csv", CSV + b"only\n", (8, "has 1 cells where the first line names 3 columns"), 3),
        ("x.csv", CSV + b"a,b,\xff\n", (8, "is not UTF-8"), 3),
        ("x.csv", CSV + b'a,b,"never closed\n', (8, "is not CSV"), 3),
    ],
)
def test_bad_rows_are_told_by_line_and_the_others_read(
    tmp_path: Path, name: str, content: bytes, problem: tuple[int, str], usable: int
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    [(line, reason)] = bad(path)
    assert line == problem[0]
    assert problem[1] in reason
    assert len(good(path)) == usable


@pytest.mark.parametrize(("name", "content"), [("x.jsonl.gz", LINES), ("x.csv.gz", CSV), ("x.json.gz", b"[" + LINES)])
@pytest.mark.parametrize("packed", [".gz", ".bz2", ".xz"])
def test_compressed_data_that_is_cut_short_gives_what_is_left(
    tmp_path: Path, name: str, content: bytes, packed: str
) -> None:
    path = tmp_path / name.replace(".gz", packed)
    path.write_bytes(PACK[packed](content) + PACK[packed](b" " * 100)[:-9])
    assert good(path)
    assert "cut short" in bad(path)[-1][1]


def test_lines_without_end_are_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "MAX_ROW", 1000)
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": "' + b"x" * 5000 + b'"}\n' + LINES)
    assert [line for line, _ in bad(path)] == [1]
    assert good(path) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.parquet", b"PAR1 not really", "Cannot read x.parquet"),
        ("x.parquet", b"", "Cannot read x.parquet"),
        ("x.jsonl", LINES.decode().encode("utf-16"), "iconv"),
        ("x.jsonl.gz", b"\x1f\x8bnonsense", "is damaged"),
        ("x.csv.gz", gzip.compress(CSV, mtime=0)[:5], "is damaged"),
        ("x.txt", b"hello", "Not a kind of file"),
        ("x.arrow", b"ARROW1\0\0 not really", "Cannot read x.arrow"),
        ("x.jsonl", b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive"),
        ("x.jsonl", b"SQLite format 3\0\x10", "an SQLite database"),
        ("x.json", b"\x80\x04\x95\n.", "a Python pickle"),
        ("x.tar.gz", gzip.compress(b"x".ljust(257, b"\0") + b"ustar\x0000", mtime=0), "a tar archive"),
        ("x.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a pointer of Git LFS"),
        ("x.jsonl", b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
        ("x.csv", b"\0\1\2", "holds no text"),
        ("x.parquet.gz", gzip.compress(b"PAR1 not really", mtime=0), "a compressed table"),
        pytest.param("x.jsonl", b"\xe9\n" * 500, "None of its first 100 rows", id="Latin-1"),
        ("x.jsonl.xz", b"\xfd7zXZ\0nonsense", "is damaged"),
        ("x.jsonl.zst", b"\x28\xb5\x2f\xfdnonsense", "is damaged"),
    ],
)
def test_files_that_cannot_be_read_at_all(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WorkbenchError) as raised:
        list(read_rows(path))
    assert told in str(raised.value)
    assert raised.value.hint


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="Cannot read"):
        list(read_rows(tmp_path))


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINES * 500)
    told: list[tuple[int, int]] = []
    list(read_rows(path, lambda done, total: told.append((done, total))))
    assert told == sorted(told)
    assert len(told) > 2
    assert told[-1] == (path.stat().st_size, path.stat().st_size)


fragments = st.sampled_from(
    [LINES, CSV, b"[", b"]", b"{", b"}", b'"', b",", b"\n", b"\0", b"\xff\xfe", b"PAR1", b"\\ud800"]
)
wild = st.lists(fragments | st.binary(max_size=20), max_size=6).map(b"".join)
endings = st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".parquet", "", ".jsonl.gz"])


@given(wild, endings, st.sampled_from(["no", "whole", "cut"]))
def test_wild_bytes_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str, zipped: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"wild{ending}"
    if zipped != "no":
        content = gzip.compress(content)
    path.write_bytes(content[: len(content) // 2] if zipped == "cut" else content)
    try:
        found = import_rows(read_rows(path))
    except WorkbenchError:
        return
    for pair in found.pairs:
        to_line(pair).encode()
    for problem in found.problems:
        assert problem.line >= 1
        problem.reason.encode()
