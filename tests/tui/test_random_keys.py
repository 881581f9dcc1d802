"""The program outlives any keys, and is then quit by q with exit status 0. The long version is in tests/faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.random_keys import type_at_random


def test_random_keys_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_at_random(tmp_path, 7, 300, monkeypatch)
