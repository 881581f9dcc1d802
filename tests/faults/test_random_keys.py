"""Thousands of random keys, widely and quickly spaced, on a machine that is idle or loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.random_keys import load, type_at_random


@pytest.mark.parametrize("processes", [0, 4], ids=["idle", "loaded"])
@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_random_keys(seed: int, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load(processes):
        type_at_random(tmp_path, seed, 1500, monkeypatch)
