"""A data set of five pairs, and an open store on it that saves only when it is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.pairs.some_pairs import some
from workbench.pairs.store import PairStore, write_pairs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs" / "x.jsonl", some(5))
    return tmp_path / "pairs" / "x.jsonl"


@pytest.fixture
def store(path: Path) -> Iterator[PairStore]:
    with PairStore(path, quiet=1000) as store:
        yield store
