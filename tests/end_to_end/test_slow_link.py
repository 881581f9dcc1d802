"""Over a slow link what is painted comes late, but keys are not lost and nothing piles up."""

from __future__ import annotations

import os
import re
import select
import time
from pathlib import Path

import pytest

from tests.bench.terminal import Terminal
from tests.tui.pairs_data import make_workspace
from workbench.pairs.store import load_pairs

_RATE, _LATENCY = 2048, 0.2
"""Bytes a second that come through, and seconds that a key takes."""
_BEAT = 0.1
_KEYS = 60
_CONTROL = re.compile("\x1b\\[[0-9;?>$]*[A-Za-z]")


class _SlowLink:
    """Reads from a terminal no faster than the link carries. `seen` is what has come so far."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal, self.seen = terminal, b""

    def carry(self, seconds: float) -> int:
        """Reads for so long; how many bytes came."""
        before, end = len(self.seen), time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self._terminal._ours], [], [], 0)[0]:
                try:
                    self.seen += os.read(self._terminal._ours, int(_RATE * _BEAT))
                except OSError:  # Linux says EIO when the other end is closed.
                    break
            time.sleep(_BEAT)
        return len(self.seen) - before

    def type(self, key: str) -> None:
        """Presses a key, which arrives later."""
        self.carry(_LATENCY)
        self._terminal.press(key)


@pytest.mark.slow
def test_keys_over_a_slow_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    workspace = make_workspace(tmp_path, _KEYS + 5)
    with Terminal(tmp_path) as terminal:
        link = _SlowLink(terminal)
        for _ in range(120):
            link.carry(0.5)
            if b"Keys" in link.seen:
                break
        for _ in range(_KEYS):
            link.type("a")
        # All keys are acted upon while the link still carries pictures of the first of them.
        for _ in range(40):
            accepted = sum(pair.status == "accepted" for pair in load_pairs(workspace.pairs_file("support"))[0])
            if accepted == _KEYS:
                break
            link.carry(0.5)
        assert accepted == _KEYS
        # What is then still on its way is a picture or two, and the last one shows where things stand.
        waiting = 0
        while came := link.carry(1.0):
            waiting += came
        assert waiting < 64_000
        assert f"✔ {_KEYS}" in _CONTROL.sub("", link.seen.decode("utf-8", "replace"))
        terminal.press("q")
        while terminal.runs:
            link.carry(0.2)
        assert terminal._process.returncode == 0
    assert not workspace.errors.exists()
