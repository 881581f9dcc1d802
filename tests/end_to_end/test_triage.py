"""A hundred real pairs are triaged in tmux by keyboard alone, with the keys that the `?` sheet names."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench
from tests.end_to_end.tmux import Tmux, needs_tmux
from workbench.pairs.pair import Pair
from workbench.pairs.store import load_pairs

HH = Path(__file__).parents[3] / "shared" / "data" / "hh-rlhf" / "harmless-base-1500.jsonl.gz"
PAIRS = 100
KEYS = {"a": "accepted", "x": "dropped", "m": "flagged"}

pytestmark = [
    needs_tmux,
    pytest.mark.skipif(not HH.exists(), reason="the hh-rlhf rows are not beside the repository"),
    pytest.mark.timeout(200),
]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
def test_a_hundred_pairs(tmp_path: Path, size: tuple[int, int]) -> None:
    done = workbench(tmp_path, "import", str(HH), "--name", "hh", "--limit", str(PAIRS))
    assert done.returncode == 0, done.stderr
    path = tmp_path / "pairs" / "hh.jsonl"
    before = load_pairs(path)[0]
    rng = random.Random(size[0])
    expected: list[Pair] = []
    with Tmux(tmp_path, size=size) as tmux:
        tmux.wait("the model will prefer")
        tmux.press("?")
        sheet = tmux.wait("esc closes")
        for key, word in (("a", "Accept"), ("x", "Drop"), ("m", "Flag"), ("s", "Swap"), ("u", "Undo")):
            assert re.search(rf" {key}  {word}", sheet), (word, sheet)
        tmux.press("Escape")
        tmux.wait(lambda seen: "esc closes" not in seen)
        for pair in before:
            keys = []
            if rng.random() < 0.15:
                keys.append("s")
                pair = pair.swapped()
            key = "x" if pair.lacks else rng.choice("aaaxxm")  # one without an answer cannot be accepted
            if rng.random() < 0.1 and not pair.lacks:
                # Thought better of it.
                keys += [rng.choice("ax"), "u"]
            keys.append(key)
            expected.append(Pair(**{name: getattr(pair, name) for name in pair.__slots__} | {"status": KEYS[key]}))
            tmux.press(*keys, *(["Space"] if key == "m" else []))
        counts = Counter(pair.status for pair in expected)
        tmux.wait(lambda seen: "100%" in seen and f"✔ {counts['accepted']}" in seen)
        tmux.press("Space")
        tmux.wait("All of these are reviewed")
        assert [pair.status for pair in load_pairs(path)[0]] == [pair.status for pair in expected]
        tmux.press("q")
        tmux.wait_for_the_end()
    assert load_pairs(path)[0] == expected
    assert len(path.read_text().splitlines()) == PAIRS
