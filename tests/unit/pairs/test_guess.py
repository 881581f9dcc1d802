"""Columns are guessed by the names in use, and the first pairs are what an import would make of them."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.pairs.importers import SAMPLE, beginning, guess, import_rows
from workbench.pairs.readers import read_rows
from workbench.pairs.sources import open_source


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("prompt", "chosen", "rejected", "good"), ("prompt", "chosen", "rejected")),
        (("Question", "Good", "bad"), ("Question", "Good", "bad")),
        (
            ("instruction", "chosen_response", "rejected_response"),
            ("instruction", "chosen_response", "rejected_response"),
        ),
        (("question", "response_j", "response_k"), ("question", "response_j", "response_k")),
        (("chosen", "rejected"), (None, "chosen", "rejected")),
        (("a", "b"), (None, None, None)),
    ],
)
def test_names_in_use(columns: tuple[str, ...], expected: tuple[str | None, ...]) -> None:
    found = guess(columns)
    assert tuple(found.get(field) for field in ("prompt", "chosen", "rejected")) == expected


@given(st.lists(st.text(max_size=12) | st.sampled_from(["prompt", "good", "CHOSEN", "bad "]), max_size=6, unique=True))
def test_a_column_is_guessed_once_and_is_there(columns: list[str]) -> None:
    found = list(guess(columns).values())
    assert set(found) <= set(columns)
    assert len(set(found)) == len(found)


def test_the_sample_is_what_an_import_makes(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "good", "bad", "by"])
        writer.writerows([[f"q {number}", "yes", "no", "me"] for number in range(400)])
    begun = beginning(open_source(path))
    assert begun.columns == ("question", "good", "bad", "by")
    mapping = guess(begun.columns)
    sample = begun.sample(mapping).pairs
    assert len(sample) == SAMPLE
    assert sample == import_rows(read_rows(path), mapping=mapping).pairs[:SAMPLE]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    for name, content in (("x.bin", b"\0\1"), ("x.jsonl.gz", b"\x1f\x8b\x08"), ("utf16.jsonl", b"\xff\xfe{")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WorkbenchError):
            beginning(open_source(tmp_path / name))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkbenchError, match="No data"):
        beginning(open_source(tmp_path / "empty"))
