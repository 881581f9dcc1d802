"""What a file unpacks to does not decide how much memory reading it takes: measured in a process of its own."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

MIB = 2**20
_READ = """
import json, sys
from pathlib import Path
import pyarrow.parquet
from workbench.errors import WorkbenchError
from workbench.pairs.sources import open_source

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

before, rows, said = peak(), 0, ""
try:
    for number, row in open_source(Path(sys.argv[1])).rows:
        if isinstance(row, dict):
            rows += 1
        else:
            said = said or f"line {number} {row}"
except WorkbenchError as error:
    said = str(error)
print(json.dumps({"peak": peak() - before, "rows": rows, "said": said}))
"""
ROW = b'{"prompt": "p", "chosen": "a", "rejected": "b"}\n'


def read(path: Path) -> Any:
    """Peak bytes of memory that reading takes beyond the libraries, how many rows there are, and the first problem."""
    done = subprocess.run([sys.executable, "-c", _READ, str(path)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def zipped(path: Path, begin: bytes, piece: bytes) -> Path:
    """A file that unpacks to 300 MiB more than `begin`."""
    block = piece * (MIB // len(piece))
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(begin)
        for _ in range(300):
            file.write(block)
    return path


@pytest.mark.parametrize(
    ("name", "begin", "piece", "rows", "said"),
    [
        ("spaces.json.gz", b"[", b" ", 0, "white space longer than 16 MiB"),
        pytest.param("text.json.gz", b'[{"prompt": "', b"x", 0, "longer than 16 MiB", marks=pytest.mark.slow),
        ("columns.json.gz", b'{"prompt": [', b'"a",', 0, "longer than 16 MiB"),
        ("line.jsonl.gz", ROW + b'{"prompt": "', b"x", 1, "line 2 is longer than 16 MiB"),
        ("line.csv.gz", b"prompt,chosen,rejected\np,a,b\n", b"x", 1, "line 3 is longer than 16 MiB"),
        pytest.param("header.csv.gz", b"", b"a,", 0, "line 1 is longer than 16 MiB", marks=pytest.mark.slow),
        ("quoted.csv.gz", b'prompt,chosen,rejected\np,a,b\n"', b"x\n", 1, "line 3 is longer than 16 MiB"),
        ("lines.jsonl.gz", b"", b"x\n", 0, "None of its first 100 rows can be"),
        pytest.param("bad.jsonl.gz", ROW, b"x\n", 1, "line 2 is not JSON", marks=pytest.mark.slow),
    ],
)
def test_what_has_no_end_is_refused(
    tmp_path: Path, name: str, begin: bytes, piece: bytes, rows: int, said: str
) -> None:
    found = read(zipped(tmp_path / name, begin, piece))
    assert found["rows"] == rows
    assert said in found["said"]
    assert found["peak"] < 100 * MIB


def test_zstandard_too(tmp_path: Path) -> None:
    with pa.CompressedOutputStream(str(tmp_path / "x.json.zst"), "zstd") as file:
        file.write(b"[")
        for _ in range(300):
            file.write(b" " * MIB)
    found = read(tmp_path / "x.json.zst")
    assert "white space longer than 16 MiB" in found["said"]
    assert found["peak"] < 150 * MIB


def test_the_worst_row_within_the_limit(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(b'{"a":[' + b"{}," * (15 * MIB // 3) + b"{}]}\n" + ROW)
    found = read(tmp_path / "x.jsonl.gz")
    assert found["rows"] == 2
    assert found["peak"] < 600 * MIB


def test_a_text_that_all_rows_share_is_held_once(tmp_path: Path) -> None:
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 600, pa.int32()), pa.array(["x" * 1_000_000]))
    turns = pa.array([[{"role": "user", "content": "x" * 1_000_000}]])
    table = pa.table({"prompt": ["p"] * 600, "more": shared, "turns": turns.take(pa.array([0] * 600))})
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 100_000
    found = read(tmp_path / "x.parquet")
    assert found["rows"] == 600
    assert found["peak"] < 300 * MIB


def test_tables_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    numbers = pa.array(np.zeros(40_000_000, np.int64))
    one = pa.ListArray.from_arrays(pa.array([0, len(numbers)], pa.int32()), numbers)
    pq.write_table(pa.table({"prompt": one}), tmp_path / "x.parquet", compression="zstd")
    feather.write_feather(pa.table({"prompt": ["x" * MIB] * 300}), tmp_path / "x.feather", compression="zstd")
    for name in ("x.parquet", "x.feather"):
        assert (tmp_path / name).stat().st_size < 20_000
        found = read(tmp_path / name)
        assert "unpacks to too much" in found["said"]
        assert found["peak"] < 150 * MIB


@pytest.mark.parametrize("ending", ["xz", "bz2"])
def test_streams_one_after_the_other_too(tmp_path: Path, ending: str) -> None:
    pack = {"xz": lzma.compress, "bz2": bz2.compress}[ending]
    path = tmp_path / f"x.jsonl.{ending}"
    path.write_bytes(pack(ROW + b'{"prompt": "') + pack(b"x" * 10 * MIB) * 30)
    assert path.stat().st_size < 200_000
    found = read(path)
    assert (found["rows"], "line 2 is longer than 16 MiB" in found["said"]) == (1, True)
    assert found["peak"] < 150 * MIB


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_archives_too(tmp_path: Path, packed: int) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", packed, compresslevel=1) as archive, archive.open("x.jsonl", "w") as file:
        file.write(ROW + b'{"prompt": "')
        for _ in range(300 if packed == zipfile.ZIP_DEFLATED else 60):
            file.write(b"x" * MIB)
    found = read(path)
    assert ("line=2" if packed == zipfile.ZIP_DEFLATED else "not packed as ZIP files usually are") in found["said"]
    assert found["peak"] < 150 * MIB


@pytest.mark.parametrize(("name", "begin"), [("x.jsonl.gz", ROW), ("x.json.gz", b'[{"prompt": ')])
def test_nesting_without_end_too(tmp_path: Path, name: str, begin: bytes) -> None:
    with gzip.open(tmp_path / name, "wb", compresslevel=1) as file:
        file.write(begin + b"[" * 14 * MIB + b"\n" + (ROW if name == "x.jsonl.gz" else b""))
    found = read(tmp_path / name)
    assert found["said"]
    assert found["rows"] == {"x.jsonl.gz": 2, "x.json.gz": 0}[name]
    assert found["peak"] < 250 * MIB
